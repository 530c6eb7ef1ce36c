"""Which live frames are looked at: the grid of `stream.grid`, thinned where a machine is slow."""

from __future__ import annotations

from affectstream.stream.live.queue.mailbox import Look
from affectstream.stream.media.grid import GridFrame, GridSampler, time_of_point
from affectstream.stream.media.types import Frame


def rates_of(frame_hz: int, hop_us: int) -> tuple[int, ...]:
    """The rates at which frames can be looked at, highest first: whole parts of a hop's points."""
    points = frame_hz * hop_us // 1_000_000
    return tuple(frame_hz // step for step in range(1, points + 1) if points % step == 0)


class LiveGrid:
    """Frames in, looks at grid points out; every point is settled once and in order.

    At a rate below `frame_hz` a frame stands for its own point and the one after it, as a frame of a
    slower camera would, and further points have none.
    """

    def __init__(self, frame_hz: int, start_us: int) -> None:
        self._frame_hz = frame_hz
        self._sampler = GridSampler(frame_hz, start_us)
        self._newest_us: int | None = None
        self._settled: int | None = None
        self._start_us = start_us
        self.rate_hz = frame_hz
        """Frames a second that are looked at; may be set at any time to one of `rates_of`."""
        self.backwards = 0
        """Frames that were refused because their time did not go forward."""
        self.late = 0
        """Frames that came after their points had been given up."""

    @property
    def reached_us(self) -> int:
        """Every point before this is settled."""
        if self._settled is None:
            return self._start_us
        return time_of_point(self._settled, self._frame_hz)

    def push(self, frame: Frame, arrived_s: float) -> list[Look]:
        """Settle the points before `frame`."""
        if self._newest_us is not None and frame.pts_us <= self._newest_us:
            self.backwards += 1
            return []
        self._newest_us = frame.pts_us
        self.late += frame.pts_us < self.reached_us - 1_000_000 // self._frame_hz
        return self._thinned(self._sampler.push(frame), arrived_s)

    def settle(self, t_us: int, arrived_s: float) -> list[Look]:
        """Settle the points before `t_us`: no earlier frame is waited for."""
        return self._thinned(self._sampler.advance(t_us), arrived_s)

    def flush(self, end_us: int, arrived_s: float) -> list[Look]:
        """Settle all points before `end_us`, where the source ends."""
        return self._thinned(self._sampler.flush(end_us), arrived_s)

    def _thinned(self, sampled: list[GridFrame], arrived_s: float) -> list[Look]:
        looks: list[Look] = []
        step = self._frame_hz // self.rate_hz
        for one in sampled:
            points = range(max(one.points.start, self._settled or 0), one.points.stop)
            if not points:
                continue
            if one.frame is None or step == 1:
                looks.append(Look(points, one.frame, arrived_s))
                self._settled = points.stop
                continue
            block = (points.start // step + 1) * step
            served = min(block, points.start + 2)
            looks.append(Look(range(points.start, served), one.frame, arrived_s))
            rest = range(served, max(block, points.stop))
            if rest:
                looks.append(Look(rest, None, arrived_s))
            self._settled = rest.stop
        return looks
