"""`affectstream score`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from affectstream.stream.cli.flags import (
    Attention,
    AudioTrack,
    Baseline,
    BundleName,
    Channel,
    Consent,
    Device,
    Focal,
    Formats,
    Language,
    MaxPixels,
    Metadata,
    MinConfidence,
    Modalities,
    Neutral,
    Otel,
    OutputOrStore,
    Purpose,
    Speakers,
    Threads,
    Trace,
    Transcript,
    Vad,
    Voices,
    Words,
    WordsDownload,
    parse_formats,
    source_options,
    tracing,
)


def score(
    files: Annotated[
        list[str],  # a Path would join the slashes of a URL
        typer.Argument(
            help="Recordings in any format that FFmpeg reads, transcripts, folders of them, patterns, or a "
            "table (.csv) of them.",
            show_default=False,
        ),
    ],
    output: OutputOrStore = None,
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
    audio_track: AudioTrack = None,
    transcript: Transcript = None,
    words: Words = None,
    words_download: WordsDownload = False,
    language: Language = None,
    speakers: Speakers = None,
    channel: Channel = None,
    voices: Voices = None,
    metadata: Metadata = None,
    attention: Attention = "gaze",
    baseline: Baseline = "0s",
    neutral: Neutral = "0s",
    focal: Focal = None,
    vad: Vad = "silero",
    max_pixels: MaxPixels = None,
    modalities: Modalities = None,
    min_confidence: MinConfidence = None,
    trace: Trace = None,
    otel: Otel = False,
    purpose: Purpose = None,
    consent: Consent = None,
    workers: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Processes for parts of a long recording, and with --output for several recordings at once.",
            show_default="as cores and memory allow",
        ),
    ] = None,
    overwrite: Annotated[
        bool,
        typer.Option(
            "--overwrite", help="Score again what another version, bundle or option has made."
        ),
    ] = False,
    retry_failed: Annotated[
        bool,
        typer.Option(
            "--retry-failed", help="Try recordings again that were damaged in an earlier run."
        ),
    ] = False,
    shard: Annotated[
        str | None,
        typer.Option(
            help="Score only this part of the recordings, such as 2/8, with --output.",
            show_default=False,
        ),
    ] = None,
    cluster: Annotated[
        str | None,
        typer.Option(
            help="Score on a Ray cluster, with --output: local, auto, or such as ray://host:10001.",
            show_default=False,
        ),
    ] = None,
    json: Annotated[
        bool, typer.Option("--json", help="Print JSON Lines on a terminal too.")
    ] = False,
) -> None:
    """Score recordings: events to stdout, or result files to a folder.

    A terminal gets a line to read for each event, a pipe or a file JSON Lines. With --output many recordings
    are scored at once. The same command goes on after a stop: what is finished is not scored again.

    Example: [bold]affectstream score interview.mp4 --output results[/bold]

    Example: [bold]affectstream score recordings --output results[/bold]
    """
    # Imported here so that --help answers at once.
    from rich.console import Console

    from affectstream.stream.batch.output.storage import storage_at
    from affectstream.stream.batch.plan.find import find_tasks, stands_for_several
    from affectstream.stream.batch.plan.shard import Shard
    from affectstream.stream.batch.plan.sizing import processes_for_one
    from affectstream.stream.batch.run import BatchOptions, score_batch
    from affectstream.stream.cli.event_lines import EventLines
    from affectstream.stream.errors import OptionError
    from affectstream.stream.live.capture.address import is_url, redact
    from affectstream.stream.offline.to_stream import score_files
    from affectstream.stream.recognizer import Recognizer
    from affectstream.stream.sinks.jsonl import JsonlStream
    from affectstream.stream.words.opening import recording_recognizer

    options = source_options(
        transcript=transcript,
        words=words,
        words_download=words_download,
        language=language,
        speakers=speakers,
        metadata=metadata,
        attention=attention,
        baseline=baseline,
        neutral=neutral,
        focal=focal,
        vad=vad,
        channel=channel,
        start=start,
        end=end,
        audio_track=audio_track,
        max_pixels=max_pixels,
        modalities=modalities,
        min_confidence=min_confidence,
        purpose=purpose,
        consent=consent,
        voices=voices,
    )
    if words_download and words is None:
        raise typer.BadParameter("needs --words", param_hint="--words-download")
    names = parse_formats(formats, output)
    for url in filter(is_url, files):
        raise OptionError(
            f"{redact(url)}: score reads files; for this address use: affectstream live --source URL"
        )
    several = [file for file in files if stands_for_several(file)]
    if transcript is not None and (several or len(set(files)) > 1):
        raise OptionError(
            "one transcript cannot serve several recordings: score them one by one, or give each its own in "
            "a table (.csv)"
        )
    traced = "--trace" if trace is not None else "--otel" if otel else None
    recording_recognizer(options)  # a model that cannot be opened is reported once
    if output is None:
        of_folders = {
            "--shard": shard,
            "--cluster": cluster,
            "--overwrite": overwrite,
            "--retry-failed": retry_failed,
        }
        for name in (name for name, value in of_folders.items() if value):
            raise OptionError(f"{name} needs --output: a folder for results")
        for file in several:
            raise OptionError(f"{file} is a directory, a pattern or a table: it needs --output")
        if traced is not None and (workers or 1) > 1:
            raise OptionError(
                f"{traced} follows one process, and --workers {workers} starts several: leave out one of them"
            )
        lines = not json and sys.stdout.isatty()
        sink = EventLines(Console(highlight=False)) if lines else JsonlStream(sys.stdout.buffer)
        with (
            tracing(trace, "score", otel=otel),
            Recognizer.open(bundle, device=device, threads=threads) as recognizer,
        ):
            # Lines and JSON on a terminal show how far it is.
            progress = not sys.stdout.isatty()
            paths = [Path(file) for file in files]
            ranges = 1 if traced else processes_for_one(recognizer, workers)
            code = score_files(recognizer, paths, options, sink, progress=progress, ranges=ranges)
        raise typer.Exit(code)
    if traced is not None:
        raise OptionError(
            f"{traced} follows one process, and --output scores in several: leave out one of them"
        )
    storage = storage_at(output)
    tasks = find_tasks(files, options, storage.local)
    batch = BatchOptions(
        formats=names,
        workers=workers,
        overwrite=overwrite,
        retry_failed=retry_failed,
        shard=None if shard is None else Shard.parse(shard),
        cluster=cluster,
    )
    with Recognizer.open(bundle, device=device, threads=threads) as recognizer:
        raise typer.Exit(score_batch(recognizer, tasks, storage, batch).exit_code)
