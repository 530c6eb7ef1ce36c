"""Pictures of maps over the pictures that a network saw."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from affectstream.stream.explain.draw import Picture, blend
from affectstream.train.explain.attention import LayerAttention

_SIDE, _SMALL, _GAP = 168, 84, 4
MOST_FRAMES = 6
"""Of a longer window the newest are drawn."""


def draw_maps(crops: NDArray[np.uint8], maps: NDArray[np.float64]) -> Picture:
    """The newest crops (n, S, S, 3), oldest first, and below each its map (n, h, w).

    Maps with negative values are drawn around zero, others from zero on; the strongest color is the largest
    value of all maps drawn.
    """
    crops, maps = crops[-MOST_FRAMES:], maps[-MOST_FRAMES:]
    scale = max(1e-12, float(np.abs(maps).max()))
    columns = [
        np.concatenate([_plain(crop, _SIDE), _gap(_GAP, _SIDE), _over(crop, one, scale, _SIDE)])
        for crop, one in zip(crops, maps, strict=True)
    ]
    return _row(columns)


def draw_heads(crop: NDArray[np.uint8], layers: Sequence[LayerAttention]) -> Picture:
    """The newest crop (S, S, 3) under the attention of the class token: a row for each layer, the first on
    top, a column for each head."""
    rows = []
    for layer in layers:
        heads = layer.maps[-1]
        rows.append(_row([_over(crop, one, float(one.max()), _SMALL) for one in heads]))
    parts = [part for row in rows for part in (row, _gap(_GAP, row.shape[1]))]
    return np.concatenate(parts[:-1])


def _row(columns: Sequence[Picture]) -> Picture:
    parts = [part for one in columns for part in (one, _gap(one.shape[0], _GAP))]
    return np.concatenate(parts[:-1], axis=1)


def _gap(height: int, width: int) -> Picture:
    return np.full((height, width, 3), 255, np.uint8)


def _plain(crop: NDArray[np.uint8], side: int) -> Picture:
    how = cv2.INTER_AREA if crop.shape[0] > side else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(crop, (side, side), interpolation=how), np.uint8)


def _over(crop: NDArray[np.uint8], values: NDArray[np.float64], scale: float, side: int) -> Picture:
    gray = _plain(crop, side).mean(axis=2, keepdims=True).repeat(3, axis=2)
    large = cv2.resize(np.ascontiguousarray(values), (side, side), interpolation=cv2.INTER_LINEAR)
    return blend(gray, np.asarray(large, np.float64), max(scale, 1e-12))
