"""`affectstream engines compare`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from affectstream.engines.graphs.compare import Comparison

OUT_OF_LIMITS = 3
"""Exit code: both ran, and an output is out of its limits."""
_RANDOM_BATCHES = 4


def compare(
    a: Annotated[str, typer.Argument(help="The reference, such as cpu.", show_default=False)],
    b: Annotated[
        str, typer.Argument(help="What to compare with it, such as cpu:fp16.", show_default=False)
    ],
    bundle: Annotated[str, typer.Option(help="'pocket', or a bundle's folder.")] = "pocket",
    role: Annotated[
        list[str] | None,
        typer.Option(help="Engine to compare; may be repeated.", show_default="all"),
    ] = None,
    inputs: Annotated[
        str, typer.Option(help="'random', or a file that 'bench feeds' wrote.")
    ] = "random",
    repeats: Annotated[int, typer.Option(min=1, help="Timed rounds; the median counts.")] = 5,
    seed: Annotated[int, typer.Option(help="Of random inputs.")] = 0,
) -> None:
    """Run two runtimes or precisions on the same inputs; print the error of each output, and the speed.

    Exits with code 3 if an output is out of its limits: different labels in more than 0.5 % of the clear
    rows, a probability off by more than 0.02, or another value off by more than 2 % of the largest.

    Example: [bold]affectstream engines compare cpu cpu:fp16[/bold]
    """
    from affectstream.engines.bundle.bundle_plans import build_options
    from affectstream.engines.bundle.folder import engine_files, find_bundle, read_manifest
    from affectstream.engines.devices.variant import Variant
    from affectstream.engines.errors import EngineError, UsageError
    from affectstream.engines.graphs import compare as comparison
    from affectstream.engines.graphs.feeds import random_feeds, read_feeds

    variants = Variant.parse(a), Variant.parse(b)
    folder = find_bundle(bundle)
    manifest = read_manifest(folder)
    files = {name: path for name, (path, _) in engine_files(folder, manifest).items()}
    if unknown := set(role or ()) - files.keys():
        raise UsageError(f"no engine {sorted(unknown)} in {bundle}: it has {sorted(files)}")
    recorded = None if inputs == "random" else read_feeds(Path(inputs))
    roles = role or [name for name in files if recorded is None or name in recorded]
    if not roles or (recorded is not None and set(roles) - recorded.keys()):
        raise EngineError(f"{inputs} has no feeds for {role or sorted(files)}: record it again")
    options = [build_options(folder, manifest, str(variant.device)) for variant in variants]
    passed = True
    for name in roles:
        with (
            variants[0].open(files[name], options[0].get(name)) as first,
            variants[1].open(files[name], options[1].get(name)) as second,
        ):
            if recorded is None:
                feeds = random_feeds(first.inputs, _RANDOM_BATCHES, seed)
            else:
                feeds = recorded[name]
            result = comparison.compare(first, second, feeds, repeats)
            _print(f"{name}: {first.runtime} ({a}), {second.runtime} ({b})", result, len(feeds))
        passed = passed and result.passed
    typer.echo("pass" if passed else "fail: an output is out of its limits")
    if not passed:
        raise typer.Exit(OUT_OF_LIMITS)


def _print(title: str, result: Comparison, calls: int) -> None:
    typer.echo(f"{title}, {calls} calls")
    typer.echo(f"  {'output':12}{'max error':>12}{'mean error':>12}{'cosine':>11}  labels")
    for output in result.outputs:
        line = f"  {output.output:12}{output.max_abs:12.3g}{output.mean_abs:12.3g}"
        line += f"{output.cosine:11.7f}"
        if output.agreement is not None:
            line += f"  {output.agreement.agreed} of {output.agreement.clear} clear ones agree,"
            line += f" probabilities within {output.agreement.largest:.2g}"
        typer.echo(line + ("" if output.passed else "  <- out of limits"))
    ratio = result.a_s / result.b_s
    typer.echo(f"  time {result.a_s * 1e3:.2f} ms and {result.b_s * 1e3:.2f} ms: {ratio:.2f} x\n")
