"""Options that several commands take, each said once, and what their texts mean."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated

import typer

FORMATS = ("jsonl", "parquet", "csv", "vtt")
DEFAULT_FORMATS = "jsonl,parquet,vtt"

Formats = Annotated[
    str | None,
    typer.Option(
        "--format",
        "-f",
        help=f"With --output: any of {','.join(FORMATS)}.",
        show_default=DEFAULT_FORMATS,
    ),
]
BundleName = Annotated[str, typer.Option(help="Recognizer: 'pocket', or a bundle's folder.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda:0, tensorrt:0 or tensorrt-rtx:0.")]
Language = Annotated[
    str | None, typer.Option(help="Language of the words, such as en.", show_default=False)
]
Speakers = Annotated[
    list[str] | None,
    typer.Option(help="Whose voice and words: a track (2), or NAME=TRACK.", show_default=False),
]
Metadata = Annotated[
    Path | None,
    typer.Option(
        help="JSON with age and gender of the speakers, for bundles that take them.",
        show_default=False,
    ),
]
Baseline = Annotated[
    str, typer.Option(help="Take the median pose of the first seconds as neutral, such as 10s.")
]
Focal = Annotated[
    float | None, typer.Option(help="Focal length in pixels.", show_default="frame width")
]
Words = Annotated[
    str | None,
    typer.Option(
        help="Recognize words: a faster-whisper model (base.en, or its folder) or module:factory.",
        show_default="off",
    ),
]
WordsDownload = Annotated[
    bool, typer.Option("--words-download", help="Fetch the model of --words if it is not here.")
]


def chosen_formats(formats: str | None, output: Path | None) -> tuple[str, ...]:
    """The names in ``--format``, each once; the default ones without it."""
    if formats is not None and output is None:
        raise typer.BadParameter("needs --output; stdout gets JSON Lines", param_hint="--format")
    told = DEFAULT_FORMATS if formats is None else formats
    names = tuple(dict.fromkeys(name.strip() for name in told.split(",") if name.strip()))
    unknown = [name for name in names if name not in FORMATS]
    if unknown or not names:
        raise typer.BadParameter(
            f"{told!r}: expected some of {', '.join(FORMATS)}, separated by commas",
            param_hint="--format",
        )
    return names


def seconds_of(text: str, option: str) -> float:
    """Of ``10s``, ``10`` or ``1.5s``."""
    try:
        seconds = float(text.removesuffix("s"))
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds < math.inf:
        raise typer.BadParameter(f"{text!r}: expected seconds such as 10s", param_hint=option)
    return seconds
