"""Interviews with frame-level AFFDEX annotations: iMotions exports and the videos they describe.

A sample is one frame with the nearest annotation; `dialogue` is the recording and `turn` counts its frames.
In training a window holds the frames of several samples: by default they are therefore taken as often as
serving takes them.
"""

from __future__ import annotations

import math
import sys
from bisect import bisect_left
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from affectstream.engines.labels import EMOTIONS
from affectstream.stream.errors import OptionError, SourceError
from affectstream.stream.media.picture import to_rgb
from affectstream.stream.media.recording import Recording
from affectstream.stream.media.types import Frame, Samples, sample_at
from affectstream.stream.windowing.sound_timeline import SoundTimeline
from affectstream.train.data.imotions_export import (
    STRONG,
    Annotation,
    find_layout,
    read_annotations,
)
from affectstream.train.data.options import CROP_OPTIONS, RATE_HZ, Options
from affectstream.train.data.reading.clips import frames_with_next, sha256_of
from affectstream.train.data.reading.crops import Cropper
from affectstream.train.data.reading.export_pairs import Pair, find_pairs
from affectstream.train.data.reading.reader import Job, RawDataset, Reader, Result, Skipped, Warned
from affectstream.train.data.sample import Sample
from affectstream.train.errors import DataError, DataMissing

TOLERANCE_US = 50_000
"""A frame takes the nearest annotation within half the time to the next frame, at most this."""
FACELESS = 0.5
"""With this share of frames without a face a recording gets a warning."""


def find(path: Path, options: Options) -> RawDataset:
    """Every export that has a video. Raises `DataMissing`, `DataError` or `OptionError`."""
    if options.every is not None and options.rate is not None:
        raise OptionError("--every and --rate exclude each other: give one")
    return RawDataset(
        "iMotions AFFDEX exports",
        "not stated",
        [Job(pair.name, partial(_of_pair, pair, options)) for pair in find_pairs(path)],
        notes=(
            f"emotion is the strongest of at least {STRONG:.0%}, else neutral",
            f"nearest annotation within half a frame, at most {TOLERANCE_US // 1000} ms",
        ),
    )


def _of_pair(pair: Pair, options: Options, cropper: Cropper) -> Iterator[Result]:
    try:
        layout = find_layout(pair.export)
        annotations = read_annotations(
            layout, time=options.time, stimulus=options.stimulus, event_source=options.event_source
        )
    except (DataError, DataMissing) as error:
        yield Skipped(pair.name, "export cannot be used", str(error))
        return
    if pair.video is None:
        why = "expected one of the same name, or of the respondent's"
        yield Skipped(pair.name, "no video", why)
        return
    shared = Sample(
        id="",
        recording=pair.name,
        dialogue=pair.name,
        participant=pair.participant or layout.respondent or pair.export.stem,
        age=layout.age,
        gender=layout.gender,
        frames_seen=1,
        files=(sha256_of(pair.video),),
    )
    yield from _samples(pair.video, shared, annotations, options, cropper)


