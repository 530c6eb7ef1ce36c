"""Options that several commands share, each defined once, and the objects that they become."""

from __future__ import annotations

import math
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from affectstream.engines.labels import AttentionOption, SpeechGateOption
from affectstream.engines.plugins import plugin_names
from affectstream.stream.sinks import DEFAULT_FORMATS, FORMATS, RECORDING_FORMATS, Format

if TYPE_CHECKING:
    from collections.abc import Iterator

    from affectstream.engines.labels import Modality
    from affectstream.stream.options import SourceOptions

BundleName = Annotated[str, typer.Option(help="Bundle to use: 'pocket', or its folder.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda:0, tensorrt:0 or tensorrt-rtx:0.")]
Trace = Annotated[
    Path | None,
    typer.Option(
        "--trace",
        help="Write when each stage worked to this file, for ui.perfetto.dev or chrome://tracing.",
        show_default=False,
    ),
]
Otel = Annotated[
    bool,
    typer.Option(
        "--otel",
        help="Send when each stage worked to the OpenTelemetry collector of OTEL_EXPORTER_OTLP_ENDPOINT.",
    ),
]
Threads = Annotated[
    int | None,
    typer.Option(min=1, max=1024, help="Batches to perceive in parallel.", show_default="cores"),
]
OutputOrStore = Annotated[
    str | None,
    typer.Option(
        "--output",
        "-o",
        help="Folder for results, with a subfolder for each source, or an address such as "
        "s3://bucket/results. Without it, events go to stdout.",
        show_default=False,
    ),
]
Output = Annotated[
    Path | None,
    typer.Option(
        "--output",
        "-o",
        help="Folder for results, with a subfolder for each source. Without it, events go to stdout.",
        show_default=False,
    ),
]
Formats = Annotated[
    str | None,
    typer.Option(
        "--format",
        "-f",
        help=f"Files to write with --output: any of {','.join((*FORMATS, *RECORDING_FORMATS))}.",
        show_default=",".join(DEFAULT_FORMATS),
    ),
]
AudioTrack = Annotated[
    str | None,
    typer.Option(help="Audio track: 1, 2, ... or a language.", show_default="the best"),
]
Channel = Annotated[
    str | None,
    typer.Option(help="One speaker on each stereo channel, as left=1,right=2.", show_default=False),
]
Transcript = Annotated[
    Path | None,
    typer.Option(help="Words: a .srt or .vtt file.", show_default="beside or inside the recording"),
]
Language = Annotated[
    str | None, typer.Option(help="Language of the words, such as en.", show_default=False)
]
Speakers = Annotated[
    list[str] | None,
    typer.Option(
        "--speaker",
        help="Who speaks: a track, such as 2, or NAME=TRACK for a name in the transcript. Repeatable.",
        show_default=False,
    ),
]
Voices = Annotated[
    str | None,
    typer.Option(
        help="Tell voices apart where nobody is seen to speak: how many there are, or auto.",
        show_default="off",
    ),
]
Metadata = Annotated[
    Path | None,
    typer.Option(
        help="JSON file with age and gender of the speakers, for bundles that use them.",
        show_default=False,
    ),
]
Attention = Annotated[
    AttentionOption,
    typer.Option(
        help="Measure attention by where head and eyes point (and closed eyes), or by the head alone."
    ),
]
Vad = Annotated[
    SpeechGateOption,
    typer.Option(
        help="What decides which sound is speech. Music and noise pass webrtc; none takes all sound for it."
    ),
]
Baseline = Annotated[
    str,
    typer.Option(help="Use the median direction of the first seconds as neutral, such as 10s."),
]
Focal = Annotated[
    float | None,
    typer.Option(help="Focal length of the camera in pixels.", show_default="frame width"),
]
Modalities = Annotated[
    str | None,
    typer.Option(help="Use these only: some of video,voice,text.", show_default="what there is"),
]
Neutral = Annotated[
    str,
    typer.Option(
        help="Scores relative to the face and voice of each person's first seconds, such as 10s."
    ),
]
MinConfidence = Annotated[
    float | None,
    typer.Option(
        min=0.0,
        max=1.0,
        help="Give a label from this confidence on, instead of the bundle's own limits.",
        show_default=False,
    ),
]
Lsl = Annotated[
    str | None,
    typer.Option(
        help="Send results to the Lab Streaming Layer, as streams whose names begin with this one.",
        show_default=False,
    ),
]
MaxPixels = Annotated[
    int | None,
    typer.Option(
        min=1, help="Refuse pictures of more pixels than this.", show_default="40 million"
    ),
]
Purpose = Annotated[
    str | None,
    typer.Option(
        help="What the results are for; recorded in each of them.", show_default="not recorded"
    ),
]
Consent = Annotated[
    str | None,
    typer.Option(
        help="What the people in it agreed to, such as the number of a form; recorded in each result.",
        show_default="not recorded",
    ),
]
Words = Annotated[
    str | None,
    typer.Option(
        help="Recognize words: a faster-whisper model (base.en, or its folder) or module:factory.",
        show_default="off",
    ),
]
WordsDownload = Annotated[
    bool, typer.Option("--words-download", help="Download the model of --words if it is missing.")
]


