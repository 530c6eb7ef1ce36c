"""A recording, or a part of it, as crops and sound for training, decoded as in serving."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from affectstream.engines.cache.digest import sha256
from affectstream.stream.errors import SourceError
from affectstream.stream.media.picture import to_rgb
from affectstream.stream.media.recording import Recording
from affectstream.stream.media.types import Frame, Samples, sample_at
from affectstream.stream.windowing.sound_timeline import SoundTimeline
from affectstream.train.data.options import RATE_HZ, Options
from affectstream.train.data.reading.crops import Cropper
from affectstream.train.data.reading.reader import Job, Result, Skipped, Warned
from affectstream.train.data.sample import Sample


@dataclass(slots=True, eq=False)
class Clip:
    """A part of a recording, which ends at `end_us` on its clock.

    `crops` (T, S, S, 3) uint8 with `times_us` (T,) from the start of the part, None if no frame has a
    face; `frames_seen` frames were searched, None without video. `audio` (n,) float32, None without
    sound. `damage` says how the file is damaged, None if it is not. `file` is the SHA-256 of the recording.
    """

    end_us: int
    file: str
    crops: NDArray[np.uint8] | None = None
    times_us: NDArray[np.int64] | None = None
    frames_seen: int | None = None
    audio: NDArray[np.float32] | None = None
    damage: str | None = None

    def add_to(self, sample: Sample) -> None:
        """Give `sample` the crops and the sound, and say what recording they are from."""
        sample.files = (self.file,)
        sample.crops, sample.crop_times_us = self.crops, self.times_us
        sample.audio, sample.frames_seen = self.audio, self.frames_seen


def clip_job(
    path: Path,
    word: str,
    sample: Sample,
    words: Mapping[str, str | None],
    options: Options,
    *,
    name: str | None = None,
    skip: str | None = None,
) -> Job:
    """Makes `sample` with the whole recording at `path` and the emotion of `word` among the own `words`
    of the set. Messages call it `name`. It is skipped for the reason `skip`, if there is one."""
    name, vocabulary = name or path.name, options.vocabulary(words)

    def make(cropper: Cropper) -> Iterator[Result]:
        emotion = vocabulary.emotion(word, name)
        if skip is not None:
            yield Skipped(name, skip)
        elif emotion is None:
            yield Skipped(name, "label left out", word)
        elif not path.is_file():
            yield Skipped(name, "no such file", str(path))
        else:
            clip = read_clip(path, cropper, options)
            if clip.damage:
                yield Warned(name, "damaged", clip.damage)
            whole = replace(sample, emotion=emotion, start_us=0, end_us=clip.end_us)
            clip.add_to(whole)
            yield whole

    return Job(name, make)


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
    clip = Clip(end_us, sha256_of(path))
    sound = SoundTimeline(capacity=sys.maxsize)
    with Recording.open(path, start_us=start_us, end_us=max(end_us, start_us + 1)) as recording:
        video = recording.info.video

        def pictures() -> Iterator[tuple[int, NDArray[np.uint8]]]:
            aspect = video.pixel_aspect if video is not None else 1.0
            times_us = picture_times(options, start_us, end_us)
            due_us = next(times_us, None)
            for frame, next_us in frames_with_next(recording, sound.push):
                while due_us is not None and due_us < frame.pts_us:
                    due_us = next(times_us, None)
                if due_us is not None and (next_us is None or due_us < next_us):
                    yield frame.pts_us - start_us, to_rgb(frame, pixel_aspect=aspect)

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


def sha256_of(recording: Path) -> str:
    """SHA-256 of the file of a recording, which is read once although many parts are cut from it. Raises
    `SourceError`."""
    try:
        return _sha256(recording, recording.stat().st_mtime_ns)
    except OSError as error:
        raise SourceError(f"{recording} cannot be read: {error}") from error


@lru_cache(maxsize=64)
def _sha256(recording: Path, changed_ns: int) -> str:
    """`changed_ns` tells a file from another that takes its place."""
    return sha256(recording)


def picture_times(options: Options, start_us: int, end_us: int) -> Iterator[int]:
    """The times of the pictures of a part [start, end): on a grid from its start on, as serving takes them,
    or with `Options.frames` the middles of so many equal parts."""
    if (count := options.frames) is not None:
        whole_us = end_us - start_us
        return (start_us + (2 * i + 1) * whole_us // (2 * count) for i in range(count))
    step_us = 1_000_000 / (options.rate or RATE_HZ)
    grid = (start_us + round(number * step_us) for number in itertools.count())
    return itertools.takewhile(lambda time_us: time_us < end_us, grid)


def frames_with_next(
    recording: Recording, push: Callable[[Samples], None]
) -> Iterator[tuple[Frame, int | None]]:
    """Each frame with the time of the next one (None: of none). Sound on the way goes to `push`."""
    newest: Frame | None = None
    for item in recording:
        if isinstance(item, Samples):
            push(item)
        elif isinstance(item, Frame):
            if newest is not None:
                yield newest, item.pts_us
            newest = item
    if newest is not None:
        yield newest, None


def _duration_us(path: Path) -> int:
    """As the file states it; a file that does not is read to its end."""
    with Recording.open(path) as recording:
        if recording.info.duration_us is not None:
            return recording.info.duration_us
        for _ in recording:
            pass
        return recording.end_us
