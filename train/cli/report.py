"""`affectstream train report`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def report(
    runs: Annotated[
        list[Path] | None,
        typer.Option(help="Folder of runs, or one run; repeat.", show_default="runs"),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Also write the table: .md, .csv or .json."),
    ] = None,
    curves: Annotated[
        Path | None, typer.Option(help="Draw the curves of each run into this folder.")
    ] = None,
) -> None:
    """Compare runs in one table: parameters, best epoch, metrics, minutes, memory.

    Example: [bold]affectstream train report --runs runs --output runs.md[/bold]
    """
    from affectstream.train.evaluate import report as reports

    folders = runs or [Path("runs")]
    rows = reports.table(folders)
    print("\n".join(reports.lines(rows)))
    if output is not None:
        reports.write(rows, output)
    if curves is not None:
        for folder in folders:
            for run in reports.find_runs(folder):
                if reports.read_log(run):
                    name = "-".join(run.relative_to(folder).parts) or run.name
                    reports.draw(run, curves / f"{name}.png")
