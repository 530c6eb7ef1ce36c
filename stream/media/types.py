"""What a source yields: frames, samples and cues, each with its time on the source's clock.

Times are integer microseconds from the start of the recording (what a player shows), converted once
from ``pts * time_base`` at the edge.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import av
import numpy as np
from numpy.typing import NDArray

from affectstream.stream.media.rotation import UPRIGHT, Rotation

SAMPLE_RATE = 16_000
"""Samples a second of all sound inside the pipeline."""

FOREVER_US = 2**62
"""The bound of a kind of stream that has ended or was never there."""


class MediaKind(Enum):
    """The kinds of stream that are kept in step."""

    VIDEO = "video"
    AUDIO = "audio"


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """A decoded picture, not yet converted: most frames never are."""

    pts_us: int
    picture: av.VideoFrame
    rotation: Rotation = UPRIGHT


@dataclass(frozen=True, slots=True, eq=False)
class Samples:
    """A run of sound: `data` is (n, channels) float32 in [-1, 1] at `SAMPLE_RATE`.

    `start` is the number of the first sample, counted from t = 0 (`start / SAMPLE_RATE` seconds), so
    that no rounding builds up over hours. Runs of one source never overlap and never go back.
    """

    start: int
    data: NDArray[np.float32]

    @property
    def end(self) -> int:
        """Number of the first sample after this run."""
        return self.start + len(self.data)


@dataclass(frozen=True, slots=True)
class Cue:
    """One utterance of a transcript; available once `end_us` has come."""

    start_us: int
    end_us: int
    text: str
    speaker: str | None = None


@dataclass(frozen=True, slots=True)
class Bound:
    """A promise: nothing of this kind earlier than `t_us` will come."""

    kind: MediaKind
    t_us: int


Item = Frame | Samples | Bound
