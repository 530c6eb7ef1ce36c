"""Streams that a program pushes its own pictures, sound and words into: `Recognizer.stream`.

video, audio, text (the program's threads) ──► windows (threads of their own) ──► events
"""

from __future__ import annotations

import asyncio
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import replace
from types import TracebackType
from typing import Literal, Self, TypeAlias
from weakref import WeakSet

import av
import numpy as np
from numpy.typing import NDArray

from affectstream.engines.daemon_executor import stop_at_exit
from affectstream.engines.labels import MODALITIES, Modality
from affectstream.stream.errors import OptionError
from affectstream.stream.event_queue import EventQueue
from affectstream.stream.events import Event, Stream
from affectstream.stream.live.callbacks import Callbacks
from affectstream.stream.live.session import LiveSession
from affectstream.stream.loaded import LoadedBundle
from affectstream.stream.media import arrays
from affectstream.stream.media.types import Cue
from affectstream.stream.offline.pushed_media import PushedMedia
from affectstream.stream.offline.session import Session
from affectstream.stream.options import SourceOptions

Policy: TypeAlias = Literal["all", "newest"]
"""`all` computes every window, as for a file; `newest` drops what there is no time for, as live."""

MAX_WAITING = 4096
"""Events of a live stream that may wait to be read; then the oldest are lost."""
_STOP_S = 2.0
"""How long giving up waits for the threads before they are abandoned."""
_OPTIONS_OF_FILES = ("start_us", "end_us", "audio_track", "transcript")


class PushStream(ABC):
    """Push pictures, sound and words with their times; iterate to get the events, `ended` last.

    Times are seconds from any zero that all pushes share, 0 or later; the first picture or sound sets where
    the results begin. Use it with ``with`` or ``async with``: leaving computes what is left, and leaving by
    an exception gives up.

    Read the events between two pushes with `ready`, after the end, on another thread (``for event in
    stream``), or in an event loop (``async for event in stream``). Every method may be called from any
    thread.
    """

    def __init__(
        self,
        recognizer: LoadedBundle,
        modalities: Sequence[Modality],
        options: SourceOptions,
        max_waiting: int | None,
    ) -> None:
        self._modalities, self._options = tuple(modalities), options
        self._read = tuple(m for m in recognizer.bundle.modalities if m in modalities)
        self._events = EventQueue(max_waiting, drops=max_waiting is not None)
        self._pushing: WeakSet[threading.Thread] = WeakSet()
        self._is_closed = False

    def video(self, rgb: NDArray[np.uint8], t: float) -> None:
        """Push a picture: `rgb` is (H, W, 3) uint8, upright, taken at `t` seconds. It is copied.

        Push pictures in the order of time: one that is not later than the one before is left out, and
        counted as `wrong_times` in the `ended` event. Raises ValueError for another shape or type, a time
        that is not 0 to 1e9, a stream that was opened without video, and after `close`.
        """
        picture, t_us = arrays.picture(rgb), arrays.microseconds("t", t)
        if self._reads("video"):
            self._push_video(picture, t_us)

    def audio(self, samples: NDArray[np.float32], t: float, rate: int) -> None:
        """Push sound: `samples` is (n,) or (n, 2) float32 in [-1, 1], `rate` a second, the first at `t`
        seconds. It is copied.

        Push sound in the order of time: what overlaps with earlier sound is left out. A time may be 20 ms
        off the end of the sound before; more is a gap. Raises ValueError as `video` does.
        """
        pieces = arrays.sound(samples, arrays.microseconds("t", t), rate)
        if self._options.assignment.channels is not None and samples.shape[1:] != (2,):
            raise ValueError(
                f"samples: one speaker a side needs (n, 2) samples, found {samples.shape}"
            )
        if self._reads("voice"):
            for sound, t_us in pieces:
                self._push_audio(sound, t_us)

    def text(self, text: str, t_start: float, t_end: float, speaker: str | None = None) -> None:
        """Push words that were spoken from `t_start` to `t_end` seconds, before what follows their end.

        They count from their end on, for 5 s or until the next. `speaker` is a name in the `Assignment` of
        the options. Raises ValueError as `video` does.
        """
        start_us = arrays.microseconds("t_start", t_start)
        end_us = arrays.microseconds("t_end", t_end)
        if end_us < start_us:
            raise ValueError(f"t_end={t_end}: expected t_start={t_start} or later")
        words = " ".join(text.split())
        if self._reads("text") and words:
            self._push_text(Cue(start_us, end_us, words, speaker))

    @abstractmethod
    def close(self) -> Stream:
        """Compute what is left and return the `ended` event. Closing again returns the same.

        Raises the error that ended the stream early, if there was one.
        """

    def ready(self) -> list[Event]:
        """The events since the last call, without waiting for more."""
        return self._events.ready()

    @abstractmethod
    def _push_video(self, picture: av.VideoFrame, t_us: int) -> None: ...

    @abstractmethod
    def _push_audio(self, sound: av.AudioFrame, t_us: int) -> None: ...

    @abstractmethod
    def _push_text(self, cue: Cue) -> None: ...

    @abstractmethod
    def _give_up(self) -> None:
        """End without computing what is left."""

    def _reads(self, modality: Modality) -> bool:
        """Whether the bundle reads `modality`. Raises ValueError where nothing of it may be pushed."""
        if self._is_closed:
            raise ValueError("nothing can be pushed after close()")
        if modality not in self._modalities:
            opened = ", ".join(self._modalities)
            raise ValueError(f"{modality}: this stream was opened with modalities {opened}")
        self._pushing.add(threading.current_thread())
        return modality in self._read

    def __iter__(self) -> Iterator[Event]:
        if not self._is_closed and set(self._pushing) == {threading.current_thread()}:
            raise RuntimeError(
                "iterating waits for the end of the stream, and this thread is the one that pushes: call "
                "ready() between two pushes, or iterate after close() or on another thread"
            )
        return iter(self._events)

    def __aiter__(self) -> AsyncIterator[Event]:
        return aiter(self._events)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None:
            self.close()
        else:
            self._is_closed = True
            self._give_up()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await asyncio.to_thread(self.__exit__, kind, error, trace)


