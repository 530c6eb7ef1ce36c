"""The threads that score a recording: one reads, several perceive in parallel, one puts results in order.

    reader ──► batches ──► perceive (a few threads) ──┐
       └─────► sound, bounds ─────────────────────────┴──► interpret (the caller's thread)

One bounded queue holds sound and batches of frames (as futures) in the order of the file. So nothing is
dropped or overtaken, and memory does not depend on the length of the recording. The pictures of a long
recording may be perceived in ranges by other processes (see `ranges`); then the reader queues what they
observed.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass

import av
import numpy as np

from affectstream.engines.bundle.bundle import Bundle
from affectstream.engines.daemon_executor import DaemonExecutor
from affectstream.stream.faces.batches import FrameBatch, FrameBatches, Turned
from affectstream.stream.faces.face import FrameObservation
from affectstream.stream.faces.perceive import Perceiver
from affectstream.stream.faces.turn import TurnFinder
from affectstream.stream.media.grid import first_point
from affectstream.stream.media.opening import conversion_error
from affectstream.stream.media.recording import Recording
from affectstream.stream.media.types import (
    FOREVER_US,
    SAMPLE_RATE,
    Bound,
    Cue,
    Frame,
    MediaKind,
    Samples,
)
from affectstream.stream.offline.pushed_media import PushedMedia
from affectstream.stream.ranges.messages import Observed, RangeEnd
from affectstream.stream.ranges.pool import RangePool
from affectstream.stream.results.interpret import HopResult, Interpreter

_MIN_QUEUE_ITEMS = 16
_ITEMS_PER_BATCH = 4
"""Places in the queue for each batch that may wait, so that sound and bounds between the batches never keep
a thread from its next one. Sound is joined to runs of half a second, which are small."""
_SOUND_RUN = SAMPLE_RATE // 2
_JOIN_TIMEOUT_S = 2.0
"""How long to wait for a reader or an engine that does not stop before it is abandoned."""


@dataclass(frozen=True, slots=True, eq=False)
class _Batch:
    """Frames that are being perceived."""

    frames: FrameBatch
    observations: Future[list[FrameObservation]]


@dataclass(frozen=True, slots=True)
class _End:
    error: BaseException | None


_Item = _Batch | Observed | Samples | Cue | Bound | Turned | _End


class Pipeline:
    """Scores one recording. Iterate once to get its hops.

    Leaving the iteration early (an error, Ctrl-C, a closed generator) stops all threads.
    """

    def __init__(
        self,
        bundle: Bundle,
        recording: Recording | PushedMedia,
        interpreter: Interpreter,
        threads: int,
        ranges: RangePool | None = None,
    ) -> None:
        """`ranges` perceive the pictures of a recording that leaves them out."""
        self._recording = recording
        self._ranges = ranges
        self._interpreter = interpreter
        self._threads = max(1, threads)
        self._frame_hz = bundle.manifest.frame_hz
        video = recording.info.video
        self._perceiver: Perceiver | None = None
        self._has_pictures = video is not None and "video" in interpreter.modalities
        if video is not None and self._has_pictures and ranges is None:
            self._perceiver = Perceiver(bundle, pixel_aspect=video.pixel_aspect)
        self._turn: TurnFinder | None = None
        if video is not None and self._perceiver is not None and isinstance(recording, Recording):
            finder = self._perceiver.finder
            self._turn = None if finder is None else TurnFinder(finder, video.pixel_aspect)
        # A batch holds whole frames, so fewer may wait than the queue has places.
        batches = self._threads + 2
        self._free_batches = threading.BoundedSemaphore(batches)
        self._queue: queue.Queue[_Item] = queue.Queue(
            max(_MIN_QUEUE_ITEMS, _ITEMS_PER_BATCH * batches)
        )
        self._stop = threading.Event()

    def __iter__(self) -> Iterator[HopResult]:
        pool = DaemonExecutor(self._threads, "perceive")
        reader = threading.Thread(target=self._read, args=(pool,), name="reader", daemon=True)
        reader.start()
        try:
            yield from self._interpret()
        finally:
            self._stop.set()
            if self._ranges is not None:
                self._ranges.stop()
            reader.join(_JOIN_TIMEOUT_S)
            pool.shutdown(wait=False, cancel_futures=True)
            pool.join(_JOIN_TIMEOUT_S)

    def _interpret(self) -> Iterator[HopResult]:
        if not self._has_pictures:  # sound must not wait for video that is not used
            yield from self._interpreter.push_bound(Bound(MediaKind.VIDEO, FOREVER_US))
        while True:
            item = self._queue.get()
            match item:
                case _Batch():
                    observations = iter(self._result(item.observations))
                    self._free_batches.release()
                    for one in item.frames.grid_frames:
                        observation = None if one.frame is None else next(observations)
                        yield from self._interpreter.push_frame(one.points, observation)
                case Observed():
                    for points, observation in item.observations:
                        yield from self._interpreter.push_frame(points, observation)
                case Turned():
                    degrees = 90 * item.quarters
                    self._interpreter.warn(
                        item.t_us,
                        f"pictures are turned by {degrees} degrees counterclockwise from here on: all "
                        "faces lay on their side",
                    )
                case Samples():
                    yield from self._interpreter.push_sound(item)
                case Cue():
                    self._interpreter.push_cue(item)
                case Bound():
                    yield from self._interpreter.push_bound(item)
                case _End():
                    if item.error is not None:
                        raise item.error
                    yield from self._interpreter.flush(self._recording.end_us)
                    return

    def _result(self, observations: Future[list[FrameObservation]]) -> list[FrameObservation]:
        try:
            return observations.result()
        except av.FFmpegError as exc:
            raise conversion_error(self._recording.path, exc) from exc

    def _read(self, pool: DaemonExecutor) -> None:
        """The reader thread: decode, choose the frames of the grid, queue them."""
        try:
            self._decode(pool)
            self._put(_End(None))
        except _Stopped:
            return
        except BaseException as error:  # the caller's thread raises it
            self._put(_End(error), force=True)

    def _decode(self, pool: DaemonExecutor) -> None:
        batches = FrameBatches(self._frame_hz, self._recording.start_us, self._turn)
        sound: list[Samples] = []
        for item in self._recording:
            if self._stop.is_set():
                raise _Stopped
            match item:
                case Frame():
                    if self._perceiver is not None:
                        self._perceive(pool, batches.push(item))
                case Samples():
                    sound = self._join_sound(sound, item)
                case Cue():
                    self._put(item)
                case Bound(MediaKind.VIDEO):
                    if self._ranges is not None:
                        self._take(self._ranges, item.t_us)
                    elif self._perceiver is not None:
                        last = item.t_us == FOREVER_US
                        end_us = self._recording.end_us
                        decided = batches.flush(end_us) if last else batches.advance(item.t_us)
                        self._perceive(pool, decided)
                    # Before the end, grid points that are decided without a frame say as much.
                    if item.t_us == FOREVER_US or not self._has_pictures:
                        self._put(item)
                case Bound():
                    self._flush_sound(sound)
                    sound = []
                    self._put(item)
        self._flush_sound(sound)
        self._perceive(pool, batches.rest())

    def _perceive(self, pool: DaemonExecutor, batches: Sequence[FrameBatch]) -> None:
        """Let the threads perceive `batches`, and queue their results."""
        for batch in batches:
            while not self._free_batches.acquire(timeout=0.1):
                if self._stop.is_set():
                    raise _Stopped
            assert self._perceiver is not None
            if batch.turned is not None:
                self._put(batch.turned)
            self._put(_Batch(batch, pool.submit(self._perceiver.perceive, batch.frames)))

    def _take(self, ranges: RangePool, t_us: int) -> None:
        """Queue what other processes have perceived up to `t_us`."""
        for item in ranges.until(t_us):
            if isinstance(item, RangeEnd) and isinstance(self._recording, Recording):
                self._recording.add_pictures(item.frames, item.reached_us, item.stats)
            elif isinstance(item, Observed | Turned):
                stop = first_point(self._recording.end_us, self._frame_hz)
                self._put(item.before(stop) if isinstance(item, Observed) and item.last else item)

    def _join_sound(self, sound: list[Samples], item: Samples) -> list[Samples]:
        """Add a run to those that it continues; queue them once they are half a second long."""
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
    """The consumer has stopped; the reader thread ends."""
