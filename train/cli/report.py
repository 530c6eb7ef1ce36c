"""`affectstream train report`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def report(
    runs: Annotated[
        list[Path] | None,
        typer.Option(help="A folder of runs, or one run; repeat.", show_default="runs"),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Write the table too: .md, .csv or .json."),
    ] = None,
    curves: Annotated[
        Path | None, typer.Option(help="Folder for a picture of each run's curves.")
    ] = None,
) -> None:
    """Put runs side by side: parameters, best epoch, figures, minutes, memory.

    Example: [bold]affectstream train report --runs runs --output runs.md[/bold]
    """
    from affectstream.train.evaluate import report as found

    folders = runs or [Path("runs")]
    rows = found.table(folders)
    print("\n".join(found.lines(rows)))
    if output is not None:
        found.write(rows, output)
    if curves is not None:
        for folder in folders:
            for run in found.find(folder):
                if found.read_log(run):
                    name = "-".join(run.relative_to(folder).parts) or run.name
                    found.draw(run, curves / f"{name}.png")
