"""The batch sizes that engines run at.

A batch is padded up to one of a few sizes. So the same input always meets the same kernel, and its score
does not depend on what else was in the batch.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from affectstream.engines.spec import Array, Engine

BATCH_SIZES = (1, 2, 4, 8, 16, 32, 64)


def batch_size_for(count: int) -> int:
    """The smallest of `BATCH_SIZES` that holds `count` rows (1 to 64). Raises `ValueError` for more."""
    for size in BATCH_SIZES:
        if count <= size:
            return size
    raise ValueError(f"a batch holds at most {BATCH_SIZES[-1]} rows, found {count}: split it")


def pad_rows(array: Array, size: int) -> Array:
    """`array` with zero rows added up to `size` rows; `array` itself when it has as many."""
    if len(array) == size:
        return array
    out = np.zeros((size, *array.shape[1:]), array.dtype)
    out[: len(array)] = array
    return out


def run_in_batches(
    engine: Engine, feeds: Mapping[str, Array], count: int
) -> list[dict[str, Array]]:
    """The outputs of `engine` for each of the `count` rows of `feeds`, in batches of fixed sizes."""
    rows: list[dict[str, Array]] = []
    for start in range(0, count, BATCH_SIZES[-1]):
        part = {name: array[start : start + BATCH_SIZES[-1]] for name, array in feeds.items()}
        size = min(BATCH_SIZES[-1], count - start)
        padded = {name: pad_rows(array, batch_size_for(size)) for name, array in part.items()}
        outputs = engine.run(padded)
        rows += [{name: array[n] for name, array in outputs.items()} for n in range(size)]
    return rows