def _samples(
    video: Path,
    shared: Sample,
    annotations: Sequence[Annotation],
    options: Options,
    cropper: Cropper,
) -> Iterator[Result]:
    """The chosen frames of a video with their annotations, a few pictures in memory at a time."""
    offset_us = round(options.offset_ms * 1000)
    times_us = [annotation.time_us + offset_us for annotation in annotations]
    sound = _SoundBefore(options.sound_s)
    unmatched = blank = samples = faceless = 0

    def annotated(recording: Recording) -> Iterator[tuple[Sample, NDArray[np.uint8]]]:
        nonlocal unmatched, blank
        if recording.info.video is None:
            raise SourceError(f"{video}: has no video stream")
        aspect = recording.info.video.pixel_aspect
        for number, frame, gap_us in _chosen(recording, options, sound):
            nearest = _nearest(frame.pts_us, times_us, min(gap_us // 2, TOLERANCE_US))
            if nearest is None:
                unmatched += 1
            elif annotations[nearest].blank:
                blank += 1
            else:
                sample = _sample(shared, number, frame.pts_us, annotations[nearest])
                yield sample, to_rgb(frame, pixel_aspect=aspect)

    with Recording.open(video) as recording:
        waiting: deque[Sample] = deque()
        for sample, crop in cropper.cut_each(annotated(recording)):
            samples += 1
            if crop is None:
                faceless += 1
            else:
                sample.crops, sample.crop_times_us = crop[None], np.zeros(1, np.int64)
            waiting.append(sample)
            while waiting and sound.reaches(waiting[0]):
                yield sound.add_to(waiting.popleft())
        yield from map(sound.add_to, waiting)
        damage = recording.stats.ended_early or recording.stats.first_error
    name = str(shared.recording)
    if unmatched:
        span = f"annotations run from {times_us[0] / 1e6:.1f} to {times_us[-1] / 1e6:.1f} s"
        yield Skipped(name, "no annotation near the frame", span, unmatched)
    if blank:
        yield Skipped(name, "the face sensor saw no face", count=blank)
    if damage:
        yield Warned(name, "video damaged, read as far as it goes", damage)
    if samples and faceless >= FACELESS * samples and cropper.kind != "frame":
        found = f"in {samples - faceless} of {samples} frames: if this is a replay of the screen, "
        yield Warned(name, "hardly any face found", found + "--crop frame takes the whole picture")


class _SoundBefore:
    """Gives samples the sound of the last `seconds` before their frame; 0 gives none."""

    def __init__(self, seconds: float) -> None:
        self._length = sample_at(round(seconds * 1e6))
        self._timeline = SoundTimeline(capacity=sys.maxsize)

    def push(self, samples: Samples) -> None:
        if self._length:
            self._timeline.push(samples)

    def reaches(self, sample: Sample) -> bool:
        """Whether all sound before the frame of `sample` has been pushed."""
        return not self._length or self._timeline.end >= sample_at(sample.end_us or 0)

    def add_to(self, sample: Sample) -> Sample:
        """`sample` with its sound, silence where the recording has none; samples come in order."""
        end = sample_at(sample.end_us or 0)
        start = end - self._length
        first = max(0, start)
        if self._length and min(end, self._timeline.end) > first:
            sample.audio = np.zeros(self._length, np.float32)
            sample.audio[first - start :] = self._timeline.window(first, end)[:, 0]
            self._timeline.forget(first)
        return sample


def _chosen(
    recording: Recording, options: Options, sound: _SoundBefore
) -> Iterator[tuple[int, Frame, int]]:
    """Every Nth frame, or the newest at or before each point of a grid from 0 on, as in serving; numbered,
    each with the time to the next frame (of the last: the one before). Sound on the way goes to `sound`."""
    step_us = 1e6 / (options.rate or RATE_HZ)
    gap_us, number = 2 * TOLERANCE_US, 0
    for place, (frame, next_us) in enumerate(frames_with_next(recording, sound.push)):
        gap_us = gap_us if next_us is None else next_us - frame.pts_us
        if options.every is not None:
            chosen = place % options.every == 0
        else:
            point_us = round(math.ceil(frame.pts_us / step_us) * step_us)
            chosen = point_us < frame.pts_us + gap_us
        if chosen:
            yield number, frame, gap_us
            number += 1


def _nearest(t_us: int, times_us: Sequence[int], tolerance_us: int) -> int | None:
    """The number of the time nearest to `t_us`, the earlier of two; None beyond the tolerance."""
    at = bisect_left(times_us, t_us)
    near = [i for i in (at - 1, at) if 0 <= i < len(times_us)]
    nearest = min(near, key=lambda i: abs(times_us[i] - t_us))
    return nearest if abs(times_us[nearest] - t_us) <= tolerance_us else None


def _sample(shared: Sample, number: int, t_us: int, annotation: Annotation) -> Sample:
    found, emotion = annotation.intensities, annotation.emotion
    intensities = np.asarray([found.get(name, np.nan) for name in EMOTIONS], np.float32)
    return replace(
        shared,
        id=f"{shared.recording}-{number:06d}",
        turn=number,
        start_us=t_us,
        end_us=t_us,
        emotion=emotion,
        intensity=None if emotion is None else found.get(emotion),
        intensities=intensities if found else None,
        attention=annotation.attention,
        engagement=annotation.engagement,
        valence=annotation.valence,
    )


READER = Reader(
    find,
    CROP_OPTIONS | {"every", "rate", "sound_s", "time", "stimulus", "event_source", "offset_ms"},
)
