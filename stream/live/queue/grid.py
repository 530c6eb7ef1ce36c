"""Which live frames are analyzed: those of `media.grid`, fewer of them on a slow machine."""

from __future__ import annotations

from affectstream.stream.live.queue.buffers import VideoItem
from affectstream.stream.media.grid import GridFrame, GridSampler, time_of_point
from affectstream.stream.media.types import Frame

_LEAD_US = 20_000
"""The last frame of a hop is looked at so long before the end of the hop."""


def possible_rates(frame_hz: int, hop_us: int) -> tuple[int, ...]:
    """The possible frame rates, highest first: those that divide the grid points of a hop evenly."""
    points = frame_hz * hop_us // 1_000_000
    return tuple(frame_hz // step for step in range(1, points + 1) if points % step == 0)


def newest_offset_us(frame_hz: int) -> int:
    """How long after its time a grid point may be looked at, so that its hop does not wait for it.

    The last point of a hop lies a whole step before its end. A frame of `_LEAD_US` before the end is analyzed
    while the last sound of the hop is still on its way.
    """
    return max(0, 1_000_000 // frame_hz - _LEAD_US)


class LiveGrid:
    """Push frames, get items for grid points; every point comes out once and in order.

    At a rate below `frame_hz` a frame serves its own point and the next one, as a frame of a slower
    camera would, and further points have no frame.
    """

    def __init__(
        self, frame_hz: int, start_us: int, rate_hz: int | None = None, offset_us: int = 0
    ) -> None:
        """`offset_us` is that of `GridSampler`."""
        self._frame_hz, self._offset_us = frame_hz, offset_us
        self._sampler = GridSampler(frame_hz, start_us, offset_us)
        self._newest_us: int | None = None
        self._next_point: int | None = None
        self._start_us = start_us
        self.rate_hz = rate_hz or frame_hz
        """Frames a second to analyze; may be set at any time to one of `possible_rates`."""
        self.backwards = 0
        """Frames left out because their time did not increase."""
        self.late = 0
        """Frames that came after the deadline of their points."""

    @property
    def complete_us(self) -> int:
        """Every point before this has come out."""
        if self._next_point is None:
            return self._start_us
        return time_of_point(self._next_point, self._frame_hz)

    def push(self, frame: Frame, arrived_s: float) -> list[VideoItem]:
        """Complete the points before `frame`."""
        if self._newest_us is not None and frame.pts_us <= self._newest_us:
            self.backwards += 1
            return []
        self._newest_us = frame.pts_us
        last_us = self.complete_us - 1_000_000 // self._frame_hz + self._offset_us
        self.late += frame.pts_us < last_us
        return self._thin(self._sampler.push(frame), arrived_s)

    def advance(self, t_us: int, now_s: float) -> list[VideoItem]:
        """Complete the points before `t_us`, without waiting for earlier frames."""
        return self._thin(self._sampler.advance(t_us), now_s)

    def flush(self, end_us: int, now_s: float) -> list[VideoItem]:
        """Complete all points before `end_us`, where the source ends."""
        return self._thin(self._sampler.flush(end_us), now_s)

    def _thin(self, sampled: list[GridFrame], arrived_s: float) -> list[VideoItem]:
        items: list[VideoItem] = []
        step = self._frame_hz // self.rate_hz
        for one in sampled:
            points = range(max(one.points.start, self._next_point or 0), one.points.stop)
            if not points:
                continue
            if one.frame is None or step == 1:
                items.append(VideoItem(points, one.frame, arrived_s))
                self._next_point = points.stop
                continue
            block = (points.start // step + 1) * step
            served = min(block, points.start + 2)
            items.append(VideoItem(range(points.start, served), one.frame, arrived_s))
            rest = range(served, max(block, points.stop))
            if rest:
                items.append(VideoItem(rest, None, arrived_s))
            self._next_point = rest.stop
        return items
