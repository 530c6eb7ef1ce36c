"""Live words: sound on its way through a recogniser, on a thread of its own.

    push (any thread) ──► box ──► resample, cut into stretches of speech ──► recogniser ──► cues

Nobody waits for it. Where the recogniser does not keep up the newest stretches win; the others are
counted and told of.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Collection

import av
import numpy as np
from numpy.typing import NDArray

from affectstream.engines.bundle.bundle import Bundle
from affectstream.stream.errors import OptionError
from affectstream.stream.live.queue.buffers import AudioBuffer, AudioItem
from affectstream.stream.live.words.asr import SpeechRecognizer, Transcription
from affectstream.stream.live.words.speech import SpeechCutter
from affectstream.stream.media.resample import SoundResampler
from affectstream.stream.media.types import Cue, Samples, sample_time_us
from affectstream.stream.transcript.context import CURRENT_FOR_US

MOST_SOUND_US = 30_000_000
"""Sound that may wait while the recogniser works."""
MOST_WAITING = 2
"""Stretches that may wait for it: more would be older than the 5 s for which words count."""
MOST_FAILURES = 3
"""A recogniser that fails so often in a row is not asked again."""

_GATHER = 10
_log = logging.getLogger(__name__)


class Dictation:
    """The words of one session. `push` may be called from any thread, and never waits."""

    def __init__(
        self,
        recogniser: SpeechRecognizer,
        name: str,
        *,
        languages: Collection[str] = (),
        count: Callable[[Cue], None],
        show: Callable[[Cue], None] | None = None,
        warn: Callable[[str], None],
    ) -> None:
        """Start the thread, on which everything is called.

        `count` gets the words that the bundle can read, `show` all of them: words in none of the
        `languages` are only shown (an empty list accepts every language). `warn` gets a text for each
        problem.
        """
        self._recogniser, self._languages = recogniser, frozenset(languages)
        self._count, self._show, self._warn = count, show, warn
        self._box = AudioBuffer(MOST_SOUND_US)
        self._resampler = SoundResampler(gather=_GATHER)
        self._cutter = SpeechCutter()
        self._waiting: deque[Samples] = deque()
        self._more = threading.Condition()
        self._closed = False
        self._zero_s = 0.0
        self._failures = 0
        self._warned: set[str] = set()
        self.heard = 0
        """Stretches of speech that were transcribed."""
        self.dropped = 0
        """Stretches that were passed over for newer ones."""
        self._thread = threading.Thread(target=self._work, name=f"words {name}", daemon=True)
        self._thread.start()

    def push(self, sound: av.AudioFrame, t_us: int, arrived_s: float) -> None:
        """A frame of sound that begins at `t_us` on the session's clock."""
        with self._more:
            if self._closed:
                return
            self._zero_s = arrived_s - t_us / 1e6
            self._box.push(AudioItem(sound, t_us, arrived_s))
            self._more.notify()

    def close(self, timeout_s: float) -> bool:
        """Hear no more. Whether the thread ended in time: one that is stuck in the recogniser is left
        behind, and nothing comes of what it hears."""
        with self._more:
            self._closed = True
            self._more.notify()
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _work(self) -> None:
        while (sounds := self._next()) is not None:
            for heard in sounds:
                self._cut(heard)
            if over := max(0, len(self._waiting) - MOST_WAITING):
                for _ in range(over):
                    self._waiting.popleft()
                self.dropped += over
                self._warn(f"words: {over} stretches of speech were passed over, {_SLOW}")
            if self._waiting:
                self._transcribe(self._waiting.popleft())

    def _next(self) -> list[AudioItem] | None:
        """The sound that came meanwhile; waits for some where there is nothing else to do."""
        with self._more:
            while not self._closed and not len(self._box) and not self._waiting:
                self._more.wait()
            if self._closed:
                return None
            sounds = []
            while isinstance(heard := self._box.pop(), AudioItem):
                sounds.append(heard)
            return sounds

    def _cut(self, heard: AudioItem) -> None:
        try:
            runs = self._resampler.push(heard.sound, heard.t_us)
        except (av.FFmpegError, ValueError) as error:
            _log.debug("a frame of sound cannot be resampled for words: %s", error)
            return
        for run in runs:
            self._waiting += self._cutter.push(run)

    def _transcribe(self, stretch: Samples) -> None:
        try:
            said = list(self._recogniser.transcribe(stretch.data[:, 0]))
        except Exception as error:  # another's code may raise anything; the session goes on
            _log.debug("words: the recogniser failed", exc_info=True)
            self._failed(error)
            return
        self._failures = 0
        self.heard += 1
        start_us, end_us = sample_time_us(stretch.start), sample_time_us(stretch.end)
        for one in said:
            text = " ".join(one.text.split())
            if not text or self._closed:
                continue
            first_us = min(max(start_us + round(one.start_s * 1e6), start_us), end_us)
            last_us = min(max(start_us + round(one.end_s * 1e6), first_us), end_us)
            self._say(Cue(first_us, last_us, text), one.language)

    def _say(self, cue: Cue, language: str | None) -> None:
        spoken = None if language is None else language.split("-")[0].lower()
        if not self._languages or spoken is None or spoken in self._languages:
            self._count(cue)
        else:
            known = ", ".join(sorted(self._languages))
            self._once(f"words in {language!r} do not count: the bundle reads {known}")
        if time.monotonic() - self._zero_s - cue.end_us / 1e6 > CURRENT_FOR_US / 1e6:
            self._once(
                f"words come more than {CURRENT_FOR_US // 1_000_000} s late and do not count, {_SLOW}"
            )
        if self._show is not None:
            self._show(cue)

    def _failed(self, error: Exception) -> None:
        self._failures += 1
        self._once(f"words: the recogniser failed ({type(error).__name__}: {error})")
        if self._failures >= MOST_FAILURES:
            self._warn(
                f"words: the recogniser failed {self._failures} times in a row: no more words"
            )
            with self._more:
                self._closed = True

    def _once(self, detail: str) -> None:
        if detail not in self._warned:
            self._warned.add(detail)
            self._warn(detail)


class OneAtATime:
    """A recognizer that several sessions share: one transcribes, the others wait."""

    def __init__(self, recognizer: SpeechRecognizer) -> None:
        self._recognizer = recognizer
        self._lock = threading.Lock()

    def transcribe(self, samples: NDArray[np.float32]) -> list[Transcription]:
        """As `SpeechRecognizer.transcribe`."""
        with self._lock:
            return list(self._recognizer.transcribe(samples))


class LiveWords:
    """A recogniser for the sessions of one bundle: each gets a dictation of its own."""

    def __init__(self, recogniser: SpeechRecognizer, bundle: Bundle) -> None:
        """Raises `OptionError` for a bundle that reads no words."""
        if "text" not in bundle.modalities:
            raise OptionError(
                f"--words: the bundle {bundle.manifest.name} reads no words, only "
                f"{', '.join(bundle.modalities)}; leave --words out or take another bundle"
            )
        self._recogniser = OneAtATime(recogniser)
        self._languages = [x for expert in bundle.experts for x in expert.manifest.languages]

    def start(
        self,
        name: str,
        *,
        count: Callable[[Cue], None],
        show: Callable[[Cue], None] | None,
        warn: Callable[[str], None],
    ) -> Dictation:
        """Start the dictation of the session `name`; see `Dictation`."""
        return Dictation(
            self._recogniser,
            name,
            languages=self._languages,
            count=count,
            show=show,
            warn=warn,
        )


_SLOW = "because the recogniser is too slow for this machine: a smaller model keeps up"
