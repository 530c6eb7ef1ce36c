"""Which frames are looked at: the newest one at each point of an absolute grid of media time.

Grid point k lies at k / `frame_hz` seconds from the start of the recording, whatever the frame rate.
Every point is settled exactly once, in order: with the newest frame at or before it, or as missing
when that frame is older than one grid step. How frames and bounds are cut into calls makes no
difference to that. Most frames serve no point and are never converted.
"""

from __future__ import annotations

from dataclasses import dataclass

from affectstream.stream.media.types import FOREVER_US, Frame


@dataclass(frozen=True, slots=True, eq=False)
class GridFrame:
    """The frame that serves all of `points`, or None where the grid has no frame."""

    points: range
    frame: Frame | None


def time_of_point(point: int, frame_hz: int) -> int:
    """When a grid point is, in microseconds (to the nearest)."""
    return (2_000_000 * point + frame_hz) // (2 * frame_hz)


def first_point(t_us: int, frame_hz: int) -> int:
    """The first grid point at or after `t_us`."""
    point = max(0, t_us * frame_hz // 1_000_000)
    while time_of_point(point, frame_hz) < t_us:
        point += 1
    return point


class GridSampler:
    """Push frames in order of time; get those that are needed, with their grid points.

    `frame_hz` is the number of grid points a second; the first point is the first one at or after
    `start_us`. A frame is given once, with all its points, so that it is encoded once; only where
    `advance` falls between two points of one frame it is given for each.
    """

    def __init__(self, frame_hz: int, start_us: int = 0) -> None:
        if frame_hz < 1:
            raise ValueError(f"frame_hz must be at least 1, found {frame_hz}")
        self._hz = frame_hz
        self._next = first_point(start_us, frame_hz)
        self._frame: Frame | None = None

    def push(self, frame: Frame) -> list[GridFrame]:
        """Settle the points before `frame`. Raises ValueError for a frame that goes back."""
        if self._frame is not None and frame.pts_us <= self._frame.pts_us:
            raise ValueError(
                f"frames must go forward: found {frame.pts_us} us after {self._frame.pts_us} us"
            )
        out = self._until(first_point(frame.pts_us, self._hz))
        self._frame = frame
        return out

    def advance(self, t_us: int) -> list[GridFrame]:
        """Settle the points before `t_us`: no frame earlier than that will come.

        With `FOREVER_US` only the points of the newest frame are settled: where the recording ends,
        and with it how many points are missing, is told by `flush`.
        """
        if t_us >= FOREVER_US:
            return self._until(self._served().stop)
        return self._until(first_point(t_us, self._hz))

    def flush(self, end_us: int) -> list[GridFrame]:
        """Settle all points before `end_us`, where the recording ends."""
        return self._until(first_point(end_us, self._hz))

    def _until(self, stop: int) -> list[GridFrame]:
        """Settle the points before `stop`: those that the newest frame serves, then missing ones."""
        if stop <= self._next:
            return []
        served = self._served()
        out: list[GridFrame] = []
        for points, frame in (
            (range(self._next, min(stop, served.start)), None),
            (range(served.start, min(stop, served.stop)), self._frame),
            (range(max(self._next, served.stop), stop), None),
        ):
            if points:
                out.append(GridFrame(points, frame))
        self._next = stop
        return out

    def _served(self) -> range:
        """The open points that the newest frame is at or before, and not too old for."""
        if self._frame is None:
            return range(self._next, self._next)
        pts_us = self._frame.pts_us
        # One microsecond of grace: both times are rounded.
        newest = (pts_us + 1) * self._hz // 1_000_000 + 1
        while (time_of_point(newest, self._hz) - pts_us - 1) * self._hz > 1_000_000:
            newest -= 1
        start = max(self._next, first_point(pts_us, self._hz))
        return range(start, max(start, newest + 1))
