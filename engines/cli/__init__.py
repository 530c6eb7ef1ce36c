"""`affectstream engines`: one file for each subcommand."""

from __future__ import annotations

import typer

from affectstream.engines.cli.build import build
from affectstream.engines.cli.compare import compare
from affectstream.engines.cli.plans import clean, inspect, list_plans
from affectstream.engines.cli.pull import pull

application = typer.Typer(
    no_args_is_help=True,
    help="Build, inspect, compare and fetch compiled engines.\n\n"
    "Example: [bold]affectstream engines compare cpu cpu:fp16[/bold]",
)

application.command()(build)
application.command("list")(list_plans)
application.command()(inspect)
application.command()(clean)
application.command()(compare)
application.command()(pull)
