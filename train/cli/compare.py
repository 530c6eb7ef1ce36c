"""`affectstream train compare`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from affectstream.train.cli.flags import Data


def compare(
    first: Annotated[str, typer.Argument(help="Folder of a run or a bundle, or 'pocket'.")],
    second: Annotated[str, typer.Argument(help="The one to compare with the first.")],
    data: Data,
    split: Annotated[str, typer.Option(help="Split of the prepared data set.")] = "valid",
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Also write all results as JSON.")
    ] = None,
) -> None:
    """Compare two runs or bundles sample by sample: is one better, or is it chance?

    Differences are the second's metric minus the first's; a star marks an interval without 0.

    Example: [bold]affectstream train compare runs/cnn runs/tiny_vit --data prepared/fer2013[/bold]
    """
    import sys

    from affectstream.train.evaluate import compare as comparison
    from affectstream.train.files import encode_json, write_atomically

    if split == "train":
        print("networks are trained on split train: metrics on it say little", file=sys.stderr)
    predictions = [comparison.predict(name, data, split) for name in (first, second)]
    compared = comparison.compare(*predictions)
    for one in compared:
        print("\n".join(comparison.lines(one)))
    if output is not None:
        names = {"first": first, "second": second, "data": str(data), "split": split}
        write_atomically(output, encode_json({**names, "tasks": compared}))
