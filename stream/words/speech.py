"""Cuts utterances out of a stream of sound, for a speech recognizer.

A pure state machine: the result depends on the samples and their numbers alone.
"""

from __future__ import annotations

import numpy as np

from affectstream.engines.labels import SpeechGateOption
from affectstream.stream.media.types import SAMPLE_RATE, Samples, sample_time_us
from affectstream.stream.windowing.sound_timeline import SoundTimeline
from affectstream.stream.windowing.voice_activity import SpeechFrame, VoiceGate

MAX_S = 10.0
"""A longer utterance is cut: words that come later than a few seconds do not count."""
PAUSE_S = 0.4
"""Silence that ends an utterance: longer than the gaps within words, shorter than those between sentences."""
MARGIN_S = 0.2
"""Sound added before and after: the voice gate detects the first consonants late."""
MIN_S = 0.25
"""Less speech than this is a cough or a click."""

_BEGIN_FRAMES = 3
"""Voiced frames in a row that begin an utterance."""


def _samples(seconds: float) -> int:
    return round(seconds * SAMPLE_RATE)


class SpeechCutter:
    """Push sound of one channel, get utterances as `Samples` (n, 1), each once it is over."""

    def __init__(self, max_s: float = MAX_S, vad: SpeechGateOption = "silero") -> None:
        """`max_s` is the longest utterance, `vad` decides what is speech.

        Raises ValueError for less than two seconds.
        """
        if max_s < 2.0:
            raise ValueError(f"the longest utterance must be 2 s or more, found {max_s}")
        self._max = _samples(max_s)
        self._gate = VoiceGate(vad)
        self._sound = SoundTimeline()
        self._end = 0
        self._done = 0  # everything before this was returned
        self._row = 0  # voiced frames in a row
        self._start: int | None = None
        self._voice_end = self._voiced = 0  # end of the last voiced frame; number of voiced samples

    def push(self, samples: Samples) -> list[Samples]:
        """Take a run of sound, after all earlier ones. A gap is silence."""
        out: list[Samples] = []
        if samples.start - self._end >= _samples(PAUSE_S):
            out = self._close(self._end)
            self._sound, self._done = SoundTimeline(), samples.start
        self._end = samples.end
        # In pieces of a second: the timeline holds minutes, not more.
        for start in range(0, len(samples.data), SAMPLE_RATE):
            piece = Samples(samples.start + start, samples.data[start : start + SAMPLE_RATE])
            self._sound.push(piece)
            for frame in self._gate.push(piece):
                out += self._step(frame)
            self._gate.forget(sample_time_us(piece.end))
            self._sound.forget(max(self._first_needed(piece.end), 0))
        return out

    def _step(self, frame: SpeechFrame) -> list[Samples]:
        self._row = self._row + 1 if frame.is_speech else 0
        if self._start is None and self._row >= _BEGIN_FRAMES:
            first = frame.end - self._row * self._gate.frame_samples
            self._start = max(self._done, first - _samples(MARGIN_S))
            self._voiced = (self._row - 1) * self._gate.frame_samples
        if self._start is None:
            return []
        if frame.is_speech:
            self._voice_end, self._voiced = frame.end, self._voiced + self._gate.frame_samples
        paused = frame.end - self._voice_end >= _samples(PAUSE_S)
        if paused or frame.end - self._start >= self._max:
            return self._close(frame.end)
        return []

    def _close(self, until: int) -> list[Samples]:
        start, self._start, self._row = self._start, None, 0
        if start is None:
            return []
        end = min(until, self._voice_end + _samples(MARGIN_S))
        self._done = end
        if self._voiced < _samples(MIN_S):
            return []
        return [Samples(start, np.ascontiguousarray(self._sound.window(start, end)))]

    def _first_needed(self, end: int) -> int:
        """The first sample that an utterance may still need."""
        if self._start is not None:
            return self._start
        row = (self._row + 1) * self._gate.frame_samples
        return max(self._done, end - row - self._gate.frame_samples - _samples(MARGIN_S))
