"""What a source yields: frames, samples and cues, each with its time on the source's clock.

Times are integer microseconds from the start of the recording (what a player shows), converted once
from ``pts * time_base`` where the media is read.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import av
import numpy as np
from numpy.typing import NDArray

from affectstream.engines.labels import Modality

SAMPLE_RATE = 16_000
"""Samples a second of all sound inside the pipeline."""

FOREVER_US = 2**62
"""The bound of a stream that has ended or never existed."""


class MediaKind(Enum):
    """The two kinds of stream that are kept in step."""

    VIDEO = "video"
    AUDIO = "audio"

    @property
    def modality(self) -> Modality:
        """The modality that a stream of this kind provides."""
        return "video" if self is MediaKind.VIDEO else "voice"


@dataclass(frozen=True, slots=True)
class Rotation:
    """How to make a stored picture upright: transpose it, then mirror left-right, then top-bottom."""

    transpose: bool = False
    mirror: bool = False
    flip: bool = False

    @property
    def degrees(self) -> int:
        """Counter-clockwise: 0, 90, 180 or 270. A mirrored picture has the angle of its unmirrored twin."""
        if self.transpose:
            return 90 if self.flip else 270
        return 180 if self.flip else 0

    def apply(self, rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The upright picture of `rgb` (H, W, 3): itself, or a contiguous copy."""
        if self == UPRIGHT:
            return rgb
        if self.transpose:
            rgb = rgb.transpose(1, 0, 2)
        if self.mirror:
            rgb = rgb[:, ::-1]
        if self.flip:
            rgb = rgb[::-1]
        return np.ascontiguousarray(rgb)


UPRIGHT = Rotation()
RIGHT_ANGLES = (
    UPRIGHT,
    Rotation(True, False, True),
    Rotation(False, True, True),
    Rotation(True, True, False),
)
"""By quarter turns counter-clockwise."""


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """A decoded picture, not converted yet: most frames are never converted."""

    pts_us: int
    picture: av.VideoFrame
    rotation: Rotation = UPRIGHT


@dataclass(frozen=True, slots=True, eq=False)
class Samples:
    """A run of sound: `data` is (n, channels) float32 in [-1, 1] at `SAMPLE_RATE`.

    `start` is the number of the first sample, counted from t = 0 (`start / SAMPLE_RATE` seconds), so
    that no rounding error builds up over hours. Runs of one source never overlap or go back.
    """

    start: int
    data: NDArray[np.float32]

    @property
    def end(self) -> int:
        """Number of the first sample after this run."""
        return self.start + len(self.data)


@dataclass(frozen=True, slots=True)
class Cue:
    """One utterance of a transcript. It becomes available at `end_us`."""

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


def sample_at(t_us: int) -> int:
    """Number of the first sample at or after `t_us`."""
    return -(-t_us * SAMPLE_RATE // 1_000_000)


def sample_time_us(sample: int) -> int:
    """When sample number `sample` plays, in microseconds rounded down."""
    return sample * 1_000_000 // SAMPLE_RATE