def source_options(
    *,
    transcript: Path | None,
    language: str | None,
    speakers: list[str] | None,
    metadata: Path | None,
    attention: AttentionOption,
    baseline: str,
    neutral: str,
    focal: float | None,
    vad: SpeechGateOption = "silero",
    modalities: str | None = None,
    min_confidence: float | None = None,
    channel: str | None = None,
    start: str | None = None,
    end: str | None = None,
    audio_track: str | None = None,
    max_pixels: int | None = None,
    words: str | None = None,
    words_download: bool = False,
    purpose: str | None = None,
    consent: str | None = None,
    voices: str | None = None,
) -> SourceOptions:
    """The options of one source, from the values of its flags.

    Raises `typer.BadParameter` or `OptionError` for a value that is not allowed.
    """
    from affectstream.stream.options import (
        MAX_PIXELS,
        Assignment,
        SourceOptions,
        parse_voices,
        valid_name,
    )
    from affectstream.stream.speaker_metadata import read_speakers

    return SourceOptions(
        start_us=_parse_time(start, "--start"),
        end_us=_parse_time(end, "--end"),
        audio_track=int(audio_track) if audio_track and audio_track.isdecimal() else audio_track,
        transcript=transcript,
        words=words,
        words_download=words_download,
        language=language,
        assignment=Assignment.parse(speakers or [], channel),
        attention=attention,
        baseline_us=round(parse_seconds(baseline, "--baseline") * 1e6),
        neutral_us=round(parse_seconds(neutral, "--neutral") * 1e6),
        focal_px=focal,
        vad=vad,
        metadata=None if metadata is None else read_speakers(metadata),
        metadata_file=None if metadata is None else valid_name(metadata),
        max_pixels=MAX_PIXELS if max_pixels is None else max_pixels,
        modalities=None if modalities is None else _parse_modalities(modalities),
        min_confidence=min_confidence,
        purpose=purpose,
        consent=consent,
        voices=None if voices is None else parse_voices(voices),
    )


def parse_formats(
    formats: str | None, output: str | Path | None, *, live: bool = False
) -> tuple[Format, ...]:
    """The formats in the value of ``--format``, each once; `DEFAULT_FORMATS` for None.

    `live` leaves out those that need a whole recording. Raises `typer.BadParameter` for an unknown
    name, or a value without ``--output``.
    """
    if formats is not None and output is None:
        raise typer.BadParameter("needs --output; stdout gets JSON Lines", param_hint="--format")
    if formats is None:
        return tuple(name for name in DEFAULT_FORMATS if name in FORMATS or not live)
    names = tuple(dict.fromkeys(name.strip() for name in formats.split(",") if name.strip()))
    whole = () if live else RECORDING_FORMATS
    known = [*FORMATS, *whole, *plugin_names("affectstream.sinks")]
    if not names or not set(names) <= set(known):
        raise typer.BadParameter(
            f"{formats!r}: expected some of {', '.join(known)}, separated by commas",
            param_hint="--format",
        )
    return names


def parse_seconds(text: str, option: str) -> float:
    """Seconds in ``10s``, ``10`` or ``1.5s``. Raises `typer.BadParameter` for anything else."""
    try:
        seconds = float(text.removesuffix("s"))
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds < math.inf:
        raise typer.BadParameter(f"{text!r}: expected seconds such as 10s", param_hint=option)
    return seconds


def _parse_time(text: str | None, option: str) -> int | None:
    """The time in the value of `option`. Raises `typer.BadParameter`."""
    return None if text is None else parse_time_option(text, option)


def parse_time_option(text: str, option: str) -> int:
    """Microseconds in ``90`` or ``00:01:30``. Raises `typer.BadParameter` for anything else."""
    from affectstream.stream.errors import OptionError
    from affectstream.stream.options import parse_time

    try:
        return parse_time(text)
    except OptionError as error:
        raise typer.BadParameter(str(error), param_hint=option) from error


def _parse_modalities(text: str) -> tuple[Modality, ...]:
    """The modalities in ``video,voice``. Raises `typer.BadParameter` for another name."""
    from affectstream.engines.labels import MODALITIES

    names = {name.strip() for name in text.split(",")}
    if not names <= set(MODALITIES):
        raise typer.BadParameter(
            f"{text!r}: expected some of {', '.join(MODALITIES)}, separated by commas",
            param_hint="--modalities",
        )
    return tuple(modality for modality in MODALITIES if modality in names)


@contextmanager
def tracing(path: Path | None, command: str, *, otel: bool) -> Iterator[None]:
    """Record the stages of this process: to `path` at the end, and with `otel` to a collector as they end.

    `command` names the traces there. Raises `OutputError` if the file cannot be written, and `UsageError`
    without OpenTelemetry, before any work is done.
    """
    from affectstream.engines.telemetry import exporting

    with exporting(f"affectstream {command}", asked=otel), _to_file(path):
        yield


@contextmanager
def _to_file(path: Path | None) -> Iterator[None]:
    if path is None:
        yield
        return
    from affectstream.engines.spans import Timeline, recording
    from affectstream.stream.errors import OutputError

    def write(timeline: Timeline) -> None:
        try:
            timeline.write(path)
        except OSError as error:
            raise OutputError(f"cannot write --trace {path}: {error.strerror}") from error

    timeline = Timeline()
    write(timeline)
    try:
        with recording(timeline):
            yield
    finally:
        write(timeline)