class EveryWindow(PushStream):
    """The policy `all`: a push waits while the machine is busy, and no window is left out."""

    def __init__(
        self,
        recognizer: LoadedBundle,
        name: str,
        modalities: Sequence[Modality],
        options: SourceOptions,
    ) -> None:
        super().__init__(recognizer, modalities, options, None)
        self._recognizer = recognizer
        stereo = options.assignment.channels is not None
        hop_us = recognizer.bundle.manifest.hop_us
        self._media = PushedMedia(name, self._read, hop_us, stereo=stereo)
        self._ended: Stream | None = None
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name=f"push {name}", daemon=True)
        stop_at_exit(self._thread, self._stop)
        self._thread.start()

    def close(self) -> Stream:
        """As `PushStream.close`."""
        self._is_closed = True
        self._media.finish()
        self._thread.join()
        if self._error is not None:
            raise self._error
        if self._ended is None:
            raise ValueError("the stream was given up: it has no end")
        return self._ended

    def _push_video(self, picture: av.VideoFrame, t_us: int) -> None:
        self._media.push_video(picture, t_us)

    def _push_audio(self, sound: av.AudioFrame, t_us: int) -> None:
        self._media.push_audio(sound, t_us)

    def _push_text(self, cue: Cue) -> None:
        self._media.push_text(cue)

    def _give_up(self) -> None:
        self._stop()
        self._thread.join(_STOP_S)

    def _stop(self) -> None:
        self._media.stop()
        self._events.stop()

    def _run(self) -> None:
        """Score what is pushed, on the stream's own thread."""
        try:
            self._media.wait_start()
            options = replace(self._options, start_us=self._media.start_us)
            bundle, threads = self._recognizer.bundle, self._recognizer.threads
            with Session(bundle, self._media, options, threads) as session:
                for hop in session:
                    if not all(self._events.put(event) for event in hop.events):
                        return
            self._ended = session.ended
        except (
            BaseException
        ) as error:  # raised by pushes, by `close` and to the reader of the events
            self._error = error
        finally:
            self._media.stop(self._error)
            self._events.close(self._error)


class NewestWindow(PushStream):
    """The policy `newest`: a push never waits; what there is no time for is dropped and counted."""

    def __init__(
        self,
        recognizer: LoadedBundle,
        name: str,
        modalities: Sequence[Modality],
        options: SourceOptions,
    ) -> None:
        super().__init__(recognizer, modalities, options, MAX_WAITING)
        self._session = LiveSession(
            recognizer, name, Callbacks(event=self._take), options=options, modalities=self._read
        )

    def close(self) -> Stream:
        """As `PushStream.close`; within two seconds."""
        self._is_closed = True
        if self._events.lost:
            self._session.warn(f"{self._events.lost} events were lost: nobody read them in time")
        ended = self._session.close()
        if self._session.error is not None:
            raise self._session.error
        return ended

    def _push_video(self, picture: av.VideoFrame, t_us: int) -> None:
        self._session.push_video(picture, t_us, time.monotonic())

    def _push_audio(self, sound: av.AudioFrame, t_us: int) -> None:
        self._session.push_audio(sound, t_us, time.monotonic())

    def _push_text(self, cue: Cue) -> None:
        self._session.push_text(cue)

    def _give_up(self) -> None:
        self._session.close()

    def _take(self, event: Event) -> None:
        self._events.put(event)
        if isinstance(event, Stream) and event.what == "ended":
            self._events.close(self._session.error)


def open_stream(
    recognizer: LoadedBundle,
    policy: Policy,
    name: str,
    modalities: Sequence[Modality] | None,
    options: SourceOptions | None,
) -> PushStream:
    """As `Recognizer.stream`."""
    kinds: dict[Policy, type[EveryWindow | NewestWindow]] = {
        "all": EveryWindow,
        "newest": NewestWindow,
    }
    if policy not in kinds:
        raise OptionError(f"policy={policy!r}: expected 'all' or 'newest'")
    if not 1 <= len(name) <= 255:
        raise OptionError(f"name: expected 1 to 255 characters, found {len(name)}")
    chosen = tuple(MODALITIES) if modalities is None else tuple(modalities)
    if unknown := [m for m in chosen if m not in MODALITIES]:
        raise OptionError(f"modalities: {unknown[0]!r} is not one of {', '.join(MODALITIES)}")
    reads = recognizer.bundle.modalities
    if not ({"video", "voice"} & set(chosen) & set(reads)):
        raise OptionError(
            f"modalities {', '.join(chosen) or '(none)'}: expected pictures or sound that the bundle reads "
            f"({', '.join(reads)}); words alone are scored as a .srt file"
        )
    options = options or SourceOptions()
    if given := [field for field in _OPTIONS_OF_FILES if getattr(options, field) is not None]:
        raise OptionError(f"{given[0]} is an option of files: a program pushes what it chooses")
    return kinds[policy](recognizer, name, chosen, options)
