"""`affectstream bench`: one file for commands that belong together."""

from __future__ import annotations

from typing import Any

import typer
from typer.core import TyperGroup

from affectstream.bench.cli.behaviour import behaviour, confidence, tracking
from affectstream.bench.cli.engines import engines, feeds, gpu, loadgen, parity, plans
from affectstream.bench.cli.live import latency, live, sessions, soak
from affectstream.bench.cli.scoring import (
    batch,
    clips,
    cost,
    memory,
    report,
    rivals,
    score,
    tables,
    throughput,
)
from affectstream.stream.cli.flags import Otel, Trace, tracing
from affectstream.stream.errors import OptionError

MOVED = {"fusion": "train evaluate-fusion", "overlay": "score --format overlay"}


class _Benches(TyperGroup):
    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command. Raises `OptionError` for one that is no bench any more."""
        if cmd_name in MOVED:
            raise OptionError(f"'bench {cmd_name}' is now 'affectstream {MOVED[cmd_name]}'")
        return super().get_command(ctx, cmd_name)


application = typer.Typer(no_args_is_help=True, cls=_Benches)


@application.callback()
def bench(context: typer.Context, trace: Trace = None, otel: Otel = False) -> None:
    """Measure speed, latency, memory and precision. Each command ends with one line of JSON.

    Example: [bold]affectstream bench score interview.mp4[/bold]
    """
    context.with_resource(tracing(trace, f"bench {context.invoked_subcommand}", otel=otel))


for command in (
    *(score, throughput, cost, rivals, memory, batch, clips, report, tables),
    *(engines, loadgen, gpu, feeds, parity, plans),
    *(latency, live, sessions, soak),
    *(behaviour, tracking, confidence),
):
    application.command()(command)
