"""Charts of the size of a stamp: shapes and hardly any text, for cards."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from math import isfinite

import numpy as np
from numpy.typing import NDArray

from affectstream.train.pages.elements import Html

WIDTH, HEIGHT = 240.0, 132.0
_LETTER = 6.3


def _stamp(what: str, parts: Sequence[str], width: float = WIDTH) -> Html:
    box = f'viewBox="0 0 {width:.0f} {HEIGHT:.0f}" preserveAspectRatio="xMinYMid"'
    named = escape(what)
    return Html(
        f'<svg class="thumb" {box} role="img" aria-label="{named}"><title>{named}</title>'
        f"{''.join(parts)}</svg>"
    )


def _text(x: float, y: float, content: str, anchor: str = "start", kind: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" class="{kind}">{escape(content)}</text>'


def _cut(name: str, letters: int) -> str:
    return name if len(name) <= letters else f"{name[: letters - 1]}…"


def matrix(what: str, labels: Sequence[str], counts: NDArray[np.int64]) -> Html:
    """Counts (C, C), shaded by the share of their row; a cell shows its numbers when the pointer rests on
    it."""
    shares = counts / np.maximum(1, counts.sum(1, keepdims=True))
    letters = 9
    left = 8 + _LETTER * min(letters, max(map(len, labels), default=1))
    side = min(26.0, (HEIGHT - 2) / max(1, len(labels)))
    parts = []
    for (row, column), share in np.ndenumerate(shares):
        cell = f"{labels[row]} as {labels[column]}: {counts[row, column]} ({share:.0%})"
        place = f'x="{left + column * side:.1f}" y="{1 + row * side:.1f}"'
        size = f'width="{side - 1:.1f}" height="{side - 1:.1f}" rx="2"'
        parts.append(
            f"<g><title>{escape(cell)}</title><rect {place} {size}/>"
            f'<rect {place} {size} class="shade" fill-opacity="{share:.3f}"/></g>'
        )
    parts += [
        _text(left - 5, 1 + (row + 0.5) * side + 4, _cut(label, letters), "end")
        for row, label in enumerate(labels)
    ]
    return _stamp(what, parts, left + side * len(labels) + 2)


def intervals(
    what: str, rows: Sequence[tuple[str, float, float, float]], *, digits: int = 2
) -> Html:
    """A point with its interval for each (name, value, low, high); nan where there is none. Of many rows the
    first ones."""
    most = 5
    shown = [row for row in rows if isfinite(row[1])][:most]
    ends = [value for _, *values in shown for value in values if isfinite(value)]
    low, high = min(ends, default=0.0), max(ends, default=1.0)
    low, high = (low, high) if high - low > 1e-9 else (low - 0.5, high + 0.5)
    step = (HEIGHT - 22) / max(3, len(shown))

    def across(value: float) -> float:
        return 6 + (value - low) / (high - low) * (WIDTH - 12)

    parts = []
    for number, (name, value, least, most_) in enumerate(shown):
        y = step * number + 16
        parts.append(_text(0, y, _cut(name, 26), kind="strong"))
        parts.append(_text(WIDTH, y, f"{value:.{digits}f}", "end"))
        if isfinite(least) and isfinite(most_):
            ends_ = f'x1="{across(least):.1f}" x2="{across(most_):.1f}"'
            parts.append(f'<line {ends_} y1="{y + 9:.1f}" y2="{y + 9:.1f}" class="range"/>')
        parts.append(f'<circle cx="{across(value):.1f}" cy="{y + 9:.1f}" r="4"/>')
    if len(rows) > len(shown) == most:
        parts.append(_text(0, HEIGHT - 2, f"and {len(rows) - most} more"))
    return _stamp(what, parts)


def lines(what: str, drawn: Sequence[tuple[str, Sequence[tuple[float, float]]]]) -> Html:
    """Lines over one axis each, named where there are several."""
    points = np.array([point for _, line in drawn for point in line] or [(0.0, 0.0)])
    low, high = points.min(0), points.max(0)
    span = np.where(high - low > 1e-12, high - low, 1.0)
    left, top, bottom = 34.0, 8.0, 18.0

    def place(x: float, y: float) -> str:
        return (
            f"{left + 4 + (x - low[0]) / span[0] * (WIDTH - left - 10):.1f},"
            f"{HEIGHT - bottom - 4 - (y - low[1]) / span[1] * (HEIGHT - top - bottom - 8):.1f}"
        )

    parts = [
        f'<rect x="{left}" y="{top}" width="{WIDTH - left}" height="{HEIGHT - top - bottom}" rx="4"/>'
    ]
    for number, (_, line) in enumerate(drawn):
        where = " ".join(place(x, y) for x, y in line)
        parts.append(f'<polyline class="line{number % 2}" points="{where}"/>')
        if len(line) < 9:
            centers = (place(x, y).split(",") for x, y in line)
            shape = f'r="3.5" class="line{number % 2}"'
            parts += [f'<circle cx="{x}" cy="{y}" {shape}/>' for x, y in centers]
    parts.append(_text(left - 4, top + 10, f"{high[1]:.2f}", "end"))
    parts.append(_text(left - 4, HEIGHT - bottom, f"{low[1]:.2f}", "end"))
    parts.append(_text(left, HEIGHT - 3, f"{low[0]:g}"))
    parts.append(_text(WIDTH, HEIGHT - 3, f"{high[0]:g}", "end"))
    names = [name for name, _ in drawn if name]
    x = left + (WIDTH - left) / 2 - _LETTER * (sum(map(len, names)) + 4 * len(names)) / 2
    for number, name in enumerate(names):
        parts.append(f'<circle cx="{x:.1f}" cy="{HEIGHT - 7}" r="3.5" class="line{number % 2}"/>')
        parts.append(_text(x + 7, HEIGHT - 3, name))
        x += _LETTER * (len(name) + 4)
    return _stamp(what, parts)


def changes(what: str, rows: Sequence[tuple[str, float]]) -> Html | None:
    """Bars from the middle, to the right what speaks for, to the left what speaks against; None of none."""
    if not rows:
        return None
    shown = rows[:5]
    scale = max([0.05, *(abs(value) for _, value in shown)])
    left, step = 96.0, (HEIGHT - 6) / max(4, len(shown))
    middle, half = left + (WIDTH - left - 40) / 2, (WIDTH - left - 40) / 2
    parts = []
    for number, (name, value) in enumerate(shown):
        y, wide = step * number + 4, abs(value) / scale * half
        parts.append(_text(left - 6, y + step / 2 + 3, _cut(name, 14), "end", "strong"))
        tall = f'y="{y:.1f}" height="{step - 6:.1f}" rx="2"'
        parts.append(f'<rect x="{left}" width="{2 * half:.1f}" {tall}/>')
        kind, x = ("for", middle) if value >= 0 else ("against", middle - wide)
        parts.append(f'<rect class="{kind}" x="{x:.1f}" width="{wide:.1f}" {tall}/>')
        parts.append(_text(WIDTH, y + step / 2 + 3, f"{value:+.2f}", "end"))
    return _stamp(what, parts)
