"""Short clips of speech as samples at the rate of the pipeline."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from affectstream.stream.media import SAMPLE_RATE


@dataclass(frozen=True, slots=True, eq=False)
class Clip:
    """One labelled utterance: `samples` (n,) float32 in [-1, 1] at `SAMPLE_RATE`."""

    name: str
    speaker: str
    emotion: str
    samples: NDArray[np.float32]


def read_samples(path: Path) -> NDArray[np.float32]:
    """The whole of a clip as mono samples (n,) float32 in [-1, 1] at `SAMPLE_RATE`.

    Raises `ValueError` naming the file when it holds no sound or cannot be decoded.
    """
    resampler = av.AudioResampler(format="flt", layout="mono", rate=SAMPLE_RATE)
    parts: list[NDArray[np.float32]] = []
    try:
        with av.open(str(path)) as container:
            if not container.streams.audio:
                raise ValueError(f"{path}: no sound found, expected a clip of speech")
            for frame in container.decode(audio=0):
                parts += [np.asarray(f.to_ndarray()[0]) for f in resampler.resample(frame)]
            parts += [np.asarray(f.to_ndarray()[0]) for f in resampler.resample(None)]
    except av.FFmpegError as exc:
        raise ValueError(f"{path}: cannot be decoded ({exc}); fetch the data set again") from exc
    if not parts:
        raise ValueError(f"{path}: no sound found, expected a clip of speech")
    return np.concatenate(parts).astype(np.float32)
