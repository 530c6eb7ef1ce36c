"""`affectstream train evaluate-fusion`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def evaluate_fusion(
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

    Example: [bold]affectstream train evaluate-fusion --member face --member voice --data paired[/bold]
    """
    from affectstream.train.evaluate.fusion import compare_fusions

    compare_fusions(members, fused or [], data, conflicts, split)
