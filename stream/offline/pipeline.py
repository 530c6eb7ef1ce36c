"""The threads that score a recording: one reads, several perceive in parallel, one puts results in order.

    reader ──► batches ──► perceive (a few threads) ──┐
       └─────► sound, bounds ─────────────────────────┴──► interpret (the caller's thread)

One bounded queue holds sound and batches of frames (as futures) in the order of the file. So nothing is
dropped or overtaken, and memory does not depend on the length of the recording.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace

import av
import numpy as np

from affectstream.engines.bundle.bundle import Bundle
from affectstream.engines.daemon_executor import DaemonExecutor
from affectstream.stream.errors import SourceError
from affectstream.stream.faces.face import FrameObservation
from affectstream.stream.faces.perceive import BATCH, Perceiver
from affectstream.stream.faces.turn import TurnFinder
from affectstream.stream.media.grid import GridFrame, GridSampler
from affectstream.stream.media.opening import error_text
from affectstream.stream.media.recording import Recording
from affectstream.stream.media.types import (
    FOREVER_US,
    RIGHT_ANGLES,
    SAMPLE_RATE,
    Bound,
    Cue,
    Frame,
    MediaKind,
    Samples,
)
from affectstream.stream.offline.pushed_media import PushedMedia
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
    """Frames of the grid in order; some grid points have no frame."""

    grid_frames: tuple[GridFrame, ...]
    observations: Future[list[FrameObservation]]


@dataclass(frozen=True, slots=True)
class _End:
    error: BaseException | None


@dataclass(frozen=True, slots=True)
class _Turned:
    """From `t_us` on pictures are turned by `quarters` quarter turns counterclockwise."""

    t_us: int
    quarters: int


_Item = _Batch | Samples | Cue | Bound | _Turned | _End


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
    ) -> None:
        self._recording = recording
        self._interpreter = interpreter
        self._threads = max(1, threads)
        self._frame_hz = bundle.manifest.frame_hz
        video = recording.info.video
        self._perceiver: Perceiver | None = None
        if video is not None and "video" in interpreter.modalities:
            self._perceiver = Perceiver(bundle, pixel_aspect=video.pixel_aspect)
        self._turn: TurnFinder | None = None
        """Of a recording, as long as its turn is undecided or is not none."""
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
            reader.join(_JOIN_TIMEOUT_S)
            pool.shutdown(wait=False, cancel_futures=True)
            pool.join(_JOIN_TIMEOUT_S)

    def _interpret(self) -> Iterator[HopResult]:
        if self._perceiver is None:  # sound must not wait for video that is not used
            yield from self._interpreter.push_bound(Bound(MediaKind.VIDEO, FOREVER_US))
        while True:
            item = self._queue.get()
            match item:
                case _Batch():
                    observations = iter(self._result(item.observations))
                    self._free_batches.release()
                    for one in item.grid_frames:
                        observation = None if one.frame is None else next(observations)
                        yield from self._interpreter.push_frame(one.points, observation)
                case _Turned():
                    degrees = 90 * item.quarters
                    yield self._interpreter.warn(
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
            path, reason = self._recording.path, error_text(exc)
            raise SourceError(f"{path}: a picture cannot be converted to RGB: {reason}") from exc

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
                    sound = self._join_sound(sound, item)
                case Cue():
                    self._put(item)
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
        self, pool: DaemonExecutor, frames: list[GridFrame], *, partial: bool = False
    ) -> list[GridFrame]:
        """Queue full batches, with `partial` also the rest; return the frames that are left."""
        while frames and (partial or len(frames) >= BATCH):
            batch, frames = self._upright(frames[:BATCH]), frames[BATCH:]
            while not self._free_batches.acquire(timeout=0.1):
                if self._stop.is_set():
                    raise _Stopped
            assert self._perceiver is not None
            pictures = [one.frame for one in batch if one.frame is not None]
            self._put(_Batch(batch, pool.submit(self._perceiver.perceive, pictures)))
        return frames

    def _upright(self, batch: Sequence[GridFrame]) -> tuple[GridFrame, ...]:
        """The frames of a batch, turned if the first faces of the recording lie on their side."""
        if self._turn is None:
            return tuple(batch)
        if self._turn.quarters is None:
            frames = [one.frame for one in batch if one.frame is not None]
            self._turn.push(frames)
            if self._turn.quarters:
                self._put(_Turned(frames[0].pts_us, self._turn.quarters))
        if self._turn.quarters == 0:
            self._turn = None
        if self._turn is None or self._turn.quarters is None:
            return tuple(batch)
        rotation = RIGHT_ANGLES[self._turn.quarters]
        return tuple(
            one if one.frame is None else replace(one, frame=replace(one.frame, rotation=rotation))
            for one in batch
        )

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
