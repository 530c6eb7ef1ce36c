"""`affectstream score`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from affectstream.stream.cli.flags import (
    Attention,
    Baseline,
    BundleName,
    Device,
    Focal,
    Formats,
    Language,
    MaxPixels,
    Metadata,
    MinConfidence,
    Modalities,
    Output,
    Speakers,
    Threads,
    Transcript,
    parse_formats,
    source_options,
)


def score(
    files: Annotated[
        list[str],  # a Path would join the slashes of a URL
        typer.Argument(
            help="Recordings in any format that FFmpeg reads, or transcripts.",
            show_default=False,
        ),
    ],
    output: Output = None,
    formats: Formats = None,
    bundle: BundleName = "pocket",
    device: Device = "auto",
    threads: Threads = None,
    start: Annotated[
        str | None, typer.Option(help="Begin here: 90 or 00:01:30.", show_default=False)
    ] = None,
    end: Annotated[
        str | None, typer.Option(help="Stop here: 120 or 00:02:00.", show_default=False)
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
    attention: Attention = "gaze",
    baseline: Baseline = "0s",
    focal: Focal = None,
    max_pixels: MaxPixels = None,
    modalities: Modalities = None,
    min_confidence: MinConfidence = 0.0,
    json: Annotated[
        bool, typer.Option("--json", help="Print JSON Lines on a terminal too.")
    ] = False,
) -> None:
    """Score recordings: events to stdout, or result files to a folder.

    A terminal gets a line to read for each event, a pipe or a file JSON Lines.

    Example: [bold]affectstream score interview.mp4 --output results[/bold]
    """
    # Imported here so that --help answers at once.
    from rich.console import Console

    from affectstream.stream.cli.event_lines import EventLines
    from affectstream.stream.errors import OptionError
    from affectstream.stream.live.capture.address import is_url, redact
    from affectstream.stream.offline.batch import score_files
    from affectstream.stream.recognizer import Recognizer
    from affectstream.stream.sinks.jsonl import JsonlStream

    options = source_options(
        transcript=transcript,
        language=language,
        speakers=speakers,
        metadata=metadata,
        attention=attention,
        baseline=baseline,
        focal=focal,
        channel=channel,
        start=start,
        end=end,
        audio_track=audio_track,
        max_pixels=max_pixels,
        modalities=modalities,
        min_confidence=min_confidence,
    )
    names = parse_formats(formats, output)
    if transcript is not None and len(set(files)) > 1:
        raise OptionError("one transcript cannot serve several recordings: score them one by one")
    for url in filter(is_url, files):
        raise OptionError(
            f"{redact(url)}: score reads files; for this address use: affectstream live --source URL"
        )
    lines = output is None and not json and sys.stdout.isatty()
    sink = EventLines(Console(highlight=False)) if lines else JsonlStream(sys.stdout.buffer)
    with Recognizer.open(bundle, device=device, threads=threads) as recognizer:
        # Lines and JSON on a terminal show how far it is.
        progress = output is not None or not sys.stdout.isatty()
        paths = [Path(file) for file in files]
        code = score_files(recognizer, paths, options, output, names, sink, progress=progress)
    raise typer.Exit(code)
