"""`affectstream live`."""

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
    Speakers,
    Words,
    WordsDownload,
    chosen_formats,
    seconds_of,
)


def live(
    source: Annotated[
        str | None,
        typer.Option(
            "--source",
            "-s",
            help="Camera (0, /dev/video0), URL (rtsp, rtmp, http, udp, tcp, rtp), or a file, which is "
            "played at its own speed.",
            show_default="camera 0, unless --mic is given",
        ),
    ] = None,
    mic: Annotated[
        bool, typer.Option("--mic/--no-mic", help="Listen to the system's microphone too.")
    ] = False,
    mic_device: Annotated[
        str | None,
        typer.Option(help="Listen to this microphone, such as hw:1.", show_default=False),
    ] = None,
    duration: Annotated[
        str | None, typer.Option(help="End after so long, such as 30s.", show_default=False)
    ] = None,
    listen: Annotated[
        bool, typer.Option("--listen", help="Wait at the address for a sender to publish to it.")
    ] = False,
    option: Annotated[
        list[str] | None,
        typer.Option(help="NAME=VALUE for FFmpeg, such as rtsp_transport=udp.", show_default=False),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Write results to a folder here instead of to stdout."),
    ] = None,
    formats: Formats = None,
    bundle: BundleName = "pocket",
    device: Device = "auto",
    transcript: Annotated[
        Path | None,
        typer.Option(help="Words of a file: .srt or .vtt.", show_default="beside the file"),
    ] = None,
    language: Language = None,
    speaker: Speakers = None,
    metadata: Metadata = None,
    baseline: Baseline = "0s",
    focal: Focal = None,
    lsl: Annotated[
        str | None,
        typer.Option(
            help="Give scores, attention and events to the Lab Streaming Layer, under this name.",
            show_default=False,
        ),
    ] = None,
    words: Words = None,
    words_download: WordsDownload = False,
) -> None:
    """Recognize a camera, a microphone or a network stream while it happens.

    A dashboard on a terminal, JSON Lines otherwise. Nothing is stored unless --output is given.
    Ctrl-C ends it; what was seen until then is kept.

    Example: [bold]affectstream live --source 0 --mic[/bold]
    """
    # Imported here so that --help answers at once.
    from rich.console import Console

    from affectstream.stream.cli.live_job import LiveJob, run_live
    from affectstream.stream.live.source import LiveOptions
    from affectstream.stream.options import Assignment, SourceOptions
    from affectstream.stream.speaker_metadata import read_speakers

    if words_download and words is None:
        raise typer.BadParameter("needs --words", param_hint="--words-download")
    microphone = mic_device or ("default" if mic else None)
    job = LiveJob(
        live=LiveOptions(
            source="0" if source is None and microphone is None else source,
            mic=microphone,
            ffmpeg=_pairs(option or []),
            listen=listen,
        ),
        options=SourceOptions(
            transcript=transcript,
            language=language,
            assignment=Assignment.parse(speaker or [], None),
            baseline_us=round(seconds_of(baseline, "--baseline") * 1e6),
            focal_px=focal,
            metadata=None if metadata is None else read_speakers(metadata),
        ),
        bundle=bundle,
        device=device,
        output=output,
        formats=chosen_formats(formats, output),
        duration_s=None if duration is None else seconds_of(duration, "--duration"),
        lsl=lsl,
        words=words,
        words_download=words_download,
    )
    raise typer.Exit(run_live(job, sys.stdout.buffer, Console(file=sys.stdout)))


def _pairs(texts: list[str]) -> dict[str, str]:
    pairs = [text.partition("=") for text in texts]
    for text, (name, equals, _) in zip(texts, pairs, strict=True):
        if not name or not equals:
            raise typer.BadParameter(f"{text!r}: expected NAME=VALUE", param_hint="--option")
    return {name: value for name, _, value in pairs}
