"""From the frames of a recording to the batches that are perceived: chosen and cut on the grid, upright.

A batch holds the frames of `BATCH` grid points, counted from the start of the recording. So a range of a
recording has the same batches whether it is read alone or with all that comes before.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from affectstream.stream.faces.perceive import BATCH
from affectstream.stream.faces.turn import TurnFinder
from affectstream.stream.media.grid import GridFrame, GridSampler
from affectstream.stream.media.types import RIGHT_ANGLES, Frame


@dataclass(frozen=True, slots=True)
class Turned:
    """From `t_us` on pictures are turned by `quarters` quarter turns counterclockwise."""

    t_us: int
    quarters: int


@dataclass(frozen=True, slots=True, eq=False)
class FrameBatch:
    """Frames of the grid in order; some grid points have no frame."""

    grid_frames: tuple[GridFrame, ...]
    turned: Turned | None = None
    """Where this batch showed that the recording lies on its side."""

    @property
    def frames(self) -> list[Frame]:
        """The frames to perceive."""
        return [one.frame for one in self.grid_frames if one.frame is not None]


class FrameBatches:
    """Push frames in order of time; get the batches that are complete. See `GridSampler` for the methods."""

    def __init__(
        self,
        frame_hz: int,
        start_us: int = 0,
        turn: TurnFinder | None = None,
        points: tuple[int, int | None] = (0, None),
    ) -> None:
        """`turn` decides whether pictures are turned; None: they are not.

        `points` are the first grid point that counts and the first that does not. A frame with several points
        counts by its first, so that it is in one range only.
        """
        self._grid = GridSampler(frame_hz, start_us)
        self._turn = turn
        self._first, self._stop = points
        self._waiting: list[GridFrame] = []

    def push(self, frame: Frame) -> list[FrameBatch]:
        """The batches that are complete with `frame`."""
        return self._complete(self._grid.push(frame))

    def advance(self, t_us: int) -> list[FrameBatch]:
        """The batches that are complete because no frame earlier than `t_us` will come."""
        return self._complete(self._grid.advance(t_us))

    def flush(self, end_us: int) -> list[FrameBatch]:
        """All batches before `end_us`, where the recording ends, and what is left."""
        return self._complete(self._grid.flush(end_us)) + self.rest()

    def rest(self) -> list[FrameBatch]:
        """The frames of an unfinished batch."""
        waiting, self._waiting = self._waiting, []
        return [self._upright(waiting)] if waiting else []

    def _complete(self, decided: Sequence[GridFrame]) -> list[FrameBatch]:
        batches: list[FrameBatch] = []
        for one in decided:
            if not self._counts(one):
                continue
            if self._waiting and _number(one) != _number(self._waiting[0]):
                batches += self.rest()
            self._waiting.append(one)
            if one.points.stop // BATCH > _number(self._waiting[0]):
                batches += self.rest()
        return batches

    def _counts(self, one: GridFrame) -> bool:
        start = one.points.start
        return start >= self._first and (self._stop is None or start < self._stop)

    def _upright(self, grid_frames: Sequence[GridFrame]) -> FrameBatch:
        """A batch, turned if the first faces of the recording lie on their side."""
        batch, turn = FrameBatch(tuple(grid_frames)), self._turn
        if turn is None:
            return batch
        turned: Turned | None = None
        if turn.quarters is None:
            frames = batch.frames
            turn.push(frames)
            if turn.quarters:
                turned = Turned(frames[0].pts_us, turn.quarters)
        if not turn.quarters:
            return batch
        rotation = RIGHT_ANGLES[turn.quarters]
        return FrameBatch(
            tuple(
                one
                if one.frame is None
                else replace(one, frame=replace(one.frame, rotation=rotation))
                for one in batch.grid_frames
            ),
            turned,
        )


def _number(one: GridFrame) -> int:
    """The number of its batch."""
    return one.points.start // BATCH
