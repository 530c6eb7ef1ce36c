"""`affectstream engines compare`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from affectstream.engines.compare import Comparison

DIFFERENT = 3
"""Exit code: both ran, and some output is out of its limits."""


def compare(
    a: Annotated[str, typer.Argument(help="What is right, such as cpu.", show_default=False)],
    b: Annotated[str, typer.Argument(help="What is judged, such as cpu:fp16.", show_default=False)],
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
    """Two runtimes or precisions on the same inputs: errors of each output, and speed.

    Exit code 3 where an output is out of its limits: another label in more than 0.5 % of the rows
    with a clear one, a probability off by more than 0.02, other values by more than 2 % of the largest.

    Example: [bold]affectstream engines compare cpu cpu:fp16[/bold]
    """
    from affectstream.engines import compare as engine
    from affectstream.engines import rivals
    from affectstream.engines.bundle.bundle_plans import build_options
    from affectstream.engines.bundle.folder import engine_files, locate, read_manifest
    from affectstream.engines.errors import EngineError, UsageError

    pair = rivals.Rival.parse(a), rivals.Rival.parse(b)
    folder = locate(bundle)
    manifest = read_manifest(folder)
    files = {name: path for name, (path, _) in engine_files(folder, manifest).items()}
    if unknown := set(role or ()) - files.keys():
        raise UsageError(f"no engine {sorted(unknown)} in {bundle}: it has {sorted(files)}")
    recorded = None if inputs == "random" else rivals.read_feeds(Path(inputs))
    wanted = role or [name for name in files if recorded is None or name in recorded]
    if not wanted or (recorded is not None and set(wanted) - recorded.keys()):
        raise EngineError(f"{inputs} has nothing for {role or sorted(files)}: record it anew")
    options = [build_options(folder, manifest, str(rival.device)) for rival in pair]
    passed = True
    for name in wanted:
        with (
            rivals.open_engine(pair[0], files[name], options[0].get(name)) as first,
            rivals.open_engine(pair[1], files[name], options[1].get(name)) as second,
        ):
            feeds = (
                engine.random_feeds(first.inputs, 4, seed) if recorded is None else recorded[name]
            )
            found = engine.compare(first, second, feeds, repeats)
            _show(f"{name}: {first.runtime} ({a}), {second.runtime} ({b})", found, len(feeds))
        passed = passed and found.passed
    typer.echo("pass" if passed else "fail: some output is out of its limits")
    if not passed:
        raise typer.Exit(DIFFERENT)


def _show(title: str, found: Comparison, calls: int) -> None:
    typer.echo(f"{title}, {calls} calls")
    typer.echo(f"  {'output':12}{'max error':>12}{'mean error':>12}{'cosine':>11}  labels")
    for gap in found.gaps:
        line = f"  {gap.output:12}{gap.max_abs:12.3g}{gap.mean_abs:12.3g}{gap.cosine:11.7f}"
        if gap.agreement is not None:
            line += f"  {gap.agreement.agreed} of {gap.agreement.decided} clear ones agree,"
            line += f" probabilities within {gap.agreement.largest:.2g}"
        typer.echo(line + ("" if gap.passed else "  <- out of limits"))
    ratio = found.a_s / found.b_s
    typer.echo(f"  time {found.a_s * 1e3:.2f} ms and {found.b_s * 1e3:.2f} ms: {ratio:.2f} x\n")
