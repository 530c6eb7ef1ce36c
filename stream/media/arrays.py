"""From the arrays and times of a program to the pictures, sound and times of the pipeline."""

from __future__ import annotations

import math
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

MAX_S = 1e9
"""The latest time that an event can have."""
_RATES = range(1_000, 768_001)
_PIECE_S = 0.1


def microseconds(name: str, t: float) -> int:
    """`t` seconds in microseconds. Raises ValueError, naming `name`, for an impossible time."""
    if not (math.isfinite(t) and 0 <= t <= MAX_S):
        raise ValueError(
            f"{name}={t}: expected seconds from 0 to {MAX_S:g}; subtract the time of the first picture"
        )
    return round(t * 1e6)


def picture(rgb: NDArray[np.uint8]) -> av.VideoFrame:
    """A copy of `rgb` (H, W, 3) uint8. Raises ValueError for anything else."""
    if not isinstance(rgb, np.ndarray) or rgb.dtype != np.uint8:
        found = getattr(rgb, "dtype", type(rgb).__name__)
        raise ValueError(f"rgb: expected an array of uint8, found {found}")
    if rgb.ndim != 3 or rgb.shape[2] != 3 or 0 in rgb.shape:
        raise ValueError(f"rgb: expected (height, width, 3), found {rgb.shape}")
    return av.VideoFrame.from_ndarray(np.ascontiguousarray(rgb), format="rgb24")


def sound(
    samples: NDArray[np.float32], t_us: int, rate: int
) -> Iterator[tuple[av.AudioFrame, int]]:
    """Copies of `samples`, (n,) or (n, 2) float in [-1, 1], in frames of a tenth of a second, and the time of
    each. Raises ValueError for anything else."""
    if not isinstance(samples, np.ndarray) or not np.issubdtype(samples.dtype, np.floating):
        found = getattr(samples, "dtype", type(samples).__name__)
        raise ValueError(
            f"samples: expected float32 in [-1, 1], found {found}; divide int16 by 32768"
        )
    if samples.ndim not in (1, 2) or samples.shape[1:] not in ((), (1,), (2,)):
        raise ValueError(f"samples: expected (n,) or (n, 2), found {samples.shape}")
    if rate not in _RATES:
        raise ValueError(
            f"rate={rate}: expected a whole number of Hz, {_RATES.start} to {_RATES[-1]}"
        )
    layout = "stereo" if samples.shape[1:] == (2,) else "mono"
    size = max(1, round(rate * _PIECE_S))
    for first in range(0, len(samples), size):
        piece: Any = np.ascontiguousarray(samples[first : first + size], np.float32)
        frame = av.AudioFrame.from_ndarray(piece.reshape(1, -1), format="flt", layout=layout)
        frame.sample_rate = rate
        frame.time_base = Fraction(1, rate)
        yield frame, t_us + (2_000_000 * first + rate) // (2 * rate)
