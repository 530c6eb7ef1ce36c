"""Voice activity detection: which frames of sound, about 30 ms each, are speech.

The decisions depend on the samples and their numbers only, never on how the sound was cut into runs.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from affectstream.engines.labels import SpeechGateOption
from affectstream.stream.media.types import SAMPLE_RATE, Samples
from affectstream.stream.windowing.speech_detectors import DETECTORS

FLOOR_DBFS = -60.0
"""Frames with a lower RMS level are never speech: the detectors report speech for some frames after it
has ended, and webrtcvad now and then for the noise floor of a quiet room."""


@dataclass(frozen=True, slots=True)
class SpeechFrame:
    """Whether the samples [start, end) are speech."""

    start: int
    end: int
    is_speech: bool


class VoiceGate:
    """Decides for each frame, at multiples of its length from t = 0, whether it is speech.

    Uses a detector (see `speech_detectors`) and a minimum level. A frame that is not complete is not speech.
    """

    def __init__(self, option: SpeechGateOption = "silero", floor_dbfs: float = FLOOR_DBFS) -> None:
        self._detector = DETECTORS[option]()
        self.frame_samples = self._detector.frame_samples
        """Samples in a frame; a whole number of microseconds."""
        self._frame_us = self.frame_samples * 1_000_000 // SAMPLE_RATE
        self._floor = 10.0 ** (floor_dbfs / 20.0)
        self._held: NDArray[np.float32] = np.zeros(0, np.float32)
        self._held_start = 0
        self._decided = 0  # end of the newest decided frame, in samples
        self._voiced: list[int] = []  # numbers of the frames that are speech: a hole costs nothing
        self._first_frame = 0

    def push(self, samples: Samples) -> list[SpeechFrame]:
        """The frames that these samples complete; their channels are averaged.

        Raises ValueError for samples before the end of earlier ones.
        """
        mono = samples.data.mean(axis=1) if samples.data.shape[1] != 1 else samples.data[:, 0]
        end = self._held_start + len(self._held)
        if samples.start == end:
            start, data = self._held_start, np.concatenate([self._held, mono])
        elif samples.start > end:
            start, data = samples.start, mono
        else:
            raise ValueError(f"samples go back: found {samples.start}, expected {end} or later")
        skip = min(len(data), -start % self.frame_samples)
        start, data = start + skip, data[skip:]
        whole = len(data) // self.frame_samples * self.frame_samples
        out = self._decide(start, data[:whole].reshape(-1, self.frame_samples))
        self._held_start, self._held = start + whole, data[whole:].copy()
        return out

    def flush(self) -> list[SpeechFrame]:
        """The last frame, padded with silence, where at least half of it has come."""
        held, self._held = self._held, np.zeros(0, np.float32)
        if 2 * len(held) < self.frame_samples or self._held_start % self.frame_samples:
            self._held_start += len(held)
            return []
        start, self._held_start = self._held_start, self._held_start + self.frame_samples
        return self._decide(start, np.pad(held, (0, self.frame_samples - len(held)))[None])

    def voiced_us(self, start_us: int, end_us: int) -> int:
        """How much of [start, end) is speech, in microseconds; only frames wholly inside count.

        It does not depend on how the sound was cut, once all samples before `end_us` have been pushed.
        """
        first = bisect_left(self._voiced, -(-start_us // self._frame_us))
        last = bisect_left(self._voiced, end_us // self._frame_us)
        return max(0, last - first) * self._frame_us

    def forget(self, before_us: int) -> None:
        """Drop the decisions before `before_us`."""
        self._first_frame = max(self._first_frame, before_us // self._frame_us)
        del self._voiced[: bisect_left(self._voiced, self._first_frame)]

    def _decide(self, start: int, frames: NDArray[np.float32]) -> list[SpeechFrame]:
        """Decide `frames` (K, samples), the first of which begins at sample `start`."""
        if not len(frames):
            return []
        energy = np.mean(np.square(frames, dtype=np.float64), axis=1)
        loud = (energy >= self._floor**2).tolist()
        # The detector adapts to the sound, so it gets every frame, the silent ones too.
        speech = self._detector.detect(frames, continues=start == self._decided)
        voiced = [is_speech and enough for is_speech, enough in zip(speech, loud, strict=True)]
        size = self.frame_samples
        self._decided = start + len(frames) * size
        number = start // size
        self._voiced += [n for n, v in enumerate(voiced, number) if v and n >= self._first_frame]
        starts = range(start, self._decided, size)
        return [SpeechFrame(s, s + size, v) for s, v in zip(starts, voiced, strict=True)]
