"""`affectstream bench`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

application = typer.Typer(
    no_args_is_help=True,
    help="Measurements that anyone can rerun. Each ends with one line of JSON.\n\n"
    "Example: [bold]affectstream bench score interview.mp4[/bold]",
)

Bundle = Annotated[str, typer.Option(help="'pocket', or a bundle's folder.")]
Threads = Annotated[
    int | None, typer.Option(min=1, help="Batches perceived side by side.", show_default="cores")
]
File = Annotated[Path | None, typer.Argument(help="A recording.", show_default="made, 2 minutes")]


@application.command()
def score(
    file: File = None,
    bundle: Bundle = "pocket",
    threads: Threads = None,
    repeats: Annotated[int, typer.Option(min=1, help="Rounds; the median counts.")] = 5,
) -> None:
    """Speed of `score`, beside decoding alone and inference alone, in one run.

    Example: [bold]affectstream bench score interview.mp4[/bold]
    """
    from affectstream.bench.score.throughput import main

    main(file, bundle, threads, repeats)


@application.command()
def memory(
    hours: Annotated[float, typer.Option(min=0.05, help="Length of the recording.")] = 2.0,
    bundle: Bundle = "pocket",
    threads: Threads = None,
) -> None:
    """Resident memory while a long recording, made for this, is scored.

    Example: [bold]affectstream bench memory --hours 2[/bold]
    """
    from affectstream.bench.score.memory import main

    main(hours, bundle, threads)


@application.command()
def clips(
    files: Annotated[list[Path], typer.Argument(help="Recordings.", show_default=False)],
    bundle: Bundle = "pocket",
    threads: Threads = None,
) -> None:
    """One row for each recording: time, faces, events, label flips, peak memory.

    Example: [bold]affectstream bench clips videos/*.mp4[/bold]
    """
    from affectstream.bench.score.clips import main

    main(files, bundle, threads)


@application.command()
def overlay(
    file: Annotated[Path, typer.Argument(help="A recording.", show_default=False)],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the pictures.")] = Path(
        "overlay"
    ),
    count: Annotated[int, typer.Option(min=1, help="How many pictures.")] = 6,
    bundle: Bundle = "pocket",
) -> None:
    """Draw boxes, landmarks, head axes and labels on some scored frames.

    Example: [bold]affectstream bench overlay interview.mp4 --output pictures[/bold]
    """
    from affectstream.bench.score.overlay import main

    main(file, output, count, bundle)


@application.command()
def feeds(
    files: Annotated[list[Path], typer.Argument(help="Recordings.", show_default=False)],
    output: Annotated[Path, typer.Option("--output", "-o", help="File to write.")] = Path(
        "feeds.npz"
    ),
    bundle: Bundle = "pocket",
) -> None:
    """What each engine is fed while recordings are scored, for `engines compare --inputs`.

    Example: [bold]affectstream bench feeds interview.mp4 --output feeds.npz[/bold]
    """
    from affectstream.bench.engines.feeds import main

    main(files, output, bundle)


@application.command()
def parity(
    data: Annotated[Path, typer.Option(help="Folder of the data sets.", show_default=False)],
    bundle: Bundle = "pocket",
    device: Annotated[str, typer.Option(help="Where FP16 runs: cpu or cuda:0.")] = "cpu",
) -> None:
    """FP16 against FP32 on thousands of real inputs: labels, probabilities, largest activations.

    Example: [bold]affectstream bench parity --data DATA[/bold]
    """
    from affectstream.bench.engines.parity import main

    main(data, bundle, device)


@application.command()
def plans(
    bundle: Bundle = "pocket",
    large: Annotated[
        bool,
        typer.Option(
            "--large", help="Networks of all recipes at random weights too: many minutes."
        ),
    ] = False,
) -> None:
    """Build times and sizes of plans for RTX cards, and FP16 parity. No GPU is needed.

    Example: [bold]affectstream bench plans --large[/bold]
    """
    from affectstream.bench.engines.plans import main

    main(bundle, large)


@application.command()
def sessions(
    file: File = None,
    counts: Annotated[str, typer.Option(help="Numbers of sessions to try.")] = "1,2,4,8,16,24,32",
    seconds: Annotated[float, typer.Option(min=5, help="Length of each try.")] = 30.0,
    limit: Annotated[
        int | None,
        typer.Option(min=1, max=256, help="The server takes no more.", show_default="all tried"),
    ] = None,
    bundle: Bundle = "pocket",
    device: Annotated[str, typer.Option(help="What the server computes on.")] = "auto",
) -> None:
    """Many live sessions of one server: latency against their number, and what gives where it is full.

    Example: [bold]affectstream bench sessions --counts 1,2,4,8,16[/bold]
    """
    from affectstream.bench.serve.sessions import main

    try:
        numbers = [int(part) for part in counts.split(",")]
    except ValueError:
        numbers = [0]
    if min(numbers) < 1 or max(numbers) > 256:  # the most that a server can be told to take
        raise typer.BadParameter(
            f"{counts!r}: expected numbers from 1 to 256, such as 1,2,4", param_hint="--counts"
        )
    main(file, bundle, device, numbers, seconds, limit=limit)


@application.command()
def soak(
    file: File = None,
    minutes: Annotated[float, typer.Option(min=0.5, help="How long it goes on.")] = 60.0,
    sessions: Annotated[int, typer.Option(min=1, help="At once; every other one reconnects.")] = 4,
    bundle: Bundle = "pocket",
    device: Annotated[str, typer.Option(help="What the server computes on.")] = "auto",
) -> None:
    """An hour of live sessions that come and go: memory, threads, tasks and files of the server.

    Example: [bold]affectstream bench soak --minutes 60[/bold]
    """
    from affectstream.bench.serve.soak import main

    main(file, bundle, device, sessions, minutes)


@application.command()
def live(
    seconds: Annotated[float, typer.Option(min=2, help="How long each source is watched.")] = 20.0,
    only: Annotated[
        str, typer.Option(help="Sources with this in their name.", show_default="all")
    ] = "",
    bundle: Bundle = "pocket",
) -> None:
    """Live sources of each kind, sent on this machine: delays, skew, drops, processor.

    Example: [bold]affectstream bench live --seconds 20[/bold]
    """
    from affectstream.bench.live.sources import main

    main(seconds, bundle, only=only)


@application.command()
def fusion(
    data: Annotated[
        Path, typer.Option(help="A prepared data set, such as 'paired'.", show_default=False)
    ],
    member: Annotated[
        list[str], typer.Option(help="A bundle that is joined; repeat.", show_default=False)
    ],
    fused: Annotated[
        list[str] | None, typer.Option(help="A bundle of late fusion; repeat.", show_default=False)
    ] = None,
    conflicts: Annotated[
        Path | None, typer.Option(help="Pairs that disagree: 'paired --conflicts 1'.")
    ] = None,
    split: Annotated[str, typer.Option(help="Split of the data set.")] = "valid",
) -> None:
    """Fused bundles beside their members and beside joining those without learning anything.

    Example: [bold]affectstream bench fusion --member faces --member voices --data prepared/paired[/bold]
    """
    from affectstream.bench.score.fusion import main

    main(member, fused or [], data, conflicts, split)
