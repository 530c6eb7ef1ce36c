"""Interviews with frame-level AFFDEX annotations: iMotions exports and the videos they describe.

`affdex_pairs` finds which belong together. A sample is one frame with the nearest annotation;
`dialogue` is the recording and `turn` counts its frames, so that a recipe can look at several in a row.

A frame takes the nearest annotation within half the time to the next frame, at most `TOLERANCE_US`. Its
emotion is the strongest one from `STRONG` on, AFFDEX's customary threshold, else neutral.
"""

from __future__ import annotations

import sys
from bisect import bisect_left
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from affectstream.engines.labels import EMOTIONS
from affectstream.stream.errors import OptionError, SourceError
from affectstream.stream.media.picture import to_rgb
from affectstream.stream.media.recording import Recording
from affectstream.stream.media.types import Frame, Samples, sample_at
from affectstream.stream.windowing.sound_timeline import SoundTimeline
from affectstream.train.data.prepare.clips import TOGETHER
from affectstream.train.data.prepare.crops import Cropper
from affectstream.train.data.prepare.source import Job, Made, Options, Skipped, Source, Warned
from affectstream.train.data.readers.affdex_pairs import Pair, find_pairs
from affectstream.train.data.readers.imotions import Reading, read_export
from affectstream.train.data.readers.imotions_layout import find_layout
from affectstream.train.data.sample import Sample
from affectstream.train.errors import DataError, DataMissing

EVERY = 30
STRONG = 0.5
TOLERANCE_US = 50_000
HIDDEN = 0.5
"""From this share of frames without a face on, a recording is worth a remark."""


def source(path: Path, options: Options) -> Source:
    """Every export that has a video. Raises `DataMissing`, `DataError` or `OptionError`."""
    if options.every is not None and options.rate is not None:
        raise OptionError("--every and --rate exclude each other: give one")
    pairs = find_pairs(path)
    return Source(
        "iMotions AFFDEX exports",
        "not stated",
        [_job(pair, options) for pair in pairs],
        notes=(
            f"emotion is the strongest of at least {STRONG:.0%}, else neutral",
            f"nearest annotation within half a frame, at most {TOLERANCE_US // 1000} ms",
        ),
    )


def _job(pair: Pair, options: Options) -> Job:
    name = pair.name

    def make(cropper: Cropper) -> Iterator[Made]:
        try:
            layout = find_layout(pair.export)
            readings = read_export(
                layout,
                time=options.time,
                stimulus=options.stimulus,
                event_source=options.event_source,
            )
        except (DataError, DataMissing) as error:
            yield Skipped(name, "export cannot be used", str(error))
            return
        if pair.video is None:
            yield Skipped(name, "no video", "expected one of the same name, or of the respondent's")
            return
        about = Sample(
            id="",
            recording=name,
            dialogue=name,
            participant=pair.participant or layout.respondent or pair.export.stem,
            age=layout.age,
            gender=layout.gender,
            frames_seen=1,
        )
        try:
            yield from _samples(pair.video, about, readings, options, cropper)
        except SourceError as error:
            yield Skipped(name, "video cannot be decoded", str(error))

    return Job(name, make)


