"""`affectstream train preview`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def preview(
    data: Annotated[Path, typer.Option(help="Prepared data set.", show_default=False)],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder for the files.", show_default=False)
    ],
    split: Annotated[str, typer.Option(help="Split of the samples.")] = "train",
    count: Annotated[int, typer.Option(min=1, max=64, help="Samples to show.")] = 8,
    seconds: Annotated[float, typer.Option(min=0.5, max=30, help="Seconds of sound.")] = 3.0,
    seed: Annotated[
        int, typer.Option(min=0, max=2**32 - 1, help="Seed of all random numbers.")
    ] = 0,
) -> None:
    """Show what augmentation does to pictures and sound.

    Writes frames.png, sound.png and WAV files to listen to: each sample as it is, then augmented.

    Example: [bold]affectstream train preview --data prepared/ravdess -o preview[/bold]
    """
    from affectstream.train.loader.preview import preview as write

    for path in write(data, output, split=split, count=count, seed=seed, seconds=seconds):
        print(path)
