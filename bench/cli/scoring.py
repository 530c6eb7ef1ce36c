"""Commands that score recordings: speed, memory, folders, reports."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from affectstream.bench.cli.options import (
    DemoFile,
    DemoSource,
    Files,
    JsonFolder,
    OnlyJson,
    parse_minutes,
    parse_numbers,
    parse_pythons,
)
from affectstream.stream.cli.flags import BundleName, Device, Threads


def score(
    file: DemoFile = None,
    bundle: BundleName = "pocket",
    threads: Threads = None,
    repeats: Annotated[int, typer.Option(min=1, help="Rounds; the result is the median.")] = 5,
) -> None:
    """Measure the speed of `score`, of decoding alone and of inference alone.

    Example: [bold]affectstream bench score interview.mp4[/bold]
    """
    from affectstream.bench.score.throughput import main

    main(file, bundle, threads, repeats)


def throughput(
    source: DemoSource = None,
    bundle: BundleName = "pocket",
    device: Device = "auto",
    sizes: Annotated[str, typer.Option(help="360p, 720p, 1080p, 2160p.")] = "360p,1080p,2160p",
    seconds: Annotated[float, typer.Option(min=1, help="Length of the demo's clip.")] = 12.0,
    repeats: Annotated[int, typer.Option(min=1, help="Rounds; the result is the median.")] = 3,
    output: JsonFolder = None,
    as_json: OnlyJson = False,
) -> None:
    """Measure how fast recordings of several sizes are scored; decoding alone, inference alone.

    Example: [bold]affectstream bench throughput --sizes 360p,1080p[/bold]
    """
    from affectstream.bench.score.resolutions import main

    names = sizes.split(",")
    main(source, bundle, device, names, seconds, repeats, output, as_json=as_json)


def cost(
    source: DemoSource = None,
    bundle: BundleName = "pocket",
    device: Device = "auto",
    only: Annotated[
        str, typer.Option(help="Some of faces, resolution, duration, sessions.")
    ] = "faces,resolution,duration,sessions",
    faces: Annotated[str, typer.Option(help="Numbers of faces in view.")] = "1,2,4,8,16",
    sizes: Annotated[
        str, typer.Option(help="Some of 360p, 720p, 1080p, 2160p.")
    ] = "360p,720p,1080p,2160p",
    minutes: Annotated[str, typer.Option(help="Lengths of recordings; 8 h are 480.")] = "0.5,1,2,4",
    sessions: Annotated[str, typer.Option(help="Numbers of sessions.")] = "1,2,4,8",
    seconds: Annotated[
        float,
        typer.Option(
            min=1,
            max=3600,
            help="Length of recordings with faces and sizes, and time for each number of sessions.",
        ),
    ] = 8.0,
    repeats: Annotated[int, typer.Option(min=1, help="Rounds; the result is the median.")] = 3,
    output: JsonFolder = None,
    as_json: OnlyJson = False,
) -> None:
    """Measure how the cost grows with faces in view, resolution, duration and sessions.

    Example: [bold]affectstream bench cost --only faces,resolution[/bold]

    Example: [bold]affectstream bench cost --only duration --minutes 1,8,60,480 --repeats 1[/bold]
    """
    from affectstream.bench.cost.command import Ranges, main
    from affectstream.bench.cost.crowd import MOST
    from affectstream.bench.cost.growth import parse_names

    ranges = Ranges(
        parse_names(only),
        parse_numbers(faces, "--faces", MOST),
        sizes.split(","),
        parse_minutes(minutes),
        parse_numbers(sessions, "--sessions", 256),  # the most that a server accepts
    )
    main(source, bundle, device, ranges, seconds, repeats, output, as_json=as_json)


def memory(
    hours: Annotated[float, typer.Option(min=0.05, help="Length of the recording.")] = 2.0,
    bundle: BundleName = "pocket",
    threads: Threads = None,
    workers: Annotated[
        int, typer.Option(min=1, help="Processes that perceive ranges of it; 1: none.")
    ] = 1,
) -> None:
    """Measure resident memory while a long recording is scored.

    Example: [bold]affectstream bench memory --hours 2 --workers 8[/bold]
    """
    from affectstream.bench.score.memory import main

    main(hours, bundle, threads, workers)


def batch(
    data: Annotated[Path, typer.Option(help="Folder of the data sets.", show_default=False)],
    count: Annotated[int, typer.Option(min=5, help="Recordings to cut.")] = 200,
    kills: Annotated[int, typer.Option(min=0, help="Kills at random instants.")] = 40,
    only_kills: Annotated[
        bool, typer.Option("--only-kills", help="Kill and resume, and measure no rates.")
    ] = False,
    killed_node: Annotated[
        bool,
        typer.Option(
            "--killed-node",
            help="Score on a Ray cluster of two nodes too, of which one is killed (extra 'cluster').",
        ),
    ] = False,
) -> None:
    """Measure a folder of recordings: processes, memory, kills and resume, three shards, a killed node.

    Recordings are cut from those of the data sets and encoded again, with a dozen damaged files among them.

    Example: [bold]affectstream bench batch --data DATA --count 50[/bold]

    Example: [bold]affectstream bench batch --data DATA --only-kills --kills 0 --killed-node[/bold]
    """
    from affectstream.bench.batch.throughput import main

    main(data, count, kills, only_kills=only_kills, killed_node=killed_node)


def clips(files: Files, bundle: BundleName = "pocket", threads: Threads = None) -> None:
    """Score recordings and print time, faces, events, label changes and peak memory of each.

    Example: [bold]affectstream bench clips videos/*.mp4[/bold]
    """
    from affectstream.bench.score.clips import main

    main(files, bundle, threads)


def report(
    opens: Annotated[int, typer.Option(min=1, help="How often each is opened.")] = 5,
) -> None:
    """Measure how large reports are and how long a browser takes to open them (needs Chromium).

    Example: [bold]affectstream bench report[/bold]
    """
    from affectstream.bench.score.report import main

    main(opens)


def rivals(
    clip: Annotated[
        Path | None,
        typer.Option(help="The recording that all score.", show_default="the demo's clip"),
    ] = None,
    names: Annotated[
        list[str] | None,
        typer.Option("--rival", help="Only this one. Repeatable.", show_default="all"),
    ] = None,
    environments: Annotated[
        Path | None,
        typer.Option(
            help="Folder for the environments of rivals; what is missing is installed there with pip.",
            show_default="rivals that need one are not run",
        ),
    ] = None,
    pythons: Annotated[
        list[str] | None,
        typer.Option(
            "--python",
            metavar="NAME=PATH",
            help="Python of an environment that has this rival. Repeatable.",
            show_default=False,
        ),
    ] = None,
    bundle: BundleName = "pocket",
    seconds: Annotated[float, typer.Option(min=1, help="Length of the demo's clip.")] = 12.0,
    repeats: Annotated[int, typer.Option(min=1, help="Pairs; the result is the median.")] = 5,
    output: JsonFolder = None,
    as_json: OnlyJson = False,
) -> None:
    """Compare `score` with other software on the same recording, pair by pair.

    Example: [bold]affectstream bench rivals --rival fer --environments rivals[/bold]
    """
    from affectstream.bench.rivals.command import main

    given = parse_pythons(pythons or [])
    main(
        clip,
        bundle,
        names or [],
        environments,
        given,
        seconds,
        repeats,
        output,
        as_json=as_json,
    )


def tables(
    pages: Annotated[list[Path], typer.Argument(help="Pages with marked tables.")],
    results: Annotated[
        Path | None, typer.Option(help="Folder of the results.", show_default="bench/results")
    ] = None,
    machine: Annotated[str, typer.Option(help="Which results: NAME_MACHINE.json.")] = "epyc_2core",
) -> None:
    """Write the tables of the README and the docs again, from the results of the benches.

    Example: [bold]affectstream bench tables README.md docs/guides/serve.md[/bold]
    """
    from affectstream.bench.tables import RESULTS, main

    main(pages, results or RESULTS, machine)
