"""Commands that measure live sources and the server."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from affectstream.bench.cli.options import DemoFile, DemoSource, JsonFolder, OnlyJson, parse_numbers
from affectstream.stream.cli.flags import BundleName, Device


def latency(
    source: DemoSource = None,
    bundle: BundleName = "pocket",
    device: Device = "auto",
    sessions: Annotated[int, typer.Option(min=1, max=64, help="Sessions at once.")] = 1,
    seconds: Annotated[float, typer.Option(min=5, help="Duration.")] = 60.0,
    output: JsonFolder = None,
    as_json: OnlyJson = False,
) -> None:
    """Measure how long each stage of a live session takes, and how old its results are.

    Example: [bold]affectstream bench latency --sessions 6 --seconds 60[/bold]
    """
    from affectstream.bench.live.latency import main

    main(source, bundle, device, sessions, seconds, output, as_json=as_json)


def live(
    seconds: Annotated[float, typer.Option(min=2, help="Duration for each source.")] = 20.0,
    only: Annotated[
        str, typer.Option(help="Only sources with this text in their name.", show_default="all")
    ] = "",
    bundle: BundleName = "pocket",
) -> None:
    """Measure live sources of each kind: delays, audio-video skew, drops, processor time.

    Example: [bold]affectstream bench live --seconds 20[/bold]
    """
    from affectstream.bench.live.sources import main

    main(seconds, bundle, only=only)


def sessions(
    file: DemoFile = None,
    counts: Annotated[str, typer.Option(help="Numbers of sessions.")] = "1,2,4,8,16,24,32",
    seconds: Annotated[float, typer.Option(min=5, help="Duration for each number.")] = 30.0,
    p99: Annotated[
        float | None,
        typer.Option(
            min=1,
            help="Search the most sessions with a p99 of the delay within so many ms, from the first of "
            "--counts on.",
            show_default="measures all --counts",
        ),
    ] = None,
    arrivals: Annotated[
        Literal["paced", "poisson"],
        typer.Option(help="How sessions begin: evenly over a hop, or at random."),
    ] = "paced",
    workers: Annotated[int, typer.Option(min=1, max=64, help="Processes of the server.")] = 1,
    batch: Annotated[
        Literal["auto", "on", "off"],
        typer.Option(help="Batches across sessions, as 'serve --batch'."),
    ] = "auto",
    limit: Annotated[
        int | None,
        typer.Option(
            min=1, max=256, help="Sessions that the server accepts.", show_default="each number"
        ),
    ] = None,
    bundle: BundleName = "pocket",
    device: Device = "auto",
    output: JsonFolder = None,
    as_json: OnlyJson = False,
) -> None:
    """Measure latency against the number of live sessions of one server, and what degrades first.

    Example: [bold]affectstream bench sessions --arrivals poisson --p99 250[/bold]
    """
    from affectstream.bench.serve.sessions import Server, main

    numbers = parse_numbers(counts, "--counts", 256)  # the most that a server accepts
    main(
        file,
        Server(bundle, device, workers, batch),
        numbers,
        seconds,
        limit=limit,
        arrivals=arrivals,
        p99_ms=p99,
        output=output,
        as_json=as_json,
    )


def soak(
    file: DemoFile = None,
    minutes: Annotated[float, typer.Option(min=0.5, help="Duration.")] = 60.0,
    sessions: Annotated[
        int, typer.Option(min=1, help="Sessions at the same time; every second one reconnects.")
    ] = 4,
    workers: Annotated[int, typer.Option(min=1, help="Processes of the server.")] = 1,
    bundle: BundleName = "pocket",
    device: Device = "auto",
    output: JsonFolder = None,
    as_json: OnlyJson = False,
) -> None:
    """Measure memory, queues, drift, drops and what is left over while sessions come and go for hours.

    Example: [bold]affectstream bench soak --minutes 60[/bold]
    """
    from affectstream.bench.serve.soak import main

    main(file, bundle, device, sessions, minutes, workers, output, as_json=as_json)
