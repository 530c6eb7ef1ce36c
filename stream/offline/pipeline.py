"""The wiring for recordings: a reader thread, perception side by side, and order at the end.

    reader ──► batches ──► perceive (a few threads) ──┐
       └─────► sound, bounds ─────────────────────────┴──► interpret (the caller's thread)

One bounded queue holds, in the order of the file, sound as it is and batches of frames as futures; so
nothing is dropped, nothing overtakes, and memory does not depend on the length of the recording.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from affectstream.engines.bundle.bundle import Bundle
from affectstream.stream.faces.face import FrameObservation
from affectstream.stream.faces.perceive import BATCH, Perceiver
from affectstream.stream.media.grid import GridFrame, GridSampler
from affectstream.stream.media.recording import Recording
from affectstream.stream.media.types import (
    FOREVER_US,
    SAMPLE_RATE,
    Bound,
    Frame,
    MediaKind,
    Samples,
)
from affectstream.stream.results.interpret import HopResult, Interpreter

_QUEUE_ITEMS = 16
"""Runs of sound are gathered to half a second, so this is seconds of media, not packets."""
_SOUND_RUN = SAMPLE_RATE // 2
_GIVE_UP_S = 2.0
"""How long a reader that does not come back is waited for before it is abandoned."""


@dataclass(frozen=True, slots=True, eq=False)
class _Batch:
    """Sampled frames in order, grid points without a frame among them."""

    sampled: tuple[GridFrame, ...]
    seen: Future[list[FrameObservation]]


@dataclass(frozen=True, slots=True)
class _End:
    error: BaseException | None


_Item = _Batch | Samples | Bound | _End


class Pipeline:
    """One recording on its way through one recognizer. Iterate to get its hops, once.

    Leaving the iteration early (an error, Ctrl-C, a closed generator) stops every thread.
    """

    def __init__(
        self, bundle: Bundle, recording: Recording, interpreter: Interpreter, threads: int
    ) -> None:
        self._recording = recording
        self._interpreter = interpreter
        self._threads = max(1, threads)
        self._frame_hz = bundle.manifest.frame_hz
        video = recording.info.video
        watches = "video" in bundle.modalities
        self._perceiver = (
            Perceiver(bundle, pixel_aspect=video.pixel_aspect) if watches and video else None
        )
        self._queue: queue.Queue[_Item] = queue.Queue(_QUEUE_ITEMS)
        # A batch holds whole pictures: few may wait, however long the queue is.
        self._room = threading.BoundedSemaphore(self._threads + 2)
        self._stop = threading.Event()

    def __iter__(self) -> Iterator[HopResult]:
        pool = ThreadPoolExecutor(self._threads, "perceive")
        reader = threading.Thread(target=self._read, args=(pool,), name="reader", daemon=True)
        reader.start()
        try:
            yield from self._interpret()
        finally:
            self._stop.set()
            reader.join(_GIVE_UP_S)
            pool.shutdown(wait=False, cancel_futures=True)  # nobody waits for a stuck engine

    def _interpret(self) -> Iterator[HopResult]:
        if self._perceiver is None:  # sound must not wait for pictures that nobody looks at
            yield from self._interpreter.push_bound(Bound(MediaKind.VIDEO, FOREVER_US))
        while True:
            item = self._queue.get()
            match item:
                case _Batch():
                    seen = iter(item.seen.result())
                    self._room.release()
                    for sampled in item.sampled:
                        look = next(seen) if sampled.frame is not None else None
                        yield from self._interpreter.push_frame(sampled.points, look)
                case Samples():
                    yield from self._interpreter.push_sound(item)
                case Bound():
                    yield from self._interpreter.push_bound(item)
                case _End():
                    if item.error is not None:
                        raise item.error
                    yield from self._interpreter.flush(self._recording.end_us)
                    return

    def _read(self, pool: ThreadPoolExecutor) -> None:
        """The reader thread: decode, choose grid frames, hand over."""
        try:
            self._decode(pool)
            self._put(_End(None))
        except _Stopped:
            return
        except BaseException as error:  # handed to the caller's thread, which raises it
            self._put(_End(error), force=True)

    def _decode(self, pool: ThreadPoolExecutor) -> None:
        grid = GridSampler(self._frame_hz, self._recording.start_us)
        batch: list[GridFrame] = []
        sound: list[Samples] = []
        for item in self._recording:
            if self._stop.is_set():
                raise _Stopped
            match item:
                case Frame():
                    if self._perceiver is not None:
                        batch += grid.push(item)
                case Samples():
                    sound = self._gather(sound, item)
                case Bound(MediaKind.VIDEO):
                    if self._perceiver is not None:
                        last = item.t_us == FOREVER_US
                        end_us = self._recording.end_us
                        batch += grid.flush(end_us) if last else grid.advance(item.t_us)
                    batch = self._flush_batches(pool, batch, partial=True)
                    self._put(item)
                case Bound():
                    self._flush_sound(sound)
                    sound = []
                    self._put(item)
            batch = self._flush_batches(pool, batch)
        self._flush_sound(sound)
        self._flush_batches(pool, batch, partial=True)

    def _flush_batches(
        self, pool: ThreadPoolExecutor, waiting: list[GridFrame], *, partial: bool = False
    ) -> list[GridFrame]:
        """Send off full batches (and with `partial` the rest); return what still waits."""
        while waiting and (partial or len(waiting) >= BATCH):
            part, waiting = tuple(waiting[:BATCH]), waiting[BATCH:]
            while not self._room.acquire(timeout=0.1):
                if self._stop.is_set():
                    raise _Stopped
            assert self._perceiver is not None
            frames = [s.frame for s in part if s.frame is not None]
            self._put(_Batch(part, pool.submit(self._perceiver.perceive, frames)))
        return waiting

    def _gather(self, sound: list[Samples], item: Samples) -> list[Samples]:
        """Join runs that follow each other until half a second is together."""
        if sound and sound[-1].end != item.start:
            self._flush_sound(sound)
            sound = []
        sound.append(item)
        if item.end - sound[0].start >= _SOUND_RUN:
            self._flush_sound(sound)
            return []
        return sound

    def _flush_sound(self, sound: list[Samples]) -> None:
        if sound:
            self._put(Samples(sound[0].start, np.concatenate([s.data for s in sound])))

    def _put(self, item: _Item, *, force: bool = False) -> None:
        while True:
            try:
                self._queue.put(item, timeout=0.1)
                return
            except queue.Full:
                if self._stop.is_set() and not force:
                    raise _Stopped from None
                if self._stop.is_set():
                    return


class _Stopped(Exception):
    """The consumer left; the reader thread unwinds."""
