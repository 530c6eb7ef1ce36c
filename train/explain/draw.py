"""Pictures of maps over the pictures that a network saw."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from affectstream.stream.explain.draw import Picture, blend
from affectstream.train.explain.attention import LayerAttention

_SIDE, _GAP = 168, 4
_SMALL = 84, 126
"""The side of a head's square: of many heads, and of up to `_FEW`."""
_FEW = 6
_LEFT, _TOP = 60, 22
"""Room for the names of layers and heads."""
_LEAST = 0.5
"""The strongest color of a head stands for at least this far from even, so that an even head looks even."""
MOST_FRAMES = 6
"""Of a longer window the newest are drawn."""
FULL_COLOR = 1
"""Per cent of the fields of a voice's map that have the strongest color, of those that are not 0."""


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
    """The newest crop (S, S, 3) under the attention of the class token, as `beyond_even`: a row for each
    layer, the first on top, a column for each head."""
    most = max(layer.weights.shape[1] for layer in layers)
    side = _SMALL[most <= _FEW]
    rows = [_names([f"head {number + 1}" for number in range(most)], side)]
    for number, layer in enumerate(layers, 1):
        maps = [beyond_even(one) for one in layer.maps[-1]]
        heads = [_over(crop, one, max(_LEAST, float(np.abs(one).max())), side) for one in maps]
        blank = [_gap(side, side)] * (most - len(heads))
        name = _write(_gap(side, _LEFT), f"layer {number}", side // 2)
        rows += [_row([name, *heads, *blank]), _gap(_GAP, rows[0].shape[1])]
    return np.concatenate(rows[:-1])


def color_scale(values: NDArray[np.float64]) -> float:
    """What the strongest color of a voice's map stands for: all but `FULL_COLOR` per cent of `values` are
    weaker. Where a network pools by the maximum, two fields can be ten times as strong as all others, which
    would be left without color if the largest value set the scale."""
    strong = np.abs(values[values != 0])
    return float(np.percentile(strong, 100 - FULL_COLOR)) if strong.size else 1.0


def beyond_even(shares: NDArray[np.float64]) -> NDArray[np.float64]:
    """Shares (..., h, w) that add up to 1, as how far each is from an even share, in even shares: 0 is even,
    1 twice as much, -1 nothing. Attention is never negative, and of an even one nothing would be seen."""
    total = shares.sum((-2, -1), keepdims=True)
    return shares / np.maximum(total, 1e-12) * shares.shape[-1] * shares.shape[-2] - 1


def _names(names: Sequence[str], side: int) -> Picture:
    return _row([_gap(_TOP, _LEFT), *(_write(_gap(_TOP, side), name, 14) for name in names)])


def _write(picture: Picture, text: str, y: int) -> Picture:
    cv2.putText(picture, text, (2, y), cv2.FONT_HERSHEY_SIMPLEX, 0.4, (90, 90, 90), 1, cv2.LINE_AA)
    return picture


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
