"""Sound addressed by time: a bounded timeline of samples, and the gate that tells speech.

Both are plain state machines: what they answer depends on the samples and their numbers alone,
never on how the sound was cut into runs.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np
import webrtcvad  # type: ignore[import-untyped]
from numpy.typing import NDArray

from affectstream.stream.media.types import SAMPLE_RATE, Samples

VAD_FRAME_SAMPLES = 480
"""30 ms, the longest frame that webrtcvad takes: the steadiest decisions."""
_FRAME_US = VAD_FRAME_SAMPLES * 1_000_000 // SAMPLE_RATE

VAD_MODE = 2
"""Of webrtcvad's four (3 lets the least through). On two real speech clips 2 finds 94 % of the
frames and 3 only 86 %; 1 takes white noise at -30 dBFS for speech throughout, 2 does not."""

FLOOR_DBFS = -60.0
"""Quieter frames (RMS) are no speech, whatever webrtcvad says: it holds on for some frames after
speech has ended, and now and then takes the noise floor of a quiet room for speech."""


class Timeline:
    """The newest stretch of sound, addressed by sample number from t = 0.

    Holds at most `capacity` samples from the first that is kept to the newest, holes included:
    enough for one window and for as far as sound may run ahead of the pictures. The owner makes room
    with `forget`.
    """

    def __init__(self, channels: int = 1, capacity: int = 300 * SAMPLE_RATE) -> None:
        if channels < 1 or capacity < 1:
            raise ValueError(f"channels and capacity must be positive: {channels}, {capacity}")
        self._channels = channels
        self._capacity = capacity
        self._runs: deque[Samples] = deque()
        self._forgotten: int | None = None
        self.end = 0
        """Number of the first sample after the newest run."""

    def push(self, samples: Samples) -> None:
        """Add a run after all earlier ones.

        Raises ValueError for one that goes back or has another number of channels, and BufferError
        when there is no room.
        """
        if samples.data.ndim != 2 or samples.data.shape[1] != self._channels:
            raise ValueError(f"expected (n, {self._channels}) samples, found {samples.data.shape}")
        if self._runs and samples.start < self.end:
            raise ValueError(
                f"samples go back: found {samples.start}, expected {self.end} or later"
            )
        first = self._runs[0].start if self._runs else samples.start
        if samples.end - max(first, self._forgotten or first) > self._capacity:
            raise BufferError(
                f"no room for samples up to {samples.end}: {self._capacity} are held from {first} "
                "on; forget those that are no longer needed"
            )
        if len(samples.data):
            self._runs.append(samples)
            self.end = samples.end

    def window(self, start: int, end: int) -> NDArray[np.float32]:
        """Samples [start, end): (end - start, channels) float32, zeros where nothing came.

        Raises ValueError when a part of them has been forgotten.
        """
        if self._forgotten is not None and start < self._forgotten:
            raise ValueError(f"samples before {self._forgotten} are gone, asked for {start}")
        data = np.zeros((end - start, self._channels), np.float32)
        for run in self._runs:
            if run.start >= end:
                break
            first, last = max(run.start, start), min(run.end, end)
            if first < last:
                data[first - start : last - start] = run.data[first - run.start : last - run.start]
        return data

    def forget(self, before: int) -> None:
        """Give up the samples before number `before`."""
        self._forgotten = max(before, self._forgotten if self._forgotten is not None else before)
        while self._runs and self._runs[0].end <= self._forgotten:
            self._runs.popleft()


@dataclass(frozen=True, slots=True)
class SpeechFrame:
    """What the gate said of the samples [start, end)."""

    start: int
    end: int
    is_speech: bool


class VoiceGate:
    """Tells speech from what is none, by 30 ms frames at multiples of 30 ms from t = 0.

    webrtcvad (the detector of WebRTC, Gaussian mixtures over six bands) with a floor on the energy.
    A frame with a hole in it is no speech. Loud steady noise and music may pass for speech: webrtcvad
    knows no better.
    """

    def __init__(self, mode: int = VAD_MODE, floor_dbfs: float = FLOOR_DBFS) -> None:
        self._vad = webrtcvad.Vad(mode)
        self._floor = 10.0 ** (floor_dbfs / 20.0)
        self._held: NDArray[np.float32] = np.zeros(0, np.float32)
        self._held_start = 0
        self._decided = bytearray()
        self._first_frame = 0

    def push(self, samples: Samples) -> list[SpeechFrame]:
        """The frames that these samples complete. Several channels are averaged."""
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
        """Decide the last frame, filled up with silence, where at least half of it has come."""
        held, self._held = self._held, np.zeros(0, np.float32)
        if 2 * len(held) < VAD_FRAME_SAMPLES or self._held_start % VAD_FRAME_SAMPLES:
            self._held_start += len(held)
            return []
        start, self._held_start = self._held_start, self._held_start + VAD_FRAME_SAMPLES
        return self._decide(start, np.pad(held, (0, VAD_FRAME_SAMPLES - len(held)))[None])

    def voiced_us(self, start_us: int, end_us: int) -> int:
        """How much of [start, end) is speech, counting frames that lie in it as a whole.

        It is the same for any cut of the sound once all samples before `end_us` have been pushed.
        """
        first = max(-(-start_us // _FRAME_US) - self._first_frame, 0)
        last = max(end_us // _FRAME_US - self._first_frame, 0)
        return sum(self._decided[first:last]) * _FRAME_US

    def forget(self, before_us: int) -> None:
        """Give up the decisions before `before_us` (one byte for each 30 ms)."""
        gone = min(before_us // _FRAME_US - self._first_frame, len(self._decided))
        if gone > 0:
            del self._decided[:gone]
            self._first_frame += gone

    def _decide(self, start: int, frames: NDArray[np.float32]) -> list[SpeechFrame]:
        """Decide `frames` (K, 480), the first of which begins at sample `start`."""
        energy = np.mean(np.square(frames, dtype=np.float64), axis=1)
        loud = (energy >= self._floor**2).tolist()
        pcm = (np.clip(frames, -1.0, 1.0) * 32767.0).astype(np.int16)
        # The gate adapts, so it hears every frame, the silent ones too.
        voiced = [
            self._vad.is_speech(frame.tobytes(), SAMPLE_RATE) and enough
            for frame, enough in zip(pcm, loud, strict=True)
        ]
        number = start // VAD_FRAME_SAMPLES - self._first_frame
        gone = max(0, -number)  # decided too late for anyone to ask
        if gone < len(voiced):
            self._decided.extend(bytes(max(0, number - len(self._decided))))
            self._decided.extend(voiced[gone:])
        starts = range(start, start + len(voiced) * VAD_FRAME_SAMPLES, VAD_FRAME_SAMPLES)
        return [
            SpeechFrame(s, s + VAD_FRAME_SAMPLES, v) for s, v in zip(starts, voiced, strict=True)
        ]
