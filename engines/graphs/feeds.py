"""Inputs for comparisons: random ones, or those that `affectstream bench feeds` recorded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from zipfile import BadZipFile, is_zipfile

import numpy as np
from numpy.typing import NDArray

from affectstream.engines.errors import EngineError
from affectstream.engines.spec import Array, TensorSpec

ROWS = 8
"""Rows of a random batch."""
FREE_AXIS = 160
"""Length of any other free axis of a random batch."""
COARSE = 8
"""Random pictures are drawn with so many pixels a side, and enlarged."""
GRAIN = 24
"""Range of the noise on them."""

Feeds = Sequence[Mapping[str, Array]]
"""The inputs of several calls, each by name."""


def random_feeds(
    inputs: Mapping[str, TensorSpec], batches: int, seed: int, rows: int = ROWS
) -> Feeds:
    """Random batches of `rows`: floats in [-1, 1], integers from 0 to 255, masks of which 80 % are true,
    smooth pictures with a little noise.

    255 is a valid token of every tokenizer. Of white noise an angle of a face is anything, and differs by
    degrees between two roundings; of smooth pictures, as of faces, by less.
    """
    generator = np.random.default_rng(seed)

    def array(spec: TensorSpec) -> Array:
        first, *others = (FREE_AXIS if isinstance(axis, str) else axis for axis in spec.shape)
        shape = (rows if isinstance(spec.shape[0], str) else first, *others)
        if spec.dtype == np.bool_:
            return generator.random(shape) < 0.8
        if np.issubdtype(spec.dtype, np.floating):
            return generator.uniform(-1, 1, shape).astype(spec.dtype)
        if spec.dtype == np.uint8 and len(shape) > 3:
            return _pictures(generator, shape)
        return generator.integers(0, 256, shape).astype(spec.dtype)

    return [{name: array(spec) for name, spec in inputs.items()} for _ in range(batches)]


def _pictures(generator: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """Pictures (..., height, width, channels) uint8."""
    *first, height, width, channels = shape
    coarse = generator.uniform(0, 255, (*first, COARSE, COARSE, channels))
    smooth = np.einsum("hy,...yxc,wx->...hwc", _enlarge(height), coarse, _enlarge(width))
    grain = generator.uniform(-GRAIN / 2, GRAIN / 2, shape)
    return np.asarray(np.clip(smooth + grain, 0, 255), np.uint8)


def _enlarge(size: int) -> NDArray[np.float64]:
    """Weights (`size`, `COARSE`) of linear interpolation."""
    places = np.linspace(0, COARSE - 1, size)
    return np.maximum(0.0, 1.0 - np.abs(places[:, None] - np.arange(COARSE)))


_HOW_TO_RECORD = "record feeds with: affectstream bench feeds CLIP --output feeds.npz"


def read_feeds(path: Path) -> dict[str, Feeds]:
    """Recorded feeds by role, from an ``.npz`` with one array for each ``role/call/input``.

    Raises `EngineError` when the file is missing or is not such a file.
    """
    calls: dict[str, dict[int, dict[str, Array]]] = {}
    if not path.is_file():
        raise EngineError(f"{path} was not found: {_HOW_TO_RECORD}")
    if not is_zipfile(path):
        raise EngineError(f"{path} is not an .npz file, or is cut short: {_HOW_TO_RECORD}")
    try:
        with np.load(path, allow_pickle=False) as arrays:
            for key in arrays.files:
                role, call, name = key.rsplit("/", 2)  # the role of a member contains a slash
                calls.setdefault(role, {}).setdefault(int(call), {})[name] = arrays[key]
    except (OSError, ValueError, AttributeError, TypeError, EOFError, BadZipFile) as error:
        raise EngineError(
            f"{path} holds no feeds, which are arrays named role/call/input ({error}): {_HOW_TO_RECORD}"
        ) from error
    return {role: [numbered[n] for n in sorted(numbered)] for role, numbered in calls.items()}
