"""The window that a network sees of a sample: its length, its rates, and where it begins."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from affectstream.engines.labels import Modality
from affectstream.engines.manifest import SpeakerFeature, Tone
from affectstream.stream.media.types import SAMPLE_RATE

MIN_OVERLAP = 0.6
"""Share of a clip (or of the window, if that is shorter) that a random window covers at least."""
STEP_US = 50_000
"""Step of the search for the loudest window."""


@dataclass(frozen=True, slots=True)
class WindowSpec:
    """The window, and what a network gets of it. `recipe.json` keeps it under these names."""

    modalities: tuple[Modality, ...]
    """In the order of `MODALITIES`."""
    window_us: int
    frame_hz: int
    size: int = 224
    one_frame: bool = False
    """The pictures are an unordered set, of which a training batch has one."""
    tokens: int = 64
    tokenizer: str = ""
    """The text of `tokenizer.json`; empty without text."""
    context: int = 0
    """Number of earlier utterances that are put before the current one."""
    metadata: tuple[SpeakerFeature, ...] = ()
    """Features of the speaker and the listener that the head takes."""
    tone: Tone = "natural"
    """Of the pictures (`FaceCrop.tone` of a bundle)."""

    @property
    def frames(self) -> int:
        """Grid points in the window."""
        return self.window_us * self.frame_hz // 1_000_000

    @property
    def samples(self) -> int:
        """Samples of sound in the window."""
        return self.window_us * SAMPLE_RATE // 1_000_000


def frame_start(time_us: int, window: WindowSpec) -> int:
    """Where the window begins, from a frame at `time_us` of its recording, whose last point has that frame.
    The points are those of the recording's grid, as in serving."""
    last = -(-time_us * window.frame_hz // 1_000_000)
    return point_us(last + 1 - window.frames, window.frame_hz) - time_us


def on_grid(start_us: int, frame_hz: int) -> int:
    """The nearest point of the grid from the start of a sample, not further from it than `start_us`: samples
    are prepared on such a grid, so a window has their pictures one to one."""
    point = abs(start_us) * frame_hz // 1_000_000
    return point_us(point if start_us >= 0 else -point, frame_hz)


def point_us(point: int, frame_hz: int) -> int:
    """The time of a grid point, rounded up to microseconds."""
    return -(-point * 1_000_000 // frame_hz)


def random_start(length_us: int, window_us: int, position: float) -> int:
    """Where a window begins; `position` in [0, 1) moves it. It covers `MIN_OVERLAP` of the clip."""
    slack = round((1.0 - MIN_OVERLAP) * min(length_us, window_us))
    low, high = sorted((-slack, length_us + slack - window_us))
    return low + int(position * (high - low + 1))


def evaluation_start(length_us: int, window_us: int, sound: NDArray[np.float32] | None) -> int:
    """Where the window begins in which a clip, with `sound` (n,), is evaluated: the loudest window, without
    sound the middle. A clip that is shorter than the window is at its end, as at the start of a recording."""
    if length_us <= window_us:
        return length_us - window_us
    last = length_us - window_us
    if sound is None or not sound.any():
        return last // 2
    energy = np.concatenate([[0.0], np.cumsum(sound.astype(np.float64) ** 2)])
    starts = np.arange(0, last + 1, STEP_US)
    first = np.minimum(starts * SAMPLE_RATE // 1_000_000, len(sound))
    end = np.minimum((starts + window_us) * SAMPLE_RATE // 1_000_000, len(sound))
    return int(starts[np.argmax(energy[end] - energy[first])])


def loudest_window(sound: NDArray[np.float32], samples: int) -> NDArray[np.float32]:
    """The `samples` samples of a clip (n,) with which it is evaluated, (samples,) float32."""
    length_us, window_us = (-(-count * 1_000_000 // SAMPLE_RATE) for count in (len(sound), samples))
    return cut_sound(sound, evaluation_start(length_us, window_us, sound), samples)


def cut_sound(sound: NDArray[np.float32], start_us: int, samples: int) -> NDArray[np.float32]:
    """`samples` samples of `sound` (n,) from `start_us` on, with zeros outside it: (samples,) float32."""
    first = start_us * SAMPLE_RATE // 1_000_000
    out = np.zeros(samples, np.float32)
    low, high = max(0, first), min(len(sound), first + samples)
    if low < high:
        out[low - first : high - first] = sound[low:high]
    return out
