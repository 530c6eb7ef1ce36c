"""The options of one source, checked where they are made."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from affectstream.stream.errors import OptionError
from affectstream.stream.speaker_metadata import Speakers


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
        """From ``--speaker 2`` or ``--speaker Alice=1`` (repeatable) and ``--channel left=1,right=2``."""
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
        return cls(everything, None if channel is None else _sides(channel), names)


def _sides(text: str) -> tuple[int, int]:
    parts = text.split(",")
    sides = dict(part.partition("=")[::2] for part in parts)
    if (
        len(parts) != 2
        or set(sides) != {"left", "right"}
        or not all(n.isdecimal() for n in sides.values())
    ):
        raise OptionError(
            f"--channel {text!r}: expected left=TRACK,right=TRACK such as left=1,right=2"
        )
    return int(sides["left"]), int(sides["right"])


@dataclass(frozen=True, slots=True)
class SourceOptions:
    """The options of one recording. Times are microseconds of media.

    `transcript` is a .srt or .vtt file; without it a transcript beside the recording is used, or one
    inside it. `language` is the declared language of the words (``en``), None where it is not known.
    `baseline_us`: the median pose of each track in its first `baseline_us` counts as looking straight
    ahead. `focal_px` is the camera's focal length in pixels, the frame's width unless given. `metadata`
    describes the speakers (see `read_speakers`), for bundles that take it.
    """

    start_us: int | None = None
    end_us: int | None = None
    audio_track: int | str | None = None
    transcript: Path | None = None
    language: str | None = None
    assignment: Assignment = field(default_factory=Assignment)
    baseline_us: int = 0
    focal_px: float | None = None
    metadata: Speakers | None = None

    def __post_init__(self) -> None:
        if self.start_us is not None and self.start_us < 0:
            raise OptionError(f"start must not be negative, found {self.start_us / 1e6} s")
        if self.end_us is not None and self.end_us <= (self.start_us or 0):
            raise OptionError(
                f"end ({self.end_us / 1e6} s) must come after start ({(self.start_us or 0) / 1e6} s)"
            )
        if self.baseline_us < 0:
            raise OptionError(f"baseline must not be negative, found {self.baseline_us / 1e6} s")
        if self.focal_px is not None and not 0 < self.focal_px < math.inf:
            raise OptionError(f"focal must be a positive number of pixels, found {self.focal_px}")
