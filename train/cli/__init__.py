"""`affectstream train`: one file a command, loaded on use."""

from __future__ import annotations

import typer

from affectstream.train.cli.compare import compare
from affectstream.train.cli.evaluate import evaluate
from affectstream.train.cli.export import export
from affectstream.train.cli.fit import fit
from affectstream.train.cli.folds import folds
from affectstream.train.cli.prepare import prepare
from affectstream.train.cli.preview import preview
from affectstream.train.cli.recipes import list_recipes
from affectstream.train.cli.report import report
from affectstream.train.cli.tune import tune

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
application.command()(tune)
application.command()(report)
application.command()(export)
application.command()(evaluate)
application.command()(compare)
