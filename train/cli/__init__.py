"""`affectstream train`: one file for commands that belong together."""

from __future__ import annotations

import typer

from affectstream.train.cli.evaluate import (
    compare,
    evaluate,
    evaluate_detector,
    evaluate_face,
    evaluate_geometry,
    evaluate_voice,
    report,
)
from affectstream.train.cli.explain import explain
from affectstream.train.cli.export import export, extract
from affectstream.train.cli.fit import curve, fit, folds, reproduce, tune
from affectstream.train.cli.fusion import evaluate_fusion
from affectstream.train.cli.gallery import gallery
from affectstream.train.cli.prepare import prepare, preview
from affectstream.train.cli.recipes import list_recipes

application = typer.Typer(
    no_args_is_help=True,
    help="Train recipes and turn them into bundles (needs the 'train' extra).\n\n"
    "Example: [bold]affectstream train fit --recipe cnn --data prepared/fer2013[/bold]",
)
application.command()(prepare)
application.command()(preview)
application.command("list")(list_recipes)
application.command()(fit)
application.command()(folds)
application.command()(curve)
application.command()(tune)
application.command()(report)
application.command()(export)
application.command()(extract)
application.command()(evaluate)
application.command()(evaluate_detector)
application.command()(evaluate_geometry)
application.command()(evaluate_face)
application.command()(evaluate_voice)
application.command()(evaluate_fusion)
application.command()(compare)
application.command()(explain)
application.command()(gallery)
application.command()(reproduce)