def _samples(
    video: Path,
    about: Sample,
    readings: Sequence[Reading],
    options: Options,
    cropper: Cropper,
) -> Iterator[Made]:
    """The chosen frames of a video with their annotations, a few pictures in memory at a time."""
    name, offset_us = about.recording or "", round(options.offset_ms * 1000)
    times = [reading.time_us + offset_us for reading in readings]
    sound = SoundTimeline(capacity=sys.maxsize)
    waiting: deque[Sample] = deque()
    unmatched = blank = made = hidden = 0
    batch: list[tuple[int, Frame, Reading]] = []
    trouble = None

    def cut() -> Iterator[Sample]:
        pictures = [to_rgb(frame, pixel_aspect=aspect) for _, frame, _ in batch]
        for (number, frame, reading), crop in zip(batch, cropper.cut(pictures), strict=True):
            sample = _sample(about, number, frame.pts_us, reading)
            if crop is not None:
                sample.crops, sample.crop_times_us = crop[None], np.zeros(1, np.int64)
            yield sample
        batch.clear()

    with Recording.open(video) as recording:
        if recording.info.video is None:
            raise SourceError(f"{video}: has no video stream")
        aspect = recording.info.video.pixel_aspect
        for item in _chosen(recording, options):
            if isinstance(item, Samples):
                if options.sound_s:
                    sound.push(item)
                continue
            number, frame, gap_us = item
            reading = _nearest(frame.pts_us, times, readings, min(gap_us // 2, TOLERANCE_US))
            if reading is None:
                unmatched += 1
            elif not reading.intensities and reading.attention is None:
                blank += 1
            else:
                batch.append((number, frame, reading))
            if len(batch) >= TOGETHER:
                waiting.extend(cut())
            while waiting and (
                not options.sound_s or sound.end >= sample_at(waiting[0].end_us or 0)
            ):
                sample = waiting.popleft()
                made, hidden = made + 1, hidden + (sample.crops is None)
                yield _with_sound(sample, sound, options.sound_s)
            oldest = waiting[0].end_us if waiting else batch[0][1].pts_us if batch else frame.pts_us
            sound.forget(max(0, sample_at(oldest or 0) - sample_at(round(options.sound_s * 1e6))))
        waiting.extend(cut())
        for sample in waiting:
            made, hidden = made + 1, hidden + (sample.crops is None)
            yield _with_sound(sample, sound, options.sound_s)
        trouble = recording.stats.ended_early or recording.stats.first_error
    if unmatched:
        span = f"annotations run from {times[0] / 1e6:.1f} to {times[-1] / 1e6:.1f} s"
        yield Skipped(name, "no annotation near the frame", span, unmatched)
    if blank:
        yield Skipped(name, "the face sensor saw no face", count=blank)
    if trouble:
        yield Warned(name, "video damaged, read as far as it goes", trouble)
    if made and hidden >= HIDDEN * made and cropper.kind != "frame":
        yield Warned(
            name,
            "hardly any face found",
            f"in {made - hidden} of {made} frames: if this is a replay of the screen, --crop frame "
            "takes the whole picture",
        )


def _chosen(recording: Recording, options: Options) -> Iterator[Samples | tuple[int, Frame, int]]:
    """All sound; and of the frames those wanted, numbered, each with the time to its neighbour."""
    held: tuple[int, Frame] | None = None
    gap_us, seen, taken, due_us = 2 * TOLERANCE_US, 0, 0, 0.0
    before: Frame | None = None
    for item in recording:
        if isinstance(item, Samples):
            yield item
        elif isinstance(item, Frame):
            if before is not None:
                gap_us = item.pts_us - before.pts_us
            if held is not None:
                yield (*held, gap_us)
                held = None
            if options.rate is not None:
                wanted = item.pts_us >= due_us
                while wanted and due_us <= item.pts_us:
                    due_us += 1e6 / options.rate
            else:
                wanted = seen % (options.every or EVERY) == 0
            if wanted:
                held, taken = (taken, item), taken + 1
            before, seen = item, seen + 1
    if held is not None:
        yield (*held, gap_us)


def _nearest(
    t_us: int, times: Sequence[int], readings: Sequence[Reading], tolerance_us: int
) -> Reading | None:
    at = bisect_left(times, t_us)
    near = [i for i in (at - 1, at) if 0 <= i < len(times)]
    best = min(near, key=lambda i: abs(times[i] - t_us), default=None)
    if best is None or abs(times[best] - t_us) > tolerance_us:
        return None
    return readings[best]


def _sample(about: Sample, number: int, t_us: int, reading: Reading) -> Sample:
    """One annotated frame; `about` has what all frames of the recording share."""
    found = reading.intensities
    emotion = None
    if found:
        felt = [name for name in found if name != "neutral" and found[name] >= STRONG]
        emotion = max(felt, key=lambda name: found[name], default="neutral")
    return replace(
        about,
        id=f"{about.recording}-{number:06d}",
        turn=number,
        start_us=t_us,
        end_us=t_us,
        emotion=emotion,
        intensity=None if emotion is None else found.get(emotion),
        intensities=np.asarray([found.get(name, np.nan) for name in EMOTIONS], np.float32)
        if found
        else None,
        attention=reading.attention,
        engagement=reading.engagement,
        valence=reading.valence,
    )


def _with_sound(sample: Sample, sound: SoundTimeline, seconds: float) -> Sample:
    """The sample with the sound of the last `seconds` before its frame, silence where there was none."""
    end = sample_at(sample.end_us or 0)
    start = end - sample_at(round(seconds * 1e6))
    if seconds and min(end, sound.end) > max(0, start):
        sample.audio = np.zeros(end - start, np.float32)
        sample.audio[max(0, -start) :] = sound.window(max(0, start), end)[:, 0]
    return sample
