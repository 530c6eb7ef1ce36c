"""A recording, or a part of it, as crops and sound for training, decoded as in serving."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from affectstream.stream.media.picture import to_rgb
from affectstream.stream.media.recording import Recording
from affectstream.stream.media.types import Frame, Samples, sample_at
from affectstream.stream.windowing.sound_timeline import SoundTimeline
from affectstream.train.data.reading.crops import Cropper
from affectstream.train.data.reading.reader import RATE_HZ, JobResult, Options, Warned
from affectstream.train.data.sample import Sample


@dataclass(slots=True, eq=False)
class Clip:
    """Crops and sound of a part of a recording.

    `crops` (T, S, S, 3) uint8 with `times_us` (T,) from the start of the part, None if no frame has a
    face; `frames_seen` frames were searched, None without video. `audio` (n,) float32, None without
    sound. `damage` says how the file is damaged, None if it is not. `end_us` is where the part ends,
    on the clock of the recording.
    """

    end_us: int
    crops: NDArray[np.uint8] | None = None
    times_us: NDArray[np.int64] | None = None
    frames_seen: int | None = None
    audio: NDArray[np.float32] | None = None
    damage: str | None = None

    def add_to(self, sample: Sample) -> None:
        """Give `sample` the crops and the sound."""
        sample.crops, sample.crop_times_us = self.crops, self.times_us
        sample.audio, sample.frames_seen = self.audio, self.frames_seen


def clip_sample(
    sample: Sample, path: Path, cropper: Cropper, options: Options
) -> Iterator[JobResult]:
    """`sample` with the crops and the sound of a whole recording. Raises `SourceError`."""
    clip = read_clip(path, cropper, options)
    sample.start_us, sample.end_us = 0, clip.end_us
    clip.add_to(sample)
    if clip.damage:
        yield Warned(path.name, "damaged", clip.damage)
    yield sample


def read_clip(
    path: Path,
    cropper: Cropper,
    options: Options,
    *,
    start_us: int = 0,
    end_us: int | None = None,
    longest_us: int | None = None,
) -> Clip:
    """Crops at the `picture_times` of a part, and all its sound.

    The part ends at `end_us`, by default with the recording, and is at most `longest_us` long. Each
    picture is the newest at or before its time, as in serving. Raises `SourceError` naming the file.
    """
    if end_us is None:
        end_us = _duration_us(path)
    if longest_us is not None:
        end_us = min(end_us, start_us + longest_us)
    clip, sound = Clip(end_us), SoundTimeline(capacity=sys.maxsize)
    with Recording.open(path, start_us=start_us, end_us=max(end_us, start_us + 1)) as recording:
        video = recording.info.video

        def pictures() -> Iterator[tuple[int, NDArray[np.uint8]]]:
            for item in _newest_before(recording, picture_times(options, start_us, end_us)):
                if isinstance(item, Samples):
                    sound.push(item)
                elif video is not None:
                    yield item.pts_us - start_us, to_rgb(item, pixel_aspect=video.pixel_aspect)

        cut = list(cropper.cut_each(pictures()))
        clip.damage = recording.stats.ended_early or recording.stats.first_error
    if video is not None:
        clip.frames_seen = len(cut)
    faces = [(time_us, crop) for time_us, crop in cut if crop is not None]
    if faces:
        clip.times_us = np.asarray([time_us for time_us, _ in faces], np.int64)
        clip.crops = np.stack([crop for _, crop in faces])
    first = sample_at(start_us)
    if sound.end > first:
        clip.audio = sound.window(first, sound.end)[:, 0]
    return clip


def picture_times(options: Options, start_us: int, end_us: int) -> Iterator[int]:
    """The times of the pictures of a part [start, end): on a grid from its start on, as serving takes them.

    With `Options.frames` they are the middles of so many equal parts instead.
    """
    if options.frames is not None:
        yield from middles(start_us, end_us, options.frames)
        return
    step_us = 1_000_000 / (options.rate or RATE_HZ)
    for number in itertools.count():
        time_us = start_us + round(number * step_us)
        if time_us >= end_us:
            return
        yield time_us


def middles(start_us: int, end_us: int, count: int) -> list[int]:
    """The middles of `count` equal parts of [start, end)."""
    return [start_us + (2 * i + 1) * (end_us - start_us) // (2 * count) for i in range(count)]


def _newest_before(recording: Recording, times_us: Iterator[int]) -> Iterator[Frame | Samples]:
    """All sound, and the newest frame at or before each time, each frame once."""
    newest: Frame | None = None
    due_us = next(times_us, None)
    for item in recording:
        if isinstance(item, Samples):
            yield item
        elif isinstance(item, Frame):
            if due_us is not None and newest is not None and item.pts_us > due_us:
                yield newest
            while due_us is not None and item.pts_us > due_us:
                due_us = next(times_us, None)
            newest = item
    if due_us is not None and newest is not None:
        yield newest


def _duration_us(path: Path) -> int:
    """As the file states it; a file that does not is read to its end."""
    with Recording.open(path) as recording:
        if recording.info.duration_us is not None:
            return recording.info.duration_us
        for _ in recording:
            pass
        return recording.end_us
