"""The sound of a recording without its pictures, as the options of a source select it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from affectstream.stream.media.recording import Recording
from affectstream.stream.media.types import SAMPLE_RATE, Samples
from affectstream.stream.options import SourceOptions


def read_sound(path: Path, options: SourceOptions) -> Iterator[Samples]:
    """Runs of sound in the order of the recording. Raises `SourceError` if it cannot be read."""
    with Recording.open(
        path,
        audio_track=options.audio_track,
        start_us=options.start_us,
        end_us=options.end_us,
        max_pixels=options.max_pixels,
        pictures="unused",
    ) as recording:
        yield from (item for item in recording if isinstance(item, Samples))


def read_mono(path: Path, options: SourceOptions) -> Iterator[Samples]:
    """The mean of all channels in pieces of up to a second, (n, 1)."""
    for run in read_sound(path, options):
        mono = np.asarray(run.data.mean(axis=1, keepdims=True), np.float32)
        for start in range(0, len(mono), SAMPLE_RATE):
            yield Samples(run.start + start, mono[start : start + SAMPLE_RATE])
