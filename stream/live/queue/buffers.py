"""The bounded buffers of the live queue: a few frames, and seconds of sound. The newest win.

Plain data structures without a lock: their owner has one.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace

import av

from affectstream.stream.live.queue.tolerance import Deadline
from affectstream.stream.media.types import Frame


@dataclass(frozen=True, slots=True, eq=False)
class VideoItem:
    """The frame for `points` of the grid, None if they have no frame; complete at `arrived_s`."""

    points: range
    frame: Frame | None
    arrived_s: float


@dataclass(frozen=True, slots=True, eq=False)
class AudioItem:
    """A decoded frame of sound that begins at `t_us`."""

    sound: av.AudioFrame
    t_us: int
    arrived_s: float

    @property
    def duration_us(self) -> int:
        """How long the sound is."""
        return self.sound.samples * 1_000_000 // max(1, self.sound.sample_rate)


class VideoBuffer:
    """Holds at most `max_frames` frames. One more drops the oldest: its points then have no frame.

    Every point comes out once and in order, dropped or not, because the windows need each of them.
    Consecutive points without a frame are joined into one item.
    """

    def __init__(self, max_frames: int) -> None:
        if max_frames < 1:
            raise ValueError(f"a video buffer holds at least 1 frame, found {max_frames}")
        self._max_frames = max_frames
        self._items: deque[VideoItem] = deque()
        self.dropped = 0
        """Frames dropped so far."""

    def __len__(self) -> int:
        """The number of waiting frames."""
        return sum(item.frame is not None for item in self._items)

    def push(self, item: VideoItem) -> None:
        """Add points after all earlier ones."""
        self._items.append(item)
        if len(self) > self._max_frames:
            oldest = next(i for i, one in enumerate(self._items) if one.frame is not None)
            self._items[oldest] = replace(self._items[oldest], frame=None)
            self.dropped += 1
        self._join()

    def pop(self) -> VideoItem | None:
        """The oldest item; None if the buffer is empty."""
        return self._items.popleft() if self._items else None

    def _join(self) -> None:
        joined: deque[VideoItem] = deque()
        for item in self._items:
            last = joined[-1] if joined else None
            if last is not None and last.frame is None and item.frame is None:
                points = range(last.points.start, item.points.stop)
                joined[-1] = VideoItem(points, None, item.arrived_s)
            else:
                joined.append(item)
        self._items = joined


class AudioBuffer:
    """Holds at most `max_us` of sound. More drops the oldest, which leaves a gap."""

    def __init__(self, max_us: int) -> None:
        self._max_us = max_us
        self._items: deque[AudioItem | Deadline] = deque()
        self._held_us = 0
        self.dropped = 0
        """Frames of sound dropped so far."""

    def __len__(self) -> int:
        return len(self._items)

    def push(self, item: AudioItem | Deadline) -> None:
        """Add sound, or a missed deadline, after all earlier items."""
        self._items.append(item)
        self._held_us += _duration_us(item)
        while self._held_us > self._max_us:
            oldest = self._items.popleft()
            self._held_us -= _duration_us(oldest)
            self.dropped += isinstance(oldest, AudioItem)

    def pop(self) -> AudioItem | Deadline | None:
        """The oldest item; None if the buffer is empty."""
        if not self._items:
            return None
        item = self._items.popleft()
        self._held_us -= _duration_us(item)
        return item


def _duration_us(item: AudioItem | Deadline) -> int:
    return item.duration_us if isinstance(item, AudioItem) else 0
