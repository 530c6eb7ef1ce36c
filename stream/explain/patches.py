"""A picture in which each place has the mean effect of the patches that hid it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Patch:
    """The rows and columns that are hidden together, first and end."""

    rows: tuple[int, int]
    columns: tuple[int, int]


def patches(height: int, width: int, down: int, across: int) -> list[Patch]:
    """`down` x `across` patches that cover a picture evenly, each overlapping half of the next."""
    rows, columns = _spans(height, down), _spans(width, across)
    return [Patch(row, column) for row in rows for column in columns]


def _spans(length: int, count: int) -> list[tuple[int, int]]:
    """`count` stretches of two steps each, from the first place to the last."""
    step = length / (count + 1)
    return [
        (min(length - 1, round(n * step)), max(round((n + 2) * step), round(n * step) + 1))
        for n in range(count)
    ]


def spread(
    found: Sequence[Patch], changes: NDArray[np.float64], height: int, width: int
) -> NDArray[np.float64]:
    """The map (height, width): the mean of the `changes` of all patches over each place."""
    total, count = np.zeros((height, width)), np.zeros((height, width))
    for patch, change in zip(found, changes, strict=True):
        total[slice(*patch.rows), slice(*patch.columns)] += change
        count[slice(*patch.rows), slice(*patch.columns)] += 1
    return total / np.maximum(count, 1)
