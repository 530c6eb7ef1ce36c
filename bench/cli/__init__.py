"""`affectstream bench`: one file for commands that belong together."""

from __future__ import annotations

import typer

from affectstream.bench.cli.behaviour import behaviour, confidence, fusion, tracking
from affectstream.bench.cli.engines import engines, feeds, gpu, loadgen, parity, plans
from affectstream.bench.cli.live import latency, live, sessions, soak
from affectstream.bench.cli.scoring import (
    batch,
    clips,
    memory,
    overlay,
    report,
    rivals,
    score,
    tables,
    throughput,
)
from affectstream.stream.cli.flags import Trace, tracing

application = typer.Typer(no_args_is_help=True)


@application.callback()
def bench(context: typer.Context, trace: Trace = None) -> None:
    """Measure speed, latency, memory and precision. Each command ends with one line of JSON.

    Example: [bold]affectstream bench score interview.mp4[/bold]
    """
    context.with_resource(tracing(trace))


for command in (
    *(score, throughput, rivals, memory, batch, clips, report, overlay, tables),
    *(engines, loadgen, gpu, feeds, parity, plans),
    *(latency, live, sessions, soak),
    *(behaviour, tracking, confidence, fusion),
):
    application.command()(command)
