"""Commands that measure engines: speed, precision, plans, a GPU."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from affectstream.bench.cli.options import DemoSource, Files, JsonFolder, OnlyJson, parse_numbers
from affectstream.stream.cli.flags import BundleName, Device


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

    sizes = parse_numbers(batches, "--batches", 64)
    main(bundle, device, source, sizes, budget, output, as_json=as_json)


def loadgen(
    bundle: BundleName = "pocket",
    device: Device = "cpu",
    source: DemoSource = None,
    scenarios: Annotated[
        str, typer.Option(help="Some of SingleStream, Offline, Server.")
    ] = "SingleStream,Offline,Server",
    batches: Annotated[
        str, typer.Option(help="Most hops of a batch; 1 computes sessions apart.")
    ] = "1,16",
    seconds: Annotated[float, typer.Option(min=1, help="Shortest duration of a run.")] = 10.0,
    limit: Annotated[float, typer.Option(min=1, help="Bound of Server's p99, in ms.")] = 150.0,
    qps: Annotated[
        float | None,
        typer.Option(min=0.1, help="Hops a second of Server.", show_default="searched"),
    ] = None,
    output: JsonFolder = None,
    as_json: OnlyJson = False,
) -> None:
    """Let MLPerf's LoadGen drive the hops of a bundle: SingleStream, Offline and Server.

    Example: [bold]affectstream bench loadgen --limit 100 --output loadgen[/bold]
    """
    from affectstream.bench.loadgen.command import main

    sizes = parse_numbers(batches, "--batches", 64)
    names = scenarios.split(",")
    main(bundle, device, source, names, sizes, seconds, limit, qps, output, as_json=as_json)


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
