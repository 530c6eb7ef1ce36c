"""The options of one source, checked when they are created."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from affectstream.engines.labels import (
    MODALITIES,
    AttentionOption,
    Modality,
    SpeechGateOption,
)
from affectstream.stream.errors import OptionError
from affectstream.stream.speaker_metadata import Speakers

_TIME = re.compile(r"(?:(?:(\d{1,4}):)?(\d{1,4}):)?(-?\d{1,9}(?:\.\d*)?)s?", re.ASCII)
"""Hours, minutes and seconds."""

MAX_PIXELS = 40_000_000
"""The most pixels in one picture, unless another limit is given; 8K has 33 million."""


def parse_time(text: str) -> int:
    """Microseconds in ``90``, ``90s``, ``1:30`` or ``00:01:30.5``. Raises `OptionError` for anything else."""
    found = _TIME.fullmatch(text)
    if found is None:
        raise OptionError(f"{text!r}: expected seconds such as 90, or a time such as 00:01:30")
    hours, minutes, seconds = found.groups()
    if (minutes and float(seconds) >= 60) or (hours and int(minutes) >= 60):
        raise OptionError(f"{text!r}: expected less than 60 minutes and seconds behind a colon")
    return round((int(hours or 0) * 3600 + int(minutes or 0) * 60 + float(seconds)) * 1e6)


MAX_VOICES = 20
"""The most voices in a recording that can be told apart."""
MAX_TEXT = 500
"""Characters of a purpose or a consent."""


def parse_voices(text: str) -> int | Literal["auto"]:
    """A number of voices or ``auto``. Raises `OptionError` for anything else."""
    if text == "auto":
        return "auto"
    if not text.isdecimal():
        raise OptionError(f"voices: expected a number such as 2, or auto, found {text!r}")
    return int(text)


@dataclass(frozen=True, slots=True)
class Assignment:
    """Which tracks voice and words belong to, where the user knows.

    `everything` is the track of all voice and words. `channels` are the tracks of the left and the
    right side of stereo sound; each then has readings of its own, in view or not. `names` maps speaker
    names of the transcript to tracks.
    """

    everything: int | None = None
    channels: tuple[int, int] | None = None
    names: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        tracks = [self.everything, *(self.channels or ()), *self.names.values()]
        for track in tracks:
            if track is not None and track < 1:
                raise OptionError(f"track {track} does not exist: tracks are numbered from 1")
        if self.everything is not None and (self.channels or self.names):
            raise OptionError(
                "one track for everything excludes channels and named speakers: give one of them"
            )

        if self.channels is not None and self.channels[0] == self.channels[1]:
            track = self.channels[0]
            raise OptionError(
                f"both sides of the sound are of track {track}: expected a different track for each; "
                f"for a single speaker give --speaker {track} instead"
            )

    @classmethod
    def parse(cls, speakers: list[str], channel: str | None) -> Assignment:
        """From the values of ``--speaker`` (``2`` or ``Alice=1``) and ``--channel`` (``left=1,right=2``)."""
        everything: int | None = None
        names: dict[str, int] = {}
        for text in speakers:
            name, equals, number = text.rpartition("=")
            if not number.isdecimal() or (equals and not name):
                raise OptionError(
                    f"--speaker {text!r}: expected a track (2) or NAME=TRACK (Alice=1)"
                )
            if (name in names) if equals else (everything is not None):
                raise OptionError(f"--speaker {text!r}: it already has a track")
            if equals:
                names[name] = int(number)
            else:
                everything = int(number)
        return cls(everything, None if channel is None else _parse_channels(channel), names)


def _parse_channels(text: str) -> tuple[int, int]:
    parts = text.split(",")
    tracks = dict(part.partition("=")[::2] for part in parts)
    if (
        len(parts) != 2
        or set(tracks) != {"left", "right"}
        or not all(n.isdecimal() for n in tracks.values())
    ):
        raise OptionError(
            f"--channel {text!r}: expected left=TRACK,right=TRACK such as left=1,right=2"
        )
    return int(tracks["left"]), int(tracks["right"])


@dataclass(frozen=True, slots=True)
class SourceOptions:
    """Options of one source. Times are microseconds of media. Raises `OptionError` for impossible values."""

    start_us: int | None = None
    end_us: int | None = None
    audio_track: int | str | None = None
    """Number from 1 on, or a language such as ``en``; None: the best track."""
    transcript: Path | None = None
    """A .srt or .vtt file; None: one beside the recording, or else one inside it."""
    words: str | None = None
    """A speech recognizer for recordings without a transcript: a faster-whisper model, its folder, or
    ``module:factory``."""
    words_download: bool = False
    """Let faster-whisper download the model of `words` if it is not on this machine."""
    language: str | None = None
    """Language of the words, such as ``en``; None: that of the transcript, if it names one."""
    assignment: Assignment = field(default_factory=Assignment)
    attention: AttentionOption = "gaze"
    """``gaze``: where head and eyes point, and whether the eyes are open; ``head_pose``: where the head
    points. A bundle without `face_geometry` measures the head pose, one with an attention head uses that."""
    baseline_us: int = 0
    """The median direction of each track over this time is its neutral one; 0: facing the camera."""
    focal_px: float | None = None
    """Focal length of the camera in pixels; None: the frame width."""
    vad: SpeechGateOption = "silero"
    """What decides which sound is speech: ``silero``; ``webrtc``, which music and noise pass; or ``none``,
    which takes all sound above -60 dBFS for speech."""
    voices: int | Literal["auto"] | None = None
    """Tell the voices of a recording apart where no face speaks: this many of them, or ``auto``."""
    metadata: Speakers | None = None
    """Age and gender of speakers, for bundles that use them; see `read_speakers`."""
    metadata_file: str | None = None
    """The name of the file that `metadata` was read from; None if it was made in Python."""
    modalities: tuple[Modality, ...] | None = None
    """Use these only, if the source and the bundle have them; None: all."""
    neutral_us: int = 0
    """How long the face and voice of a person count as neutral at first: scores are relative to them. 0: the
    bundle's own scale."""
    min_confidence: float | None = None
    """No label and no emotion segment below this confidence, 0 to 1; None: the bundle's own limits."""

    purpose: str | None = None
    """What the results are for, in the words of the user; recorded in every result."""
    consent: str | None = None
    """What the people in the recording agreed to, such as the number of a form; recorded in every result."""

    max_pixels: int = MAX_PIXELS
    """Larger pictures of a recording are not decoded; see `pixel_limit`."""

    def __post_init__(self) -> None:
        if self.max_pixels < 1:
            raise OptionError(f"max-pixels must be positive, found {self.max_pixels}")
        if self.start_us is not None and self.start_us < 0:
            raise OptionError(f"start must not be negative, found {self.start_us / 1e6} s")
        if self.end_us is not None and self.end_us <= (self.start_us or 0):
            raise OptionError(
                f"end ({self.end_us / 1e6} s) must come after start ({(self.start_us or 0) / 1e6} s)"
            )
        if self.attention not in get_args(AttentionOption):
            known = ", ".join(get_args(AttentionOption))
            raise OptionError(f"attention: expected one of {known}, found {self.attention!r}")
        if self.vad not in get_args(SpeechGateOption):
            known = ", ".join(get_args(SpeechGateOption))
            raise OptionError(f"vad: expected one of {known}, found {self.vad!r}")
        if isinstance(self.voices, int) and not 1 <= self.voices <= MAX_VOICES:
            raise OptionError(f"voices: expected 1 to {MAX_VOICES} or auto, found {self.voices}")
        if self.voices is not None and self.assignment != Assignment():
            raise OptionError(
                "voices are told apart where nobody says whose they are: leave out --voices, or --speaker "
                "and --channel"
            )
        if self.baseline_us < 0:
            raise OptionError(f"baseline must not be negative, found {self.baseline_us / 1e6} s")
        if self.neutral_us < 0:
            raise OptionError(f"neutral must not be negative, found {self.neutral_us / 1e6} s")
        if self.focal_px is not None and not 0 < self.focal_px < math.inf:
            raise OptionError(f"focal must be a positive number of pixels, found {self.focal_px}")
        if self.modalities is not None and not set(self.modalities) & set(MODALITIES):
            raise OptionError(f"modalities: expected some of {', '.join(MODALITIES)}, found none")
        for name, text in (("purpose", self.purpose), ("consent", self.consent)):
            if text is not None and not (0 < len(text) <= MAX_TEXT and text.isprintable()):
                raise OptionError(
                    f"{name}: expected one line of 1 to {MAX_TEXT} characters, found {text[:40]!r}"
                )
        if self.min_confidence is not None and not 0 <= self.min_confidence <= 1:
            raise OptionError(f"min_confidence must be 0 to 1, found {self.min_confidence}")

    def allows(self, modality: Modality) -> bool:
        """Whether `modality` may be used."""
        return self.modalities is None or modality in self.modalities

    def described(self) -> dict[str, Any]:
        """The options that differ from their default, for the metadata of results.

        Neither folders nor what is known about the speakers is in it: of `metadata` it has the name of the
        file, or True without one.
        """
        found: dict[str, Any] = {
            "start_s": None if self.start_us is None else self.start_us / 1e6,
            "end_s": None if self.end_us is None else self.end_us / 1e6,
            "audio_track": self.audio_track,
            "transcript": None if self.transcript is None else valid_name(self.transcript),
            "words": None if self.words is None else valid_name(Path(self.words)),
            "language": self.language,
            "speaker": self.assignment.everything,
            "channels": self.assignment.channels,
            "names": dict(self.assignment.names) or None,
            "attention": None if self.attention == "gaze" else self.attention,
            "voices": self.voices,
            "metadata": None if self.metadata is None else self.metadata_file or True,
            "vad": None if self.vad == "silero" else self.vad,
            "baseline_s": self.baseline_us / 1e6 or None,
            "neutral_s": self.neutral_us / 1e6 or None,
            "focal_px": self.focal_px,
            "modalities": self.modalities,
            "min_confidence": self.min_confidence,
            "max_pixels": None if self.max_pixels == MAX_PIXELS else self.max_pixels,
            "purpose": self.purpose,
            "consent": self.consent,
        }
        return {name: value for name, value in found.items() if value is not None}


def valid_text(path: Path | str) -> str:
    """A path as UTF-8 can hold it."""
    return os.fsencode(path).decode("utf-8", "replace")


def valid_name(path: Path) -> str:
    """The name of a file as UTF-8 can hold it."""
    return valid_text(path.name)
