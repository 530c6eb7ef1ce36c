"""`affectstream train preview`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def preview(
    data: Annotated[Path, typer.Option(help="A prepared data set.", show_default=False)],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder of the files.", show_default=False)
    ],
    split: Annotated[str, typer.Option(help="Which samples.")] = "train",
    count: Annotated[int, typer.Option(min=1, max=64, help="Samples to show.")] = 8,
    seconds: Annotated[float, typer.Option(min=0.5, max=30, help="Of sound.")] = 3.0,
    seed: Annotated[int, typer.Option(min=0, max=2**32 - 1, help="Seed of everything random.")] = 0,
) -> None:
    """Show what augmentation makes of pictures, and let hear what it makes of sound.

    Writes frames.png, sound.png and WAV files: each sample as it is, then changed as in training.

    Example: [bold]affectstream train preview --data prepared/ravdess -o look[/bold]
    """
    from affectstream.train.loader.preview import preview as write

    for path in write(data, output, split=split, count=count, seed=seed, seconds=seconds):
        print(path)
