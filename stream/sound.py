"""Sound addressed by sample number, and which of it is speech."""

from __future__ import annotations

from bisect import bisect_left
from collections import deque

import numpy as np
import webrtcvad
from numpy.typing import NDArray

from affectstream.stream.media import SAMPLE_RATE, Samples


class Timeline:
    """The newest stretch of sound: what came keeps its place, what did not is silence."""

    def __init__(self, channels: int = 1) -> None:
        self._channels = channels
        self._runs: deque[Samples] = deque()

    def push(self, samples: Samples) -> None:
        """Add a run. Raises `ValueError` where it goes back or has other channels."""
        if samples.data.ndim != 2 or samples.data.shape[1] != self._channels:
            raise ValueError(
                f"expected sound of shape (n, {self._channels}), found {samples.data.shape}"
            )
        if self._runs and samples.start < self._runs[-1].end:
            raise ValueError(
                f"sound must go forward: a run at {samples.start} came after {self._runs[-1].end}"
            )
        if len(samples.data):
            self._runs.append(samples)

    def window(self, start: int, end: int) -> NDArray[np.float32]:
        """Samples [start, end): (end - start, channels) float32, zeros where nothing came."""
        out = np.zeros((end - start, self._channels), np.float32)
        for run in self._runs:
            low, high = max(start, run.start), min(end, run.end)
            if low < high:
                out[low - start : high - start] = run.data[low - run.start : high - run.start]
        return out

    def forget(self, before: int) -> None:
        """Let go of the runs that end before a sample."""
        while self._runs and self._runs[0].end <= before:
            self._runs.popleft()


FRAME = 480
"""Samples that are judged together: 30 ms, the longest that webrtcvad takes."""
_MODE = 2
"""How strict webrtcvad is, 0 to 3."""
_FLOOR = 10 ** (-45 / 20)
"""Root mean square under which nothing counts as speech: room noise, a muted line."""
_HANGOVER = 4
"""Frames that a pause must last before speech is over, so that stops between syllables count."""


class VoiceGate:
    """Says which 30 ms frames are speech, on a fixed grid of sample numbers.

    webrtcvad keeps a model of the noise and wants every frame in order; a frame that is not there at
    all is not speech and is not shown to it. How the sound was cut into runs makes no difference.
    """

    def __init__(self) -> None:
        self._vad = webrtcvad.Vad(_MODE)
        self._frame = 0
        self._partial = np.zeros(FRAME, np.float32)
        self._filled = 0
        self._since = _HANGOVER + 1
        self._voiced: deque[int] = deque()

    def push(self, samples: Samples) -> None:
        """Judge the frames that a run of (n, 1) float32 completes; runs must go forward."""
        data, at = samples.data[:, 0], samples.start
        while len(data):
            frame, offset = divmod(at, FRAME)
            if frame != self._frame:
                self._close()
                self._silence(frame - self._frame)
                self._frame = frame
            part = data[: FRAME - offset]
            self._partial[offset : offset + len(part)] = part
            self._filled += len(part)
            data, at = data[len(part) :], at + len(part)
            if offset + len(part) == FRAME:
                self._close()

    def flush(self) -> None:
        """Judge the last, unfinished frame; the rest of it is silence."""
        self._close()

    def voiced_us(self, start_us: int, end_us: int) -> int:
        """How much of [start, end) is speech, in microseconds, by the frames that begin in it."""
        first = -(-start_us * SAMPLE_RATE // (FRAME * 1_000_000))
        last = -(-end_us * SAMPLE_RATE // (FRAME * 1_000_000))
        count = bisect_left(self._voiced, last) - bisect_left(self._voiced, first)
        return count * FRAME * 1_000_000 // SAMPLE_RATE

    def forget(self, before_us: int) -> None:
        """Let go of the verdicts before a time."""
        first = before_us * SAMPLE_RATE // (FRAME * 1_000_000)
        while self._voiced and self._voiced[0] < first:
            self._voiced.popleft()

    def _close(self) -> None:
        """Judge the frame at hand, if anything of it came, and go on to the next."""
        if not self._filled:
            return
        if self._is_speech():
            if 1 < self._since <= _HANGOVER:
                self._voiced.extend(range(self._frame - self._since + 1, self._frame))
            self._voiced.append(self._frame)
            self._since = 1
        else:
            self._since += 1
        self._partial[:] = 0
        self._filled = 0
        self._frame += 1

    def _silence(self, frames: int) -> None:
        if frames > 0:
            self._since += frames

    def _is_speech(self) -> bool:
        level = float(np.sqrt(np.mean(np.square(self._partial, dtype=np.float64))))
        pcm = (np.clip(self._partial, -1, 1) * 32_767).astype("<i2").tobytes()
        # Asked even when it is too quiet: the noise model has to see every frame.
        return bool(self._vad.is_speech(pcm, SAMPLE_RATE)) and level >= _FLOOR
