"""A recording, or a part of it, as crops and sound for training; decoded by the code that serves."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from affectstream.stream.media.picture import to_rgb
from affectstream.stream.media.recording import Recording
from affectstream.stream.media.types import Frame, Samples, sample_at
from affectstream.stream.windowing.sound_timeline import SoundTimeline
from affectstream.train.data.prepare.crops import Cropper

TOGETHER = 4
"""Pictures converted and searched for faces at a time."""


@dataclass(slots=True, eq=False)
class Clip:
    """What was taken from a recording.

    `crops` (T, S, S, 3) uint8 with `times_us` (T,) from the start of the part, None where no frame
    has a face; `frames_seen` of them were looked at, None without video. `audio` (n,) float32, None
    without sound. `trouble` says where the file is damaged, if it is.
    """

    crops: NDArray[np.uint8] | None = None
    times_us: NDArray[np.int64] | None = None
    frames_seen: int | None = None
    audio: NDArray[np.float32] | None = None
    trouble: str | None = None
    end_us: int = 0
    """Where the part ends, on the recording's clock."""


@dataclass(slots=True, eq=False)
class Gathered:
    """Crops with their times, a few pictures at a time."""

    cropper: Cropper
    crops: list[NDArray[np.uint8]] = field(default_factory=list)
    times_us: list[int] = field(default_factory=list)
    seen: int = 0
    _waiting: list[tuple[int, NDArray[np.uint8]]] = field(default_factory=list)

    def push(self, time_us: int, rgb: NDArray[np.uint8]) -> None:
        """Take one picture."""
        if self._waiting and self._waiting[0][1].shape != rgb.shape:
            self.flush()
        self._waiting.append((time_us, rgb))
        if len(self._waiting) >= TOGETHER:
            self.flush()

    def flush(self) -> None:
        """Cut what waits."""
        cut = self.cropper.cut([rgb for _, rgb in self._waiting])
        for (time_us, _), crop in zip(self._waiting, cut, strict=True):
            if crop is not None:
                self.crops.append(crop)
                self.times_us.append(time_us)
        self.seen += len(self._waiting)
        self._waiting.clear()


def spread(start_us: int, end_us: int, count: int) -> list[int]:
    """`count` times in the middle of equal parts of [start, end)."""
    return [start_us + (2 * i + 1) * (end_us - start_us) // (2 * count) for i in range(count)]


def read_clip(
    path: Path,
    cropper: Cropper,
    *,
    frames: int,
    start_us: int = 0,
    end_us: int | None = None,
    longest_us: int | None = None,
) -> Clip:
    """Crops of at most `frames` pictures spread evenly over a part, and all its sound.

    The part ends at `end_us`, or where the recording does, and is at most `longest_us` long. Each
    picture is the newest at or before its time, as in serving. Raises `SourceError` naming the file
    where it cannot be used.
    """
    with Recording.open(path) as recording:
        stated = recording.info.duration_us
    if end_us is None:
        end_us = stated if stated is not None else _end_us(path)
    if longest_us is not None:
        end_us = min(end_us, start_us + longest_us)
    clip, gathered = Clip(end_us=end_us), Gathered(cropper)
    sound = SoundTimeline(capacity=sys.maxsize)
    with Recording.open(path, start_us=start_us, end_us=max(end_us, start_us + 1)) as recording:
        video = recording.info.video
        for item in _chosen(recording, spread(start_us, end_us, frames)):
            if isinstance(item, Samples):
                sound.push(item)
            elif video is not None:
                rgb = to_rgb(item, pixel_aspect=video.pixel_aspect)
                gathered.push(item.pts_us - start_us, rgb)
        gathered.flush()
        clip.trouble = recording.stats.ended_early or recording.stats.first_error
    if video is not None:
        clip.frames_seen = gathered.seen
    if gathered.crops:
        clip.crops = np.stack(gathered.crops)
        clip.times_us = np.asarray(gathered.times_us, np.int64)
    first = sample_at(start_us)
    if sound.end > first:
        clip.audio = sound.window(first, sound.end)[:, 0]
    return clip


def _chosen(recording: Recording, targets: Sequence[int]) -> Iterator[Frame | Samples]:
    """All sound, and the newest frame at or before each target, each frame once."""
    newest: Frame | None = None
    waiting = list(targets)
    for item in recording:
        if isinstance(item, Samples):
            yield item
        elif isinstance(item, Frame):
            if waiting and newest is not None and item.pts_us > waiting[0]:
                yield newest
            while waiting and item.pts_us > waiting[0]:
                waiting.pop(0)
            newest = item
    if waiting and newest is not None:
        yield newest


def _end_us(path: Path) -> int:
    """Where a recording ends that does not say so: read through."""
    with Recording.open(path) as recording:
        for _ in recording:
            pass
        return recording.end_us
