"""`affectstream live`."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import Annotated

import typer

_FORMATS = ("jsonl", "parquet", "csv", "vtt")
_DEFAULT = "jsonl,parquet,vtt"


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
    transcript: Annotated[
        Path | None,
        typer.Option(help="Words of a file: .srt or .vtt.", show_default="beside the file"),
    ] = None,
    language: Annotated[
        str | None, typer.Option(help="Language of the words, such as en.", show_default=False)
    ] = None,
    speaker: Annotated[
        list[str] | None,
        typer.Option(help="Whose voice and words: a track (2), or NAME=TRACK.", show_default=False),
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
    lsl: Annotated[
        str | None,
        typer.Option(
            help="Give scores, attention and events to the Lab Streaming Layer, under this name.",
            show_default=False,
        ),
    ] = None,
    words: Annotated[
        str | None,
        typer.Option(
            help="Recognize words: a faster-whisper model (base.en, or its folder) or module:factory.",
            show_default="off",
        ),
    ] = None,
    words_download: Annotated[
        bool, typer.Option("--words-download", help="Fetch the model of --words if it is not here.")
    ] = False,
) -> None:
    """Recognize a camera, a microphone or a network stream while it happens.

    A dashboard on a terminal, JSON Lines otherwise. Nothing is stored unless --output is given.
    Ctrl-C ends it; what was seen until then is kept.

    Example: [bold]affectstream live --source 0 --mic[/bold]
    """
    # Imported here so that --help answers at once.
    from rich.console import Console

    from affectstream.stream.live.run import LiveJob, run_live
    from affectstream.stream.live.source import LiveOptions
    from affectstream.stream.options import Assignment, SourceOptions
    from affectstream.stream.speakers import read_speakers

    if formats is not None and output is None:
        raise typer.BadParameter("needs --output; stdout gets JSON Lines", param_hint="--format")
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
            baseline_us=round(_seconds(baseline, "--baseline") * 1e6),
            focal_px=focal,
            metadata=None if metadata is None else read_speakers(metadata),
        ),
        bundle=bundle,
        device=device,
        output=output,
        formats=_chosen(_DEFAULT if formats is None else formats),
        duration_s=None if duration is None else _seconds(duration, "--duration"),
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


def _chosen(formats: str) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(name.strip() for name in formats.split(",") if name.strip()))
    unknown = [name for name in names if name not in _FORMATS]
    if unknown or not names:
        raise typer.BadParameter(
            f"{formats!r}: expected some of {', '.join(_FORMATS)}, separated by commas",
            param_hint="--format",
        )
    return names


def _seconds(text: str, option: str) -> float:
    """Of ``10s``, ``10`` or ``1.5s``."""
    try:
        seconds = float(text.removesuffix("s"))
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds < math.inf:
        raise typer.BadParameter(f"{text!r}: expected seconds such as 10s", param_hint=option)
    return seconds
