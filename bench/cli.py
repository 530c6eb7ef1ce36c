"""`affectstream bench`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from affectstream.stream.cli.flags import BundleName, Device, Threads, Trace, Vad, tracing

application = typer.Typer(no_args_is_help=True)


@application.callback()
def bench(context: typer.Context, trace: Trace = None) -> None:
    """Measure speed, latency, memory and precision. Each command ends with one line of JSON.

    Example: [bold]affectstream bench score interview.mp4[/bold]
    """
    context.with_resource(tracing(trace))


DemoFile = Annotated[
    Path | None, typer.Argument(help="A recording.", show_default="the demo's clip, repeated")
]


def _numbers(text: str, option: str, largest: int) -> list[int]:
    try:
        numbers = [int(part) for part in text.split(",")]
    except ValueError:
        numbers = [0]
    if min(numbers) < 1 or max(numbers) > largest:
        raise typer.BadParameter(
            f"{text!r}: expected numbers from 1 to {largest}, such as 1,2,4", param_hint=option
        )
    return numbers


DemoSource = Annotated[
    Path | None,
    typer.Option(help="The recording that is used.", show_default="the demo's clip"),
]
JsonFolder = Annotated[
    Path | None,
    typer.Option("--output", "-o", help="Folder for JSON and pictures.", show_default="none"),
]
OnlyJson = Annotated[bool, typer.Option("--json", help="Print nothing but the JSON.")]
Files = Annotated[list[Path], typer.Argument(help="Recordings.", show_default=False)]


@application.command()
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


@application.command()
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


@application.command()
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


@application.command()
def memory(
    hours: Annotated[float, typer.Option(min=0.05, help="Length of the recording.")] = 2.0,
    bundle: BundleName = "pocket",
    threads: Threads = None,
) -> None:
    """Measure resident memory while a long recording is scored.

    Example: [bold]affectstream bench memory --hours 2[/bold]
    """
    from affectstream.bench.score.memory import main

    main(hours, bundle, threads)


@application.command()
def batch(
    data: Annotated[Path, typer.Option(help="Folder of the data sets.", show_default=False)],
    count: Annotated[int, typer.Option(min=5, help="Recordings to cut.")] = 200,
    kills: Annotated[int, typer.Option(min=0, help="Kills at random instants.")] = 40,
) -> None:
    """Measure a folder of recordings: processes, memory, kills and resume, and three shards.

    Recordings are cut from those of the data sets and encoded again, with a dozen damaged files among them.

    Example: [bold]affectstream bench batch --data DATA --count 50[/bold]
    """
    from affectstream.bench.batch.throughput import main

    main(data, count, kills)


@application.command()
def clips(files: Files, bundle: BundleName = "pocket", threads: Threads = None) -> None:
    """Score recordings and print time, faces, events, label changes and peak memory of each.

    Example: [bold]affectstream bench clips videos/*.mp4[/bold]
    """
    from affectstream.bench.score.clips import main

    main(files, bundle, threads)


@application.command()
def report(
    opens: Annotated[int, typer.Option(min=1, help="How often each is opened.")] = 5,
) -> None:
    """Measure how large reports are and how long a browser takes to open them (needs Chromium).

    Example: [bold]affectstream bench report[/bold]
    """
    from affectstream.bench.score.report import main

    main(opens)


@application.command()
def overlay(
    file: Annotated[Path, typer.Argument(help="A recording.", show_default=False)],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the images.")] = Path(
        "overlay"
    ),
    count: Annotated[int, typer.Option(min=1, help="Number of images.")] = 6,
    bundle: BundleName = "pocket",
) -> None:
    """Draw boxes, landmarks, head axes and labels on some frames of a recording.

    Example: [bold]affectstream bench overlay interview.mp4 --output pictures[/bold]
    """
    from affectstream.bench.score.overlay import main

    main(file, output, count, bundle)


@application.command()
def tracking(
    data: Annotated[Path, typer.Option(help="Folder of the data sets.", show_default=False)],
    bundle: BundleName = "pocket",
    photos: Annotated[
        int,
        typer.Option(
            min=0, help="Animate photos of so many people instead, to choose thresholds on."
        ),
    ] = 0,
    rival: Annotated[
        Path | None,
        typer.Option(
            help="Python with the package 'trackers': measures OC-SORT too.", show_default="none"
        ),
    ] = None,
) -> None:
    """Measure whether one person is one number, on recordings and on sequences with known truth.

    Example: [bold]affectstream bench tracking --data DATA[/bold]
    """
    from affectstream.bench.tracking.report import main

    main(data, bundle, photos=photos, rival=rival)


@application.command()
def feeds(
    files: Files,
    output: Annotated[Path, typer.Option("--output", "-o", help="File to write.")] = Path(
        "feeds.npz"
    ),
    bundle: BundleName = "pocket",
) -> None:
    """Record the inputs of every engine while recordings are scored, for `engines compare --inputs`.

    Example: [bold]affectstream bench feeds interview.mp4 --output feeds.npz[/bold]
    """
    from affectstream.bench.engines.feeds import main

    main(files, output, bundle)


@application.command()
def engines(
    bundle: BundleName = "pocket",
    device: Device = "cpu",
    source: DemoSource = None,
    batches: Annotated[str, typer.Option(help="Rows of a batch.")] = "1,2,4,8,16,32,64",
    budget: Annotated[float, typer.Option(min=1, help="Seconds for all measurements.")] = 60.0,
    output: JsonFolder = None,
    as_json: OnlyJson = False,
) -> None:
    """Measure each engine of a bundle, and the whole hop, in trtexec's terms.

    Example: [bold]affectstream bench engines --device cuda:0 --batches 1,8,64[/bold]
    """
    from affectstream.bench.engines.speed import main

    sizes = _numbers(batches, "--batches", 64)
    main(bundle, device, source, sizes, budget, output, as_json=as_json)


@application.command()
def gpu(
    bundle: BundleName = "pocket",
    device: Annotated[str, typer.Option(help="cuda:0; cpu tries the script out.")] = "cuda:0",
    budget: Annotated[float, typer.Option(min=5, help="Seconds for everything.")] = 420.0,
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for gpu.json.")] = Path(
        "gpu"
    ),
    only: Annotated[
        list[str] | None, typer.Option(help="Only this stage. Repeatable.", show_default="all")
    ] = None,
    source: DemoSource = None,
    inputs: Annotated[
        Path | None,
        typer.Option(help="Real inputs for parity, by 'bench feeds'.", show_default="the demo's"),
    ] = None,
    as_json: OnlyJson = False,
) -> None:
    """Measure a GPU in one run: engines, latency, FP16, decoding, torch on the same networks.

    Example: [bold]affectstream bench gpu --budget 180 --output results[/bold]
    """
    from affectstream.bench.gpu.whole_set import main

    main(
        bundle,
        device,
        budget,
        output,
        only=only or (),
        source=source,
        inputs=inputs,
        as_json=as_json,
    )


@application.command()
def parity(
    data: Annotated[Path, typer.Option(help="Folder of the data sets.", show_default=False)],
    bundle: BundleName = "pocket",
    device: Annotated[str, typer.Option(help="Where FP16 runs: cpu or cuda:0.")] = "cpu",
) -> None:
    """Compare FP16 with FP32 on thousands of real inputs: labels, probabilities, activations.

    Example: [bold]affectstream bench parity --data DATA[/bold]
    """
    from affectstream.bench.engines.parity import main

    main(data, bundle, device)


@application.command()
def plans(
    bundle: BundleName = "pocket",
    large: Annotated[
        bool,
        typer.Option(
            "--large", help="Also the networks of all recipes at random weights: many minutes."
        ),
    ] = False,
) -> None:
    """Measure build times and sizes of plans for RTX GPUs, and FP16 parity. It needs no GPU.

    Example: [bold]affectstream bench plans --large[/bold]
    """
    from affectstream.bench.engines.plans import main

    main(bundle, large)


@application.command()
def sessions(
    file: DemoFile = None,
    counts: Annotated[str, typer.Option(help="Numbers of sessions.")] = "1,2,4,8,16,24,32",
    seconds: Annotated[float, typer.Option(min=5, help="Duration for each number.")] = 30.0,
    limit: Annotated[
        int | None,
        typer.Option(
            min=1, max=256, help="Sessions that the server accepts.", show_default="each number"
        ),
    ] = None,
    bundle: BundleName = "pocket",
    device: Device = "auto",
) -> None:
    """Measure latency against the number of live sessions of one server, and what degrades first.

    Example: [bold]affectstream bench sessions --counts 1,2,4,8,16[/bold]
    """
    from affectstream.bench.serve.sessions import main

    numbers = _numbers(counts, "--counts", 256)  # the most that a server accepts
    main(file, bundle, device, numbers, seconds, limit=limit)


@application.command()
def soak(
    file: DemoFile = None,
    minutes: Annotated[float, typer.Option(min=0.5, help="Duration.")] = 60.0,
    sessions: Annotated[
        int, typer.Option(min=1, help="Sessions at the same time; every second one reconnects.")
    ] = 4,
    bundle: BundleName = "pocket",
    device: Device = "auto",
) -> None:
    """Measure memory, threads, tasks and files of a server while sessions come and go.

    Example: [bold]affectstream bench soak --minutes 60[/bold]
    """
    from affectstream.bench.serve.soak import main

    main(file, bundle, device, sessions, minutes)


@application.command()
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


@application.command()
def fusion(
    data: Annotated[
        Path, typer.Option(help="A prepared data set, such as 'paired'.", show_default=False)
    ],
    members: Annotated[
        list[str],
        typer.Option("--member", help="Bundle of one modality. Repeatable.", show_default=False),
    ],
    fused: Annotated[
        list[str] | None,
        typer.Option(help="Bundle of late fusion. Repeatable.", show_default=False),
    ] = None,
    conflicts: Annotated[
        Path | None,
        typer.Option(
            help="Data set of pairs that disagree, made by 'paired --conflicts 1'.",
            show_default=False,
        ),
    ] = None,
    split: Annotated[str, typer.Option(help="Split of the data set.")] = "valid",
) -> None:
    """Compare fused bundles with their members, and with two rules that need no training.

    Example: [bold]affectstream bench fusion --member faces --member voices --data prepared/paired[/bold]
    """
    from affectstream.bench.score.fusion import main

    main(members, fused or [], data, conflicts, split)


@application.command()
def confidence(
    data: Annotated[
        Path,
        typer.Option(
            help="Pairs, made by 'paired --part valid --degrade 0.5'.", show_default=False
        ),
    ],
    bundle: BundleName = "pocket",
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Folder for JSON and diagrams.", show_default="none"),
    ] = None,
) -> None:
    """Check that confidence is a probability, for each set of modalities, on clean and degraded input.

    Example: [bold]affectstream bench confidence --data prepared/paired --output confidence[/bold]
    """
    from affectstream.bench.score.confidence import main

    main(bundle, data, output)


@application.command()
def behaviour(
    data: Annotated[Path, typer.Option(help="Folder of the data sets.", show_default=False)],
    bundle: BundleName = "pocket",
    only: Annotated[
        list[str] | None,
        typer.Option(help="Only this section. Repeatable.", show_default="all"),
    ] = None,
    teacher: Annotated[
        Path | None,
        typer.Option(help="Folder with the face mesh's answers.", show_default="without them"),
    ] = None,
    output: JsonFolder = None,
    vad: Vad = "silero",
    as_json: OnlyJson = False,
) -> None:
    """Check what a bundle does on real recordings: the first thing to run after a change to a model.

    Example: [bold]affectstream bench behaviour --data DATA[/bold]
    """
    from affectstream.bench.behaviour.command import main

    main(data, bundle, only or [], teacher, output, vad=vad, as_json=as_json)
