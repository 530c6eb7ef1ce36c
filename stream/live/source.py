"""A live source from its name to events: opened, kept open, recognized.

camera ──► Reader ──┐
microphone ► Reader ┴──► LiveSession ──► callbacks
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

from affectstream.stream.errors import OptionError, SourceError
from affectstream.stream.events import Stream
from affectstream.stream.live.callbacks import Callbacks
from affectstream.stream.live.capture.address import Opening, is_url, opening_of
from affectstream.stream.live.capture.connection import SourceInfo
from affectstream.stream.live.capture.devices import camera, is_camera, microphone
from affectstream.stream.live.capture.plugin import plugin_opening
from affectstream.stream.live.capture.reader import Reader, Tap
from affectstream.stream.live.measure import measure
from affectstream.stream.live.session import LiveSession
from affectstream.stream.live.stats import LiveStats
from affectstream.stream.live.words.dictation import LiveWords
from affectstream.stream.loaded import LoadedBundle
from affectstream.stream.options import SourceOptions
from affectstream.stream.transcript.files import Transcript, find_transcript, read_transcript

_NAME_LENGTH = 255


@dataclass(frozen=True, slots=True)
class LiveOptions:
    """What to open. `source` is a camera (``0``, ``/dev/video0``), a URL, a file, or ``NAME:ADDRESS`` for the
    source NAME of another package; None for a microphone
    alone. `mic` is the name of a microphone, ``default`` for the system's own. The FFmpeg options in
    `ffmpeg` take precedence over those of the scheme. `listen` waits for a publisher.
    """

    source: str | None = None
    mic: str | None = None
    ffmpeg: Mapping[str, str] = field(default_factory=dict)
    listen: bool = False

    def openings(self) -> tuple[Opening, ...]:
        """What to open, the pictures first. Raises `SourceError` or `OptionError`."""
        if self.source is None and self.mic is None:
            raise OptionError("there is nothing to open: give a source, a microphone or both")
        found = []
        if self.source is not None and is_camera(self.source):
            if self.listen:
                raise OptionError(f"{self.source}: --listen needs an address, not a camera")
            found.append(camera(self.source, self.ffmpeg))
        elif self.source is not None and (opening := plugin_opening(self.source)) is not None:
            if self.listen:
                raise OptionError(f"{self.source}: --listen needs an address of FFmpeg's")
            found.append(opening)
        elif self.source is not None:
            found.append(opening_of(self.source, options=self.ffmpeg, listen=self.listen))
        if self.mic is not None:
            found = [replace(opening, wants=("video",)) for opening in found]
            found.append(microphone(self.mic))
        return tuple(found)


class LiveSource:
    """A live source and its session. Use it with ``with``; leaving closes it within two seconds."""

    def __init__(
        self,
        recognizer: LoadedBundle,
        live: LiveOptions,
        callbacks: Callbacks,
        *,
        options: SourceOptions | None = None,
        tap: Tap | None = None,
        words: LiveWords | None = None,
        newest: bool | None = None,
    ) -> None:
        """Nothing is opened yet. `words` recognizes the spoken words; a transcript beside a file is then
        left out. `tap` gets every frame that enters the session, for measuring. `newest` is that of
        `LiveSession`; None: unless the source is a recording, whose results are those of `score`."""
        self._recognizer, self._callbacks, self._words = recognizer, callbacks, words
        self._options = options or SourceOptions()
        openings = self._narrowed(live.openings())
        self.name = " and ".join(opening.name for opening in openings)[:_NAME_LENGTH]
        self._transcript = self._find_transcript(live)
        self._cost = measure(recognizer.bundle)
        are_recordings = all(opening.is_recording for opening in openings)
        self._newest = not are_recordings if newest is None else newest
        self._readers = [
            Reader(opening, on_open=partial(self._opened, number), tap=tap)
            for number, opening in enumerate(openings)
        ]
        self._lock = threading.Lock()
        self._opened_infos: dict[int, SourceInfo] = {}
        self._session: LiveSession | None = None
        self._begun = threading.Event()
        self._exception: BaseException | None = None
        self._closed = False

    @property
    def session(self) -> LiveSession:
        """The session; it exists once `open` has returned."""
        if self._session is None:
            raise SourceError(f"{self.name}: has not been opened")
        return self._session

    @property
    def position_us(self) -> int:
        """The end of the newest picture or sound; 0 before the first."""
        return 0 if self._session is None else self._session.position_us

    @property
    def stats(self) -> LiveStats | None:
        """The session as it stands; None before it begins."""
        return None if self._session is None else self._session.stats

    @property
    def failure(self) -> str | None:
        """Why the source ended early; None if it did not."""
        return next((reader.error for reader in self._readers if reader.error), None)

    @property
    def abandoned(self) -> int:
        """The number of threads abandoned in FFmpeg so far."""
        return sum(reader.abandoned for reader in self._readers)

    def open(self, stop: threading.Event | None = None) -> None:
        """Open everything and begin. Raises `SourceError`, with the reason, for what cannot be opened.

        Returns early, without a session, once `stop` is set.
        """
        for reader in self._readers:
            reader.start()
        while not self._begun.wait(0.02):
            if stop is not None and stop.is_set():
                return
            if self._exception is not None:
                raise self._exception
            for reader in self._readers:
                if reader.done.is_set() and not self._begun.is_set():
                    if reader.exception is not None:
                        raise reader.exception
                    raise SourceError(reader.error or f"{reader.opening.name}: is empty")

    def wait(self, timeout_s: float) -> bool:
        """Wait for the end of the source, at most `timeout_s`; whether it has ended.

        Raises the unexpected exception that ended it, if there was one.
        """
        ended = self._readers[0].done.wait(timeout_s)
        for reader in self._readers:
            if reader.exception is not None:
                raise reader.exception
        if not ended and self.session.error is not None:
            raise self.session.error
        return ended

    def close(self, *, timeout_s: float = 2.0) -> Stream | None:
        """Stop reading, compute what is left, and return the `ended` event; None if it was never open."""
        if self._closed:
            return None if self._session is None else self._session.close()
        self._closed = True
        until_s = time.monotonic() + timeout_s
        for reader in self._readers:
            reader.stop()
        for reader in self._readers:
            reader.join(max(0.0, min(until_s - time.monotonic(), timeout_s / 2)))
        if self._session is None:
            return None
        if bad := sum(reader.bad_packets for reader in self._readers):
            self._session.warn(f"{bad} packets or pictures could not be decoded")
        left_s = max(0.1, until_s - time.monotonic())
        return self._session.close(timeout_s=left_s, detail=self.failure)

    def _narrowed(self, openings: Sequence[Opening]) -> list[Opening]:
        """`openings` with the limit on pictures, and without what nobody would use."""
        reads = {m for m in self._recognizer.bundle.modalities if self._options.allows(m)}
        if self._words is not None:  # they come from the sound
            reads.add("voice")
        found = []
        for opening in openings:
            wants = tuple(modality for modality in opening.wants if modality in reads)
            limited = replace(opening, max_pixels=self._options.max_pixels)
            if wants:
                found.append(replace(limited, wants=wants))
        if not found:
            raise OptionError(
                f"nothing of {' and '.join(opening.name for opening in openings)} is used: the bundle "
                f"and the options take {', '.join(sorted(reads)) or 'nothing'}"
            )
        return found

    def _find_transcript(self, live: LiveOptions) -> Transcript | None:
        """The transcript of the options, or the one beside a file, as in `score`."""
        if "text" not in self._recognizer.bundle.modalities or not self._options.allows("text"):
            return None
        if self._words is not None:
            if self._options.transcript is not None:
                raise OptionError("words come from --transcript or from --words, not from both")
            return None
        if self._options.transcript is not None:
            return read_transcript(self._options.transcript)
        if live.source is None or is_url(live.source) or is_camera(live.source):
            return None
        beside = find_transcript(Path(live.source))
        return None if beside is None else read_transcript(beside)

    # --- on the threads of the readers ---

    def _opened(self, number: int, info: SourceInfo) -> None:
        """Reader `number` is open; with the last one the session begins."""
        with self._lock:
            self._opened_infos[number] = info
            if self._session is not None or len(self._opened_infos) < len(self._readers):
                return
            try:
                self._begin()
            except BaseException as error:
                self._exception = error
                raise
        self._begun.set()

    def _begin(self) -> None:
        infos = self._opened_infos.values()
        gives = {
            "video": any(info.video for info in infos),
            "voice": any(info.voice for info in infos),
            "text": self._transcript is not None or self._words is not None,
        }
        reads = [m for m in self._recognizer.bundle.modalities if self._options.allows(m)]
        modalities = tuple(m for m in reads if gives[m])
        if not set(modalities) - {"text"}:
            raise SourceError(
                f"{self.name}: gives {', '.join(m for m, given in gives.items() if given)} and nothing "
                f"that the bundle reads: {', '.join(reads)}"
            )
        options = self._options
        if self._transcript is not None and options.language is None:
            options = replace(options, language=self._transcript.language)
        zero_s = time.monotonic()
        self._session = LiveSession(
            self._recognizer,
            self.name,
            self._callbacks,
            options=options,
            modalities=modalities,
            words=self._words,
            transcript=() if self._transcript is None else self._transcript.cues,
            cost=self._cost,
            newest=self._newest,
            pixel_aspect=next((info.pixel_aspect for info in infos if info.video), 1.0),
        )
        for reader in self._readers:
            reader.attach(self._session, zero_s)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
