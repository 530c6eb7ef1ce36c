"""Boxes around faces."""

from __future__ import annotations

Box = tuple[float, float, float, float]
"""x0, y0, x1, y1 in pixels; the left edge of the picture is 0, the right one its width."""


def square_around(box: Box, scale: float) -> Box:
    """The square around the center of `box`, `scale` times as wide as its longer side."""
    x, y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
    half = scale * max(box[2] - box[0], box[3] - box[1]) / 2
    return x - half, y - half, x + half, y + half


def holds(box: Box, x: float, y: float) -> bool:
    """Whether the point lies in `box`."""
    return box[0] < x < box[2] and box[1] < y < box[3]


def shared(one: Box, other: Box) -> float:
    """How much of the smaller of two boxes lies in the other, 0 to 1."""
    wide = min(one[2], other[2]) - max(one[0], other[0])
    tall = min(one[3], other[3]) - max(one[1], other[1])
    smaller = min((box[2] - box[0]) * (box[3] - box[1]) for box in (one, other))
    return max(0.0, wide) * max(0.0, tall) / max(smaller, 1e-9)


def moved(box: Box, x: float, y: float) -> Box:
    """`box` moved to the right and down."""
    return box[0] + x, box[1] + y, box[2] + x, box[3] + y


def surroundings(box: Box, scale: float = 1.0) -> Box:
    """What is cut of a face: its aligned crop, hair and collar, and the square `scale` times its box."""
    x0, y0, x1, y1 = square_around(box, max(1.7, scale + 0.2))
    return x0, y0, x1, y1 + 0.35 * (box[3] - box[1])
