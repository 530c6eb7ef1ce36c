"""Stretches of speech, cut out of a stream of sound for a recogniser of words.

A pure state machine: what comes out depends on the samples and their numbers alone.
"""

from __future__ import annotations

import numpy as np

from affectstream.stream.media.types import SAMPLE_RATE, Samples, sample_time_us
from affectstream.stream.windowing.sound_timeline import SoundTimeline
from affectstream.stream.windowing.voice_activity import VAD_FRAME_SAMPLES, SpeechFrame, VoiceGate

MOST_S = 10.0
"""Longer speech is cut: words that come later than a few seconds count for nothing."""
PAUSE_S = 0.4
"""Silence that ends a stretch: longer than the gaps within words, shorter than those between sentences."""
AROUND_S = 0.2
"""Kept before and after: the gate hears the first consonants late."""
LEAST_S = 0.25
"""Less speech than this is a cough or a click."""

_BEGIN_FRAMES = 3
"""Voiced frames in a row that begin a stretch."""


def _samples(seconds: float) -> int:
    return round(seconds * SAMPLE_RATE)


class SpeechCutter:
    """Push sound of one channel, get stretches of speech as `Samples` (n, 1), each once it is over."""

    def __init__(self, most_s: float = MOST_S) -> None:
        """`most_s` is how long a stretch may be. Raises ValueError for less than two seconds."""
        if most_s < 2.0:
            raise ValueError(f"a stretch of speech may be 2 s or longer, found {most_s}")
        self._most = _samples(most_s)
        self._gate = VoiceGate()
        self._sound = SoundTimeline()
        self._end = 0
        self._done = 0  # up to here everything was given out
        self._row = 0  # voiced frames in a row
        self._start: int | None = None
        self._spoken = self._voiced = 0  # end of the last voiced frame; how much was voiced

    def push(self, samples: Samples) -> list[Samples]:
        """Take a run of sound, after all earlier ones. A hole is silence."""
        out: list[Samples] = []
        if samples.start - self._end >= _samples(PAUSE_S):
            out = self._close(self._end)
            self._sound, self._done = SoundTimeline(), samples.start
        self._end = samples.end
        for start in range(
            0, len(samples.data), SAMPLE_RATE
        ):  # the timeline holds minutes, not more
            piece = Samples(samples.start + start, samples.data[start : start + SAMPLE_RATE])
            self._sound.push(piece)
            for frame in self._gate.push(piece):
                out += self._step(frame)
            self._gate.forget(sample_time_us(piece.end))
            self._sound.forget(max(self._kept(piece.end), 0))
        return out

    def _step(self, frame: SpeechFrame) -> list[Samples]:
        out: list[Samples] = []
        self._row = self._row + 1 if frame.is_speech else 0
        if self._start is None and self._row >= _BEGIN_FRAMES:
            first = frame.end - self._row * VAD_FRAME_SAMPLES
            self._start = max(self._done, first - _samples(AROUND_S))
            self._voiced = (self._row - 1) * VAD_FRAME_SAMPLES
        if self._start is None:
            return out
        if frame.is_speech:
            self._spoken, self._voiced = frame.end, self._voiced + VAD_FRAME_SAMPLES
        if frame.end - self._spoken >= _samples(PAUSE_S) or frame.end - self._start >= self._most:
            out = self._close(frame.end)
        return out

    def _close(self, until: int) -> list[Samples]:
        start, self._start, self._row = self._start, None, 0
        if start is None:
            return []
        end = min(until, self._spoken + _samples(AROUND_S))
        self._done = end
        if self._voiced < _samples(LEAST_S):
            return []
        return [Samples(start, np.ascontiguousarray(self._sound.window(start, end)))]

    def _kept(self, end: int) -> int:
        """The first sample that may still be asked for."""
        if self._start is not None:
            return self._start
        row = (self._row + 1) * VAD_FRAME_SAMPLES
        return max(self._done, end - row - VAD_FRAME_SAMPLES - _samples(AROUND_S))
