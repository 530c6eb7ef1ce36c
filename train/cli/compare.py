"""`affectstream train compare`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from affectstream.train.cli.flags import Data


def compare(
    first: Annotated[str, typer.Argument(help="A run's folder, a bundle's, or 'pocket'.")],
    second: Annotated[str, typer.Argument(help="The other, whose gain is told.")],
    data: Data,
    split: Annotated[str, typer.Option(help="Of the prepared data set.")] = "valid",
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write everything as JSON too.")
    ] = None,
) -> None:
    """Compare two runs or bundles sample by sample: is one better, or is it chance?

    Differences are the second's figure less the first's; a star marks an interval without 0 in it.

    Example: [bold]affectstream train compare runs/cnn runs/tiny_vit --data prepared/fer2013[/bold]
    """
    import sys

    from affectstream.stream.sinks.base import writing
    from affectstream.train.evaluate import compare as comparison
    from affectstream.train.files import encode_json, write_atomically

    if split == "train":
        print("split train is what was learned from: this says little", file=sys.stderr)
    predictions = [comparison.predict(name, data, split) for name in (first, second)]
    compared = comparison.compare(*predictions)
    for one in compared:
        print("\n".join(comparison.lines(one)))
    if output is not None:
        said = {"first": first, "second": second, "data": str(data), "split": split}
        with writing(output):
            write_atomically(output, encode_json({**said, "tasks": compared}))
