"""`affectstream score`."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import Annotated

import typer

from affectstream.stream.cli.flags import (
    Baseline,
    BundleName,
    Device,
    Focal,
    Formats,
    Language,
    Metadata,
    Speakers,
    chosen_formats,
    seconds_of,
)


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
    formats: Formats = None,
    bundle: BundleName = "pocket",
    device: Device = "auto",
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
    language: Language = None,
    speaker: Speakers = None,
    channel: Annotated[
        str | None, typer.Option(help="One speaker a side: left=1,right=2.", show_default=False)
    ] = None,
    metadata: Metadata = None,
    baseline: Baseline = "0s",
    focal: Focal = None,
) -> None:
    """Score recordings: events to stdout, or results to a folder.

    Example: [bold]affectstream score interview.mp4 --output results[/bold]
    """
    # Imported here so that --help answers at once.
    from affectstream.stream.offline.batch import Job, score_files
    from affectstream.stream.options import Assignment, SourceOptions
    from affectstream.stream.speaker_metadata import read_speakers

    options = SourceOptions(
        start_us=_microseconds(start),
        end_us=_microseconds(end),
        audio_track=int(audio_track) if audio_track and audio_track.isdecimal() else audio_track,
        transcript=transcript,
        language=language,
        assignment=Assignment.parse(speaker or [], channel),
        baseline_us=round(seconds_of(baseline, "--baseline") * 1e6),
        focal_px=focal,
        metadata=None if metadata is None else read_speakers(metadata),
    )
    chosen = chosen_formats(formats, output)
    job = Job(tuple(files), options, bundle, device, threads, output, chosen)
    raise typer.Exit(score_files(job, sys.stdout.buffer))


def _microseconds(seconds: float | None) -> int | None:
    if seconds is None:
        return None
    if not math.isfinite(seconds):
        raise typer.BadParameter(f"{seconds}: expected a number of seconds")
    return round(seconds * 1e6)
