"""One range of a recording: from a key frame before it to the observations of its grid points."""

from __future__ import annotations

import zlib
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import replace

import av

from affectstream.engines.bundle.bundle import Bundle
from affectstream.stream.faces.batches import FrameBatch, FrameBatches
from affectstream.stream.faces.perceive import BATCH, Perceiver
from affectstream.stream.faces.turn import TurnFinder, TurnState
from affectstream.stream.media.decoding.decode import DecodeStats
from affectstream.stream.media.grid import time_of_point
from affectstream.stream.media.opening import conversion_error
from affectstream.stream.media.picture import to_rgb
from affectstream.stream.media.recording import Recording
from affectstream.stream.media.types import FOREVER_US, Bound, Frame, MediaKind
from affectstream.stream.ranges.messages import (
    Message,
    Observed,
    RangeBegun,
    RangeDone,
    RangeEnd,
    RangeJob,
    RangeSettings,
    Seam,
    TurnFound,
)

_SEAM_FRAMES = 4


def perceive_range(bundle: Bundle, settings: RangeSettings, job: RangeJob) -> Iterator[Message]:
    """Yield the messages of one range. Raises `SourceError` if it cannot be read."""
    hz = bundle.manifest.frame_hz
    with Recording.open(
        settings.path,
        start_us=settings.start_us if job.decode_from_us is None else job.decode_from_us,
        end_us=settings.end_us,
        frame_hz=hz,
        max_pixels=settings.max_pixels,
        sound=False,
    ) as recording:
        yield from _Range(bundle, settings, job, recording, hz).messages()


class _Range:
    """The work on one range."""

    def __init__(
        self,
        bundle: Bundle,
        settings: RangeSettings,
        job: RangeJob,
        recording: Recording,
        hz: int,
    ) -> None:
        video = recording.info.video
        assert video is not None
        self._settings, self._recording, self._aspect = settings, recording, video.pixel_aspect
        self._perceiver = Perceiver(bundle, pixel_aspect=video.pixel_aspect)
        finder = self._perceiver.finder
        self._turn = None if finder is None else TurnFinder(finder, self._aspect, job.turn)
        self._turn_state = job.turn
        self._is_first = job.number == 0
        self._first_us = 0 if self._is_first else time_of_point(job.first, hz)
        self._stop_us = FOREVER_US if job.stop is None else time_of_point(job.stop, hz)
        # The sampler begins a batch earlier, to see which frame is the newest at the first point.
        start_us = (
            recording.start_us if self._is_first else time_of_point(max(0, job.first - BATCH), hz)
        )
        self._batches = FrameBatches(hz, start_us, self._turn, (job.first, job.stop))
        self._newest: deque[Frame] = deque(maxlen=_SEAM_FRAMES)
        self._frames = 0
        self._before: DecodeStats | None = DecodeStats() if self._is_first else None
        """The counts when the range began; None before that."""

    def messages(self) -> Iterator[Message]:
        batches, last = list[FrameBatch](), True
        for item in self._recording:
            if isinstance(item, Frame):
                if self._before is None and item.pts_us >= self._first_us:
                    yield self._begin()
                if item.pts_us >= self._stop_us:
                    batches, last = self._batches.push(item), False
                    break
                self._frames += item.pts_us >= self._first_us
                self._newest.append(item)
                yield from self._perceive(self._batches.push(item))
            elif item == Bound(MediaKind.VIDEO, FOREVER_US):
                # Where the recording ends is known to the process that reads the sound.
                batches = self._batches.advance(FOREVER_US)
                break
        if self._before is None:
            yield self._begin()
        yield self._end()
        yield from self._perceive([*batches, *self._batches.rest()], last=last)
        yield RangeDone()

    def _begin(self) -> RangeBegun:
        self._before = replace(self._recording.stats)
        return RangeBegun(self._seam())

    def _end(self) -> RangeEnd:
        assert self._before is not None
        stats = self._recording.stats.since(self._before)
        reached_us = min(self._recording.end_us, self._stop_us)
        return RangeEnd(self._frames, reached_us, self._known_turn(), self._seam(), stats)

    def _perceive(self, batches: Iterable[FrameBatch], *, last: bool = False) -> Iterator[Message]:
        for batch in batches:
            if (known := self._known_turn()) != self._turn_state:
                self._turn_state = known
                yield TurnFound(known)
            if batch.turned is not None:
                yield batch.turned
            try:
                found = iter(self._perceiver.perceive(batch.frames))
            except av.FFmpegError as exc:
                raise conversion_error(self._settings.path, exc) from exc
            yield Observed(
                tuple(
                    (one.points, None if one.frame is None else next(found))
                    for one in batch.grid_frames
                ),
                last,
            )

    def _known_turn(self) -> TurnState:
        return TurnState(None, 0) if self._turn is None else self._turn.state

    def _seam(self) -> Seam:
        return tuple(
            (frame.pts_us, zlib.crc32(to_rgb(frame, pixel_aspect=self._aspect).tobytes()))
            for frame in self._newest
        )
