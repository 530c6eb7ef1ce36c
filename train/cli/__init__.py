"""`affectstream train`: one file for commands that belong together."""

from __future__ import annotations

import typer

from affectstream.train.cli.compare import compare, evaluate_fusion, gallery, report
from affectstream.train.cli.evaluate import (
    evaluate,
    evaluate_detector,
    evaluate_face,
    evaluate_geometry,
    evaluate_voice,
)
from affectstream.train.cli.explain import explain
from affectstream.train.cli.export import export, extract
from affectstream.train.cli.fit import curve, fit, folds, reproduce, tune
from affectstream.train.cli.prepare import prepare, preview
from affectstream.train.cli.recipes import list_recipes

application = typer.Typer(
    no_args_is_help=True,
    help="Train recipes and turn them into bundles (needs the 'train' extra).\n\n"
    "Example: [bold]affectstream train fit --recipe cnn --data prepared/fer2013[/bold]",
)
for command in (
    *(prepare, preview, list_recipes, fit, folds, curve, tune, report, export, extract, evaluate),
    *(evaluate_detector, evaluate_geometry, evaluate_face, evaluate_voice, evaluate_fusion),
    *(compare, explain, gallery, reproduce),
):
    application.command("list" if command is list_recipes else None)(command)
