"""`affectstream score`."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import Annotated

import typer

_FORMATS = ("jsonl", "parquet", "csv", "vtt")
_DEFAULT = "jsonl,parquet,vtt"


def score(
    files: Annotated[
        list[Path],
        typer.Argument(
            help="Recordings: anything FFmpeg opens; or transcripts.", show_default=False
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="Write results here, a folder for each recording, instead of to stdout.",
        ),
    ] = None,
    formats: Annotated[
        str | None,
        typer.Option(
            "--format",
            "-f",
            help=f"With --output: any of {','.join(_FORMATS)}.",
            show_default=_DEFAULT,
        ),
    ] = None,
    bundle: Annotated[
        str, typer.Option(help="Recognizer: 'pocket', or a bundle's folder.")
    ] = "pocket",
    device: Annotated[
        str, typer.Option(help="auto, cpu, cuda:0, tensorrt:0 or tensorrt-rtx:0.")
    ] = "auto",
    threads: Annotated[
        int | None,
        typer.Option(min=1, max=1024, help="Batches perceived side by side.", show_default="cores"),
    ] = None,
    start: Annotated[
        float | None, typer.Option(help="Begin at this second.", show_default=False)
    ] = None,
    end: Annotated[
        float | None, typer.Option(help="Stop at this second.", show_default=False)
    ] = None,
    audio_track: Annotated[
        str | None,
        typer.Option(help="Which audio track: 1, 2, ... or a language.", show_default="the best"),
    ] = None,
    transcript: Annotated[
        Path | None,
        typer.Option(help="Words: a .srt or .vtt file.", show_default="beside or inside"),
    ] = None,
    language: Annotated[
        str | None, typer.Option(help="Language of the words, such as en.", show_default=False)
    ] = None,
    speaker: Annotated[
        list[str] | None,
        typer.Option(help="Whose voice and words: a track (2), or NAME=TRACK.", show_default=False),
    ] = None,
    channel: Annotated[
        str | None, typer.Option(help="One speaker a side: left=1,right=2.", show_default=False)
    ] = None,
    metadata: Annotated[
        Path | None,
        typer.Option(
            help="JSON with age and gender of the speakers, for bundles that take them.",
            show_default=False,
        ),
    ] = None,
    baseline: Annotated[
        str, typer.Option(help="Take the median pose of the first seconds as neutral, such as 10s.")
    ] = "0s",
    focal: Annotated[
        float | None, typer.Option(help="Focal length in pixels.", show_default="frame width")
    ] = None,
) -> None:
    """Score recordings: events to stdout, or results to a folder.

    Example: [bold]affectstream score interview.mp4 --output results[/bold]
    """
    # Imported here so that --help answers at once.
    from affectstream.stream.batch import Job, score_files
    from affectstream.stream.options import Assignment, SourceOptions
    from affectstream.stream.speakers import read_speakers

    options = SourceOptions(
        start_us=_microseconds(start),
        end_us=_microseconds(end),
        audio_track=int(audio_track) if audio_track and audio_track.isdecimal() else audio_track,
        transcript=transcript,
        language=language,
        assignment=Assignment.parse(speaker or [], channel),
        baseline_us=_duration(baseline),
        focal_px=focal,
        metadata=None if metadata is None else read_speakers(metadata),
    )
    if formats is not None and output is None:
        raise typer.BadParameter("needs --output; stdout gets JSON Lines", param_hint="--format")
    chosen = _chosen(_DEFAULT if formats is None else formats)
    job = Job(tuple(files), options, bundle, device, threads, output, chosen)
    raise typer.Exit(score_files(job, sys.stdout.buffer))


def _chosen(formats: str) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(name.strip() for name in formats.split(",") if name.strip()))
    unknown = [name for name in names if name not in _FORMATS]
    if unknown or not names:
        raise typer.BadParameter(
            f"{formats!r}: expected some of {', '.join(_FORMATS)}, separated by commas",
            param_hint="--format",
        )
    return names


def _microseconds(seconds: float | None) -> int | None:
    if seconds is None:
        return None
    if not math.isfinite(seconds):
        raise typer.BadParameter(f"{seconds}: expected a number of seconds")
    return round(seconds * 1e6)


def _duration(text: str) -> int:
    """Microseconds of ``10s``, ``10`` or ``1.5s``."""
    try:
        return round(float(text.removesuffix("s")) * 1e6)
    except (ValueError, OverflowError):
        raise typer.BadParameter(
            f"{text!r}: expected seconds such as 10s", param_hint="--baseline"
        ) from None
