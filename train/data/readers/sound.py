"""Short clips of speech as samples at the rate of the pipeline."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from affectstream.stream.media.recording import Recording
from affectstream.stream.media.types import Samples
from affectstream.stream.windowing.sound_timeline import SoundTimeline


@dataclass(frozen=True, slots=True, eq=False)
class Clip:
    """One labelled utterance: `samples` (n,) float32 in [-1, 1] at `SAMPLE_RATE`."""

    name: str
    speaker: str
    emotion: str
    samples: NDArray[np.float32]


def read_samples(path: Path) -> NDArray[np.float32]:
    """The whole of a clip as mono samples (n,) float32 in [-1, 1] at `SAMPLE_RATE`.

    Decoded by the code that serves, so that the two cannot drift apart. Raises `SourceError` naming
    the file when it cannot be decoded, `ValueError` when it holds no sound.
    """
    with Recording.open(path) as recording:
        runs = [item for item in recording if isinstance(item, Samples)]
    if not runs:
        raise ValueError(f"{path}: no sound found, expected a clip of speech")
    timeline = SoundTimeline()
    for run in runs:
        timeline.push(run)
    return timeline.window(0, runs[-1].end)[:, 0]
