"""Voice activity detection: which 30 ms frames of sound are speech.

The decisions depend on the samples and their numbers only, never on how the sound was cut into runs.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass

import numpy as np
import webrtcvad  # type: ignore[import-untyped]
from numpy.typing import NDArray

from affectstream.stream.media.types import SAMPLE_RATE, Samples

VAD_FRAME_SAMPLES = 480
"""30 ms, the longest frame that webrtcvad takes: longer frames give steadier decisions."""
_FRAME_US = VAD_FRAME_SAMPLES * 1_000_000 // SAMPLE_RATE

VAD_MODE = 2
"""One of webrtcvad's modes 0 to 3; 3 is the strictest. On two real speech clips mode 2 finds 94 % of
the speech frames and mode 3 only 86 %. Mode 1 takes white noise at -30 dBFS for speech, mode 2 does
not."""

FLOOR_DBFS = -60.0
"""Frames with a lower RMS level are never speech: webrtcvad reports speech for some frames after it
has ended, and now and then for the noise floor of a quiet room."""


@dataclass(frozen=True, slots=True)
class SpeechFrame:
    """Whether the samples [start, end), 30 ms, are speech."""

    start: int
    end: int
    is_speech: bool


class VoiceGate:
    """Decides for each 30 ms frame, at multiples of 30 ms from t = 0, whether it is speech.

    Uses webrtcvad (WebRTC's detector: Gaussian mixtures over six bands) and a minimum level. A frame
    that is not complete is not speech. webrtcvad may take loud steady noise and music for speech.
    """

    def __init__(self, mode: int = VAD_MODE, floor_dbfs: float = FLOOR_DBFS) -> None:
        self._vad = webrtcvad.Vad(mode)
        self._floor = 10.0 ** (floor_dbfs / 20.0)
        self._held: NDArray[np.float32] = np.zeros(0, np.float32)
        self._held_start = 0
        self._voiced: list[
            int
        ] = []  # numbers of the frames that are speech, so that a hole costs nothing
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
        skip = min(len(data), -start % VAD_FRAME_SAMPLES)
        start, data = start + skip, data[skip:]
        whole = len(data) // VAD_FRAME_SAMPLES * VAD_FRAME_SAMPLES
        out = self._decide(start, data[:whole].reshape(-1, VAD_FRAME_SAMPLES))
        self._held_start, self._held = start + whole, data[whole:].copy()
        return out

    def flush(self) -> list[SpeechFrame]:
        """The last frame, padded with silence, where at least half of it has come."""
        held, self._held = self._held, np.zeros(0, np.float32)
        if 2 * len(held) < VAD_FRAME_SAMPLES or self._held_start % VAD_FRAME_SAMPLES:
            self._held_start += len(held)
            return []
        start, self._held_start = self._held_start, self._held_start + VAD_FRAME_SAMPLES
        return self._decide(start, np.pad(held, (0, VAD_FRAME_SAMPLES - len(held)))[None])

    def voiced_us(self, start_us: int, end_us: int) -> int:
        """How much of [start, end) is speech, in microseconds; only frames wholly inside count.

        It does not depend on how the sound was cut, once all samples before `end_us` have been pushed.
        """
        first = bisect_left(self._voiced, -(-start_us // _FRAME_US))
        last = bisect_left(self._voiced, end_us // _FRAME_US)
        return max(0, last - first) * _FRAME_US

    def forget(self, before_us: int) -> None:
        """Drop the decisions before `before_us`."""
        self._first_frame = max(self._first_frame, before_us // _FRAME_US)
        del self._voiced[: bisect_left(self._voiced, self._first_frame)]

    def _decide(self, start: int, frames: NDArray[np.float32]) -> list[SpeechFrame]:
        """Decide `frames` (K, 480), the first of which begins at sample `start`."""
        energy = np.mean(np.square(frames, dtype=np.float64), axis=1)
        loud = (energy >= self._floor**2).tolist()
        pcm = (np.clip(frames, -1.0, 1.0) * 32767.0).astype(np.int16)
        # The detector adapts to the noise, so it gets every frame, the silent ones too.
        voiced = [
            self._vad.is_speech(frame.tobytes(), SAMPLE_RATE) and enough
            for frame, enough in zip(pcm, loud, strict=True)
        ]
        number = start // VAD_FRAME_SAMPLES
        self._voiced += [n for n, v in enumerate(voiced, number) if v and n >= self._first_frame]
        starts = range(start, start + len(voiced) * VAD_FRAME_SAMPLES, VAD_FRAME_SAMPLES)
        return [
            SpeechFrame(s, s + VAD_FRAME_SAMPLES, v) for s, v in zip(starts, voiced, strict=True)
        ]
