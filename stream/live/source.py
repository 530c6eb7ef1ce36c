"""A live source from its name to events: opened, kept open, put on one clock, recognized.

camera ──► reader ──┐
microphone ► reader ┴──► rebase ──► LiveSession ──► emit
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

import av

from affectstream.stream.errors import OptionError, SourceError
from affectstream.stream.events import Stream
from affectstream.stream.live.callbacks import Callbacks
from affectstream.stream.live.capture.address import Opening, is_url, opening_of
from affectstream.stream.live.capture.connection import Delivery, SourceInfo
from affectstream.stream.live.capture.devices import camera, is_camera, microphone
from affectstream.stream.live.capture.input import Input
from affectstream.stream.live.measure import measure
from affectstream.stream.live.session import LiveSession
from affectstream.stream.live.stats import LiveStats
from affectstream.stream.live.words.dictation import LiveWords
from affectstream.stream.loaded import LoadedBundle
from affectstream.stream.media.types import MediaKind
from affectstream.stream.options import SourceOptions
from affectstream.stream.transcript.files import Transcript, find_transcript, read_transcript

_NAME_LENGTH = 255


@dataclass(frozen=True, slots=True)
class LiveOptions:
    """What is opened. `source` is a camera (``0``, ``/dev/video0``), a URL or a file; None with a
    microphone alone. `mic` is a microphone's name, ``default`` for the system's own. `ffmpeg` are
    options of FFmpeg's over those of the table of schemes. With `listen` a publisher is waited for.
    """

    source: str | None = None
    mic: str | None = None
    ffmpeg: Mapping[str, str] = field(default_factory=dict)
    listen: bool = False

    def openings(self) -> tuple[Opening, ...]:
        """What is to be opened, the pictures first. Raises `SourceError` or `OptionError`."""
        if self.source is None and self.mic is None:
            raise OptionError("there is nothing to open: give a source, a microphone or both")
        found = []
        if self.source is not None and is_camera(self.source):
            if self.listen:
                raise OptionError(f"{self.source}: --listen needs an address, not a camera")
            found.append(camera(self.source, self.ffmpeg))
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
        tap: Callable[[Delivery, int], None] | None = None,
        words: LiveWords | None = None,
    ) -> None:
        """Nothing is opened yet.

        With `words` the spoken words are recognized; they replace the transcript beside a file.
        `tap` is called with every frame that goes into the session and its time there, for measuring.
        """
        self._recognizer = recognizer
        self._options = options or SourceOptions()
        self._callbacks = callbacks
        self._tap = tap
        self._words = words
        openings = live.openings()
        self.name = " and ".join(opening.name for opening in openings)[:_NAME_LENGTH]
        self._transcript = self._written(live)
        self._cost = measure(recognizer.bundle)
        self._ready = threading.Event()
        self._lock = threading.Lock()
        self._session: LiveSession | None = None
        self._zero_s: float | None = None
        self._closed = False
        self._held: dict[int, SourceInfo] = {}
        self._fault: BaseException | None = None
        self._inputs = [
            Input(
                opening,
                zero_s=lambda: None if self._session is None else self._zero_s,
                opened=partial(self._opened, number),
                deliver=self._deliver,
                lost=self._warn,
                back=self._back,
            )
            for number, opening in enumerate(openings)
        ]

    @property
    def session(self) -> LiveSession:
        """The session; there is one once `open` has returned."""
        if self._session is None:
            raise SourceError(f"{self.name}: has not been opened")
        return self._session

    @property
    def position_us(self) -> int:
        """Where the newest that came in ends; 0 before the first."""
        return 0 if self._session is None else self._session.position_us

    @property
    def stats(self) -> LiveStats | None:
        """The session as it stands; None before there is one."""
        return None if self._session is None else self._session.stats

    @property
    def failure(self) -> str | None:
        """Why the source ended, where that was not its end."""
        return next((one.reader.error for one in self._inputs if one.reader.error), None)

    @property
    def abandoned(self) -> int:
        """Threads that were left behind in FFmpeg so far."""
        return sum(one.reader.abandoned for one in self._inputs)

    def open(self, stop: threading.Event | None = None) -> None:
        """Open everything and begin. Raises `SourceError`, saying why, when something cannot be.

        Returns early, without a session, once `stop` is set.
        """
        for one in self._inputs:
            one.reader.start()
        while not self._ready.wait(0.02):
            if stop is not None and stop.is_set():
                return
            if self._fault is not None:
                raise self._fault
            for one in self._inputs:
                if one.reader.done.is_set() and not self._ready.is_set():
                    if one.reader.fault is not None:
                        raise one.reader.fault
                    raise SourceError(
                        one.reader.error or f"{one.reader.opening.name}: holds nothing"
                    )

    def wait(self, timeout_s: float) -> bool:
        """Whether the source has ended by itself, waiting for that at most `timeout_s`.

        Raises the error that ended it, where it was one of ours.
        """
        ended = self._inputs[0].reader.done.wait(timeout_s)
        for one in self._inputs:
            if one.reader.fault is not None:
                raise one.reader.fault
        if ended:
            return True
        error = self.session.error
        if error is not None:
            raise error
        return False

    def close(self, *, timeout_s: float = 2.0) -> Stream | None:
        """Stop reading, read what is left, and return the `ended` event; None when never opened."""
        if self._closed:
            return None if self._session is None else self._session.close()
        self._closed = True
        until_s = time.monotonic() + timeout_s
        for one in self._inputs:
            one.reader.leave()
        for one in self._inputs:
            one.reader.stop(max(0.0, min(until_s - time.monotonic(), timeout_s / 2)))
        if self._session is None:
            return None
        if bad := sum(one.reader.bad_packets for one in self._inputs):
            self._session.warn(f"{bad} packets or pictures could not be decoded")
        left_s = max(0.1, until_s - time.monotonic())
        return self._session.close(timeout_s=left_s, detail=self.failure)

    def _written(self, live: LiveOptions) -> Transcript | None:
        """The words of a file that is played; as in `score`, those beside it are found."""
        if "text" not in self._recognizer.bundle.modalities:
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

    def _opened(self, number: int, holds: SourceInfo) -> None:
        """Input `number` was opened; with the last one the session begins."""
        with self._lock:
            self._held[number] = holds
            if self._session is not None or len(self._held) < len(self._inputs):
                return
            try:
                self._begin()
            except BaseException as error:
                self._fault = error
                raise
        self._ready.set()

    def _deliver(self, delivery: Delivery, t_us: int) -> None:
        """A frame of any input, on the session's clock."""
        session = self.session
        if self._tap is not None:
            self._tap(delivery, t_us)
        if delivery.kind is MediaKind.VIDEO:
            assert isinstance(delivery.frame, av.VideoFrame)
            session.push_video(delivery.frame, t_us, delivery.arrived_s)
        else:
            assert isinstance(delivery.frame, av.AudioFrame)
            session.push_audio(delivery.frame, t_us, delivery.arrived_s)

    def _warn(self, detail: str) -> None:
        if self._session is not None:
            self._session.warn(detail)

    def _back(self, detail: str) -> None:
        self.session.reconnected(detail)

    def _begin(self) -> None:
        held = self._held.values()
        gives = {
            "video": any(one.video for one in held),
            "voice": any(one.voice for one in held),
            "text": self._transcript is not None or self._words is not None,
        }
        sources = tuple(m for m in self._recognizer.bundle.modalities if gives[m])
        if not set(sources) - {"text"}:
            raise SourceError(
                f"{self.name}: gives {', '.join(m for m, g in gives.items() if g)} and nothing that "
                f"the bundle reads: {', '.join(self._recognizer.bundle.modalities)}"
            )
        options = self._options
        if self._transcript is not None and options.language is None:
            options = replace(options, language=self._transcript.language)
        self._zero_s = time.monotonic()
        self._session = LiveSession(
            self._recognizer,
            self.name,
            self._callbacks,
            options=options,
            modalities=sources,
            words=self._words,
            cost=self._cost,
            pixel_aspect=next((one.pixel_aspect for one in held if one.video), 1.0),
        )
        for cue in self._transcript.cues if self._transcript is not None else ():
            self._session.push_text(cue)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
