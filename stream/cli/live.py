"""`affectstream live`."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from affectstream.stream.cli.flags import (
    Attention,
    Baseline,
    BundleName,
    Consent,
    Device,
    Focal,
    Formats,
    Language,
    Lsl,
    MaxPixels,
    Metadata,
    MinConfidence,
    Modalities,
    Neutral,
    Otel,
    Output,
    Purpose,
    Speakers,
    Trace,
    Transcript,
    Vad,
    Words,
    WordsDownload,
    parse_formats,
    parse_seconds,
    source_options,
    tracing,
)


def live(
    source: Annotated[
        str | None,
        typer.Option(
            "--source",
            "-s",
            help="Camera (0, /dev/video0), URL (rtsp, rtmp, http, udp, tcp, rtp), or a file, which plays at "
            "its own speed.",
            show_default="camera 0, unless --mic is given",
        ),
    ] = None,
    mic: Annotated[
        bool, typer.Option("--mic/--no-mic", help="Use the system's microphone.")
    ] = False,
    mic_device: Annotated[
        str | None,
        typer.Option(help="Use this microphone, such as hw:1.", show_default=False),
    ] = None,
    duration: Annotated[
        str | None, typer.Option(help="Stop after this time, such as 30s.", show_default=False)
    ] = None,
    listen: Annotated[
        bool,
        typer.Option(
            "--listen", help="Wait at the address of --source for a sender to publish there."
        ),
    ] = False,
    option: Annotated[
        list[str] | None,
        typer.Option(
            help="Option of FFmpeg, such as rtsp_transport=udp. Repeatable.", show_default=False
        ),
    ] = None,
    output: Output = None,
    formats: Formats = None,
    bundle: BundleName = "pocket",
    device: Device = "auto",
    transcript: Transcript = None,
    language: Language = None,
    speakers: Speakers = None,
    metadata: Metadata = None,
    attention: Attention = "gaze",
    baseline: Baseline = "0s",
    neutral: Neutral = "0s",
    focal: Focal = None,
    vad: Vad = "silero",
    max_pixels: MaxPixels = None,
    modalities: Modalities = None,
    min_confidence: MinConfidence = None,
    lsl: Lsl = None,
    words: Words = None,
    words_download: WordsDownload = False,
    purpose: Purpose = None,
    consent: Consent = None,
    trace: Trace = None,
    otel: Otel = False,
) -> None:
    """Recognize a camera, a microphone or a network stream live.

    Shows a dashboard on a terminal, and writes JSON Lines otherwise. Nothing is stored without --output.
    Ctrl-C stops it and keeps the results so far.

    Example: [bold]affectstream live --source 0 --mic[/bold]
    """
    # Imported here so that --help answers at once.
    from rich.console import Console

    from affectstream.stream.cli.live_job import LiveJob, run_live
    from affectstream.stream.live.source import LiveOptions

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
        options=source_options(
            transcript=transcript,
            language=language,
            speakers=speakers,
            metadata=metadata,
            attention=attention,
            baseline=baseline,
            neutral=neutral,
            focal=focal,
            vad=vad,
            max_pixels=max_pixels,
            modalities=modalities,
            min_confidence=min_confidence,
            purpose=purpose,
            consent=consent,
        ),
        bundle=bundle,
        device=device,
        output=output,
        formats=parse_formats(formats, output, live=True),
        duration_s=None if duration is None else parse_seconds(duration, "--duration"),
        lsl=lsl,
        words=words,
        words_download=words_download,
    )
    with tracing(trace, "live", otel=otel):
        code = run_live(job, sys.stdout.buffer, Console(file=sys.stdout))
    raise typer.Exit(code)


def _pairs(texts: list[str]) -> dict[str, str]:
    pairs = [text.partition("=") for text in texts]
    for text, (name, equals, _) in zip(texts, pairs, strict=True):
        if not name or not equals:
            raise typer.BadParameter(f"{text!r}: expected NAME=VALUE", param_hint="--option")
    return {name: value for name, _, value in pairs}
