"""`affectstream bench`: one file for commands that belong together."""

from __future__ import annotations

from collections.abc import Callable

import typer

from affectstream.bench.cli.behaviour import behaviour, confidence, tracking
from affectstream.bench.cli.engines import engines, feeds, gpu, loadgen, parity, plans
from affectstream.bench.cli.live import latency, live, sessions, soak
from affectstream.bench.cli.scoring import (
    batch,
    clips,
    memory,
    report,
    rivals,
    score,
    tables,
    throughput,
)
from affectstream.stream.cli.flags import Trace, tracing
from affectstream.stream.errors import OptionError

MOVED = {"fusion": "train evaluate-fusion", "overlay": "score --format overlay"}


application = typer.Typer(no_args_is_help=True)


@application.callback()
def bench(context: typer.Context, trace: Trace = None) -> None:
    """Measure speed, latency, memory and precision. Each command ends with one line of JSON.

    Example: [bold]affectstream bench score interview.mp4[/bold]
    """
    context.with_resource(tracing(trace))


for command in (
    *(score, throughput, rivals, memory, batch, clips, report, tables),
    *(engines, loadgen, gpu, feeds, parity, plans),
    *(latency, live, sessions, soak),
    *(behaviour, tracking, confidence),
):
    application.command()(command)


def _moved(name: str, place: str) -> Callable[[], None]:
    def command() -> None:
        raise OptionError(f"'bench {name}' is now 'affectstream {place}'")

    return command


for old, place in MOVED.items():
    application.command(
        old,
        hidden=True,
        add_help_option=False,
        context_settings={"ignore_unknown_options": True, "allow_extra_args": True},
    )(_moved(old, place))
