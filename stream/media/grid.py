"""Sampling frames on an absolute grid of media time.

Grid point k lies at k / `frame_hz` seconds from the start of the recording, whatever its frame rate. Each
point gets the newest frame at or before it, or none where that frame is older than one grid step. Every
point is decided once, in order, however frames and bounds are cut into calls. Most frames serve no point
and are never converted.
"""

from __future__ import annotations

from dataclasses import dataclass

from affectstream.stream.media.types import FOREVER_US, Frame


@dataclass(frozen=True, slots=True, eq=False)
class GridFrame:
    """The frame that serves all of `points`; None where there is no frame for them."""

    points: range
    frame: Frame | None


def time_of_point(point: int, frame_hz: int) -> int:
    """The time of a grid point in microseconds, to the nearest."""
    return (2_000_000 * point + frame_hz) // (2 * frame_hz)


def first_point(t_us: int, frame_hz: int) -> int:
    """The first grid point at or after `t_us`."""
    point = max(0, t_us * frame_hz // 1_000_000)
    while time_of_point(point, frame_hz) < t_us:
        point += 1
    return point


class GridSampler:
    """Push frames in order of time; get those that serve grid points.

    `frame_hz` is the number of grid points a second; the first point is the first at or after `start_us`.
    Each point is looked at `offset_us` after its time: live sources want newer frames than recordings.
    A frame is returned once, with all its points, so that it is encoded once. Only where `advance` falls
    between two points of a frame, the frame is returned for each.
    """

    def __init__(self, frame_hz: int, start_us: int = 0, offset_us: int = 0) -> None:
        if frame_hz < 1:
            raise ValueError(f"frame_hz must be at least 1, found {frame_hz}")
        self._hz, self._offset_us = frame_hz, offset_us
        self._next = first_point(start_us, frame_hz)
        self._frame: Frame | None = None

    def push(self, frame: Frame) -> list[GridFrame]:
        """Decide the points before `frame`. Raises ValueError for a frame that goes back in time."""
        if self._frame is not None and frame.pts_us <= self._frame.pts_us:
            raise ValueError(
                f"frames must go forward: found {frame.pts_us} us after {self._frame.pts_us} us"
            )
        out = self._until(first_point(frame.pts_us - self._offset_us, self._hz))
        self._frame = frame
        return out

    def advance(self, t_us: int) -> list[GridFrame]:
        """Decide the points before `t_us`: no frame earlier than that will come.

        With `FOREVER_US` only the points of the newest frame are decided. `flush` decides the others,
        because it knows where the recording ends.
        """
        if t_us >= FOREVER_US:
            return self._until(self._served().stop)
        return self._until(first_point(t_us - self._offset_us, self._hz))

    def flush(self, end_us: int) -> list[GridFrame]:
        """Decide all points before `end_us`, where the recording ends."""
        return self._until(first_point(end_us, self._hz))

    def _until(self, stop: int) -> list[GridFrame]:
        """Decide the points before `stop`: those that the newest frame serves, and those without a frame."""
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
        """The undecided points that the newest frame serves."""
        if self._frame is None:
            return range(self._next, self._next)
        pts_us = self._frame.pts_us - self._offset_us
        # One microsecond of tolerance, because both times are rounded.
        newest = (pts_us + 1) * self._hz // 1_000_000 + 1
        while (time_of_point(newest, self._hz) - pts_us - 1) * self._hz > 1_000_000:
            newest -= 1
        start = max(self._next, first_point(pts_us, self._hz))
        return range(start, max(start, newest + 1))
