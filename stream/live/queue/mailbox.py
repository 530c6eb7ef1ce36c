"""What waits for the worker: few pictures, the newest of which win, and seconds of sound.

Pure and without a lock; its owner has one.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace

import av

from affectstream.stream.media.types import Bound, Frame


@dataclass(frozen=True, slots=True, eq=False)
class Look:
    """A frame for `points` of the grid (None: they have none), settled at `arrived_s`."""

    points: range
    frame: Frame | None
    arrived_s: float


@dataclass(frozen=True, slots=True, eq=False)
class Heard:
    """A frame of sound that begins at `t_us`."""

    sound: av.AudioFrame
    t_us: int
    arrived_s: float


@dataclass(frozen=True, slots=True)
class Silence:
    """A promise that was made because nothing came: the tolerance ran out at `arrived_s`."""

    bound: Bound
    arrived_s: float


class PictureBox:
    """At most `most` pictures. One more, and the oldest is given up: its points have no frame then.

    Every point comes out once and in order whatever happens, because the aligner has to be told of
    each; points without a frame that follow each other are told together.
    """

    def __init__(self, most: int) -> None:
        if most < 1:
            raise ValueError(f"a picture box holds at least 1 picture, found {most}")
        self._most = most
        self._waiting: deque[Look] = deque()
        self.dropped = 0
        """Pictures that were given up so far."""

    def __len__(self) -> int:
        """Pictures that wait."""
        return sum(look.frame is not None for look in self._waiting)

    def put(self, look: Look) -> None:
        """Add points after all earlier ones."""
        self._waiting.append(look)
        if len(self) > self._most:
            oldest = next(i for i, one in enumerate(self._waiting) if one.frame is not None)
            self._waiting[oldest] = replace(self._waiting[oldest], frame=None)
            self.dropped += 1
        self._join()

    def take(self) -> Look | None:
        """The oldest that waits."""
        return self._waiting.popleft() if self._waiting else None

    def _join(self) -> None:
        joined: deque[Look] = deque()
        for look in self._waiting:
            before = joined[-1] if joined else None
            if before is not None and before.frame is None and look.frame is None:
                joined[-1] = Look(
                    range(before.points.start, look.points.stop), None, look.arrived_s
                )
            else:
                joined.append(look)
        self._waiting = joined


class SoundBox:
    """At most `most_us` of sound. More, and the oldest is given up, which leaves a hole."""

    def __init__(self, most_us: int) -> None:
        self._most_us = most_us
        self._waiting: deque[Heard | Silence] = deque()
        self._held_us = 0
        self.dropped = 0
        """Frames of sound that were given up so far."""

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, item: Heard | Silence) -> None:
        """Add sound, or a promise that none will come, after all earlier ones."""
        self._waiting.append(item)
        self._held_us += _length_us(item)
        while self._held_us > self._most_us:
            gone = self._waiting.popleft()
            self._held_us -= _length_us(gone)
            self.dropped += isinstance(gone, Heard)

    def take(self) -> Heard | Silence | None:
        """The oldest that waits."""
        if not self._waiting:
            return None
        item = self._waiting.popleft()
        self._held_us -= _length_us(item)
        return item


def _length_us(item: Heard | Silence) -> int:
    if isinstance(item, Silence):
        return 0
    return item.sound.samples * 1_000_000 // max(1, item.sound.sample_rate)
