"""Live words: recognizes the speech of one session, on a thread of its own.

    push (any thread) ──► AudioBuffer ──► SpeechCutter ──► SpeechRecognizer ──► cues

The session never waits for it. If the recognizer is too slow, the newest utterances win; the others are
dropped and counted.
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
from affectstream.engines.labels import SpeechGateOption
from affectstream.stream.errors import OptionError
from affectstream.stream.live.queue.buffers import AudioBuffer, AudioItem
from affectstream.stream.media.resample import SoundResampler
from affectstream.stream.media.types import Cue, Samples, sample_time_us
from affectstream.stream.transcript.context import CURRENT_FOR_US
from affectstream.stream.words.asr import SpeechRecognizer, Transcription
from affectstream.stream.words.speech import SpeechCutter

MAX_SOUND_US = 30_000_000
"""Sound that may wait while the recognizer works."""
MAX_UTTERANCES = 2
"""Utterances that may wait for the recognizer: more would be older than the 5 s for which words count."""
MAX_FAILURES = 3
"""After this many failures in a row the recognizer is no longer used."""

_GATHER = 10
_TOO_SLOW = "because the recognizer is too slow for this machine: a smaller model keeps up"
_log = logging.getLogger(__name__)


class Dictation:
    """The words of one session. `push` may be called from any thread, and never waits."""

    def __init__(
        self,
        recognizer: SpeechRecognizer,
        name: str,
        *,
        languages: Collection[str] = (),
        count: Callable[[Cue], None],
        show: Callable[[Cue], None] | None = None,
        warn: Callable[[str], None],
        vad: SpeechGateOption = "silero",
    ) -> None:
        """Start the thread, which calls the three functions.

        `count` gets the words that the bundle can read, `show` all of them: words in none of the
        `languages` are only shown (an empty list accepts every language). `warn` gets a text for each
        problem. `vad` decides what is speech.
        """
        self._recognizer, self._languages = recognizer, frozenset(languages)
        self._count, self._show, self._warn = count, show, warn
        self._sound = AudioBuffer(MAX_SOUND_US)
        self._resampler = SoundResampler(gather=_GATHER)
        self._cutter = SpeechCutter(vad=vad)
        self._utterances: deque[Samples] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._zero_s = 0.0
        self._failures = 0
        self._warnings: set[str] = set()
        self.transcribed = 0
        """Utterances that were transcribed."""
        self.dropped = 0
        """Utterances that were dropped for newer ones."""
        self._thread = threading.Thread(target=self._run, name=f"words {name}", daemon=True)
        self._thread.start()

    def push(self, sound: av.AudioFrame, t_us: int, arrived_s: float) -> None:
        """Push a frame of sound that begins at `t_us` on the session's clock."""
        with self._changed:
            if self._closed:
                return
            self._zero_s = arrived_s - t_us / 1e6
            self._sound.push(AudioItem(sound, t_us, arrived_s))
            self._changed.notify()

    def close(self, timeout_s: float) -> bool:
        """Take no more sound. Whether the thread ended in time: if it is stuck in the recognizer it is
        abandoned, and its words are left out."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while (items := self._next()) is not None:
            for item in items:
                self._cut(item)
            if excess := max(0, len(self._utterances) - MAX_UTTERANCES):
                for _ in range(excess):
                    self._utterances.popleft()
                self.dropped += excess
                self._warn(f"words: {excess} utterances were dropped, {_TOO_SLOW}")
            if self._utterances:
                self._transcribe(self._utterances.popleft())

    def _next(self) -> list[AudioItem] | None:
        """All waiting sound; waits for some unless an utterance is waiting. None after `close`."""
        with self._changed:
            while not self._closed and not len(self._sound) and not self._utterances:
                self._changed.wait()
            if self._closed:
                return None
            items = []
            while isinstance(item := self._sound.pop(), AudioItem):
                items.append(item)
            return items

    def _cut(self, item: AudioItem) -> None:
        try:
            runs = self._resampler.push(item.sound, item.t_us)
        except (av.FFmpegError, ValueError) as error:
            _log.debug("a frame of sound cannot be resampled for words: %s", error)
            return
        for run in runs:
            self._utterances += self._cutter.push(run)

    def _transcribe(self, utterance: Samples) -> None:
        try:
            transcriptions = list(self._recognizer.transcribe(utterance.data[:, 0]))
        except (
            Exception
        ) as error:  # code of another package may raise anything; the session goes on
            _log.debug("words: the recognizer failed", exc_info=True)
            self._fail(error)
            return
        self._failures = 0
        self.transcribed += 1
        start_us, end_us = sample_time_us(utterance.start), sample_time_us(utterance.end)
        for one in transcriptions:
            text = " ".join(one.text.split())
            if not text or self._closed:
                continue
            first_us = min(max(start_us + round(one.start_s * 1e6), start_us), end_us)
            last_us = min(max(start_us + round(one.end_s * 1e6), first_us), end_us)
            self._pass_on(Cue(first_us, last_us, text), one.language)

    def _pass_on(self, cue: Cue, language: str | None) -> None:
        base = None if language is None else language.split("-")[0].lower()
        if not self._languages or base is None or base in self._languages:
            self._count(cue)
        else:
            known = ", ".join(sorted(self._languages))
            self._warn_once(f"words in {language!r} do not count: the bundle reads {known}")
        if time.monotonic() - self._zero_s - cue.end_us / 1e6 > CURRENT_FOR_US / 1e6:
            self._warn_once(
                f"words come more than {CURRENT_FOR_US // 1_000_000} s late and do not count, {_TOO_SLOW}"
            )
        if self._show is not None:
            self._show(cue)

    def _fail(self, error: Exception) -> None:
        self._failures += 1
        self._warn_once(f"words: the recognizer failed ({type(error).__name__}: {error})")
        if self._failures >= MAX_FAILURES:
            self._warn(
                f"words: the recognizer failed {self._failures} times in a row: no more words"
            )
            with self._changed:
                self._closed = True

    def _warn_once(self, detail: str) -> None:
        if detail not in self._warnings:
            self._warnings.add(detail)
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
    """A recognizer for the sessions of one bundle: each session gets a `Dictation` of its own."""

    def __init__(self, recognizer: SpeechRecognizer, bundle: Bundle) -> None:
        """Raises `OptionError` for a bundle that reads no words."""
        if "text" not in bundle.modalities:
            raise OptionError(
                f"--words: the bundle {bundle.manifest.name} reads no words, only "
                f"{', '.join(bundle.modalities)}; leave --words out or use another bundle"
            )
        self._recognizer = OneAtATime(recognizer)
        self._languages = [x for expert in bundle.member_bundles for x in expert.manifest.languages]

    def start(
        self,
        name: str,
        *,
        count: Callable[[Cue], None],
        show: Callable[[Cue], None] | None,
        warn: Callable[[str], None],
        vad: SpeechGateOption = "silero",
    ) -> Dictation:
        """Start the dictation of the session `name`; see `Dictation`."""
        return Dictation(
            self._recognizer,
            name,
            languages=self._languages,
            count=count,
            show=show,
            warn=warn,
            vad=vad,
        )
