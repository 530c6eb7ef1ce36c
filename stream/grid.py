"""Frames on an absolute grid of media time: which frame stands for the point k / frame_hz.

A point takes the newest frame at or before it. A frame older than one grid step counts as missing. A
frame that serves several points is given once, with all of them, so that it is encoded once.
"""

from __future__ import annotations

from dataclasses import dataclass

from affectstream.stream.media import Frame


@dataclass(frozen=True, slots=True, eq=False)
class Sampled:
    """Grid points that follow each other, and the frame that stands for them (None: missing)."""

    points: tuple[int, ...]
    frame: Frame | None


class GridSampler:
    """Chooses frames for the points at or after `start_us`. Times must go forward.

    Every point comes out exactly once and in order, however the frames and promises arrive.
    """

    def __init__(self, frame_hz: int, start_us: int = 0) -> None:
        if frame_hz < 1:
            raise ValueError(f"frame_hz must be at least 1, found {frame_hz}")
        self._hz = frame_hz
        self._next = -(-start_us * frame_hz // 1_000_000)
        self._held: Frame | None = None

    def push(self, frame: Frame) -> list[Sampled]:
        """The points before `frame`, which are settled now that it has come."""
        if self._held is not None and frame.pts_us <= self._held.pts_us:
            raise ValueError(
                f"times must go forward: {frame.pts_us} us came after {self._held.pts_us} us"
            )
        out = self.settle(frame.pts_us)
        self._held = frame
        return out

    def settle(self, t_us: int) -> list[Sampled]:
        """The points earlier than `t_us`, before which no further frame will come."""
        served: list[int] = []
        missing: list[int] = []
        while self._next * 1_000_000 < t_us * self._hz:
            (served if self._serves(self._next) else missing).append(self._next)
            self._next += 1
        # A held frame only gets older: the points that it serves come before those it does not.
        out = [Sampled(tuple(served), self._held)] if served else []
        return out + [Sampled((point,), None) for point in missing]

    def finish(self) -> list[Sampled]:
        """The points that the last frame still stands for. After it there is no video."""
        if self._held is None:
            return []
        return self.settle(self._held.pts_us + 1_000_000 // self._hz)

    def _serves(self, point: int) -> bool:
        """Whether the held frame is at or before the point and less than a step older."""
        if self._held is None:
            return False
        age = point * 1_000_000 - self._held.pts_us * self._hz
        return 0 <= age < 1_000_000
