"""`affectstream score`."""

from __future__ import annotations

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
    Output,
    Speakers,
    Threads,
    Transcript,
    parse_formats,
    source_options,
)


def score(
    files: Annotated[
        list[Path],
        typer.Argument(
            help="Recordings in any format that FFmpeg reads, or transcripts.", show_default=False
        ),
    ],
    output: Output = None,
    formats: Formats = None,
    bundle: BundleName = "pocket",
    device: Device = "auto",
    threads: Threads = None,
    start: Annotated[
        float | None, typer.Option(help="Begin at this second.", show_default=False)
    ] = None,
    end: Annotated[
        float | None, typer.Option(help="Stop at this second.", show_default=False)
    ] = None,
    audio_track: Annotated[
        str | None,
        typer.Option(help="Audio track: 1, 2, ... or a language.", show_default="the best"),
    ] = None,
    transcript: Transcript = None,
    language: Language = None,
    speakers: Speakers = None,
    channel: Annotated[
        str | None,
        typer.Option(
            help="One speaker on each stereo channel, as left=1,right=2.", show_default=False
        ),
    ] = None,
    metadata: Metadata = None,
    baseline: Baseline = "0s",
    focal: Focal = None,
    max_pixels: Annotated[
        int | None,
        typer.Option(
            min=1, help="Refuse pictures of more pixels than this.", show_default="40 million"
        ),
    ] = None,
) -> None:
    """Score recordings: events to stdout, or result files to a folder.

    Example: [bold]affectstream score interview.mp4 --output results[/bold]
    """
    # Imported here so that --help answers at once.
    from affectstream.stream.errors import OptionError
    from affectstream.stream.offline.batch import score_files
    from affectstream.stream.recognizer import Recognizer

    options = source_options(
        transcript=transcript,
        language=language,
        speakers=speakers,
        metadata=metadata,
        baseline=baseline,
        focal=focal,
        channel=channel,
        start=start,
        end=end,
        audio_track=audio_track,
        max_pixels=max_pixels,
    )
    names = parse_formats(formats, output)
    if transcript is not None and len(set(files)) > 1:
        raise OptionError("one transcript cannot serve several recordings: score them one by one")
    with Recognizer.open(bundle, device=device, threads=threads) as recognizer:
        code = score_files(recognizer, files, options, output, names, sys.stdout.buffer)
    raise typer.Exit(code)
