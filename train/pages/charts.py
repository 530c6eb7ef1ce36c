"""Charts as SVG that follow the page's colors, light and dark."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from math import inf, isfinite

import numpy as np
from numpy.typing import NDArray

from affectstream.train.pages.elements import Html

SERIES = 4
"""Colors of series; more repeat them."""
_LETTER = 6.3
"""About the width of a letter of 11 pixels."""


@dataclass(frozen=True, slots=True)
class Bar:
    """A value with its interval, nan where there is none."""

    name: str
    value: float
    low: float
    high: float
    note: str = ""
    series: int = 0


def _figure(title: str, width: float, height: float, parts: Sequence[str]) -> Html:
    return Html(
        f'<figure class="chart"><figcaption>{escape(title)}</figcaption>'
        f'<svg width="{width:.0f}" viewBox="0 0 {width:.0f} {height:.0f}" role="img" '
        f'aria-label="{escape(title)}">'
        f"{''.join(parts)}</svg></figure>"
    )


def _text(x: float, y: float, content: str, anchor: str = "start", kind: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" class="{kind}">{escape(content)}</text>'


def _line(x1: float, y1: float, x2: float, y2: float, kind: str = "") -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" class="{kind}"/>'


def confusion(title: str, labels: Sequence[str], counts: NDArray[np.int64]) -> Html:
    """Counts (C, C) with truth in rows, shaded by the share of their row."""
    left = 14 + _LETTER * max(map(len, labels))
    side, top = 46.0, 16.0
    shares = counts / np.maximum(1, counts.sum(1, keepdims=True))
    parts = [_text(left, 10, "predicted: columns; truth: rows")]
    for (row, column), count in np.ndenumerate(counts):
        x, y = left + column * side, top + row * side
        parts.append(
            f'<rect x="{x:.1f}" y="{y:.1f}" width="{side - 2}" height="{side - 2}" rx="3"/>'
            f'<rect x="{x:.1f}" y="{y:.1f}" width="{side - 2}" height="{side - 2}" rx="3" class="shade" '
            f'fill-opacity="{shares[row, column]:.3f}"/>'
        )
        kind = "on" if shares[row, column] > 0.5 else "strong"
        parts.append(_text(x + side / 2 - 1, y + 19, str(count), "middle", kind))
        parts.append(_text(x + side / 2 - 1, y + 34, f"{shares[row, column]:.0%}", "middle", kind))
    bottom = top + side * len(labels)
    for number, label in enumerate(labels):
        parts.append(_text(left - 6, top + number * side + 27, label, "end", "strong"))
        x = left + number * side + side / 2
        parts.append(
            f'<text transform="translate({x:.1f} {bottom + 10:.1f}) rotate(-40)" text-anchor="end" '
            f'class="strong">{escape(label)}</text>'
        )
    height = bottom + 16 + 0.65 * _LETTER * max(map(len, labels))
    return _figure(title, left + side * len(labels) + 4, height, parts)


def interval_bars(
    title: str,
    bars: Sequence[Bar],
    *,
    zero: bool = False,
    digits: int = 3,
    axis: tuple[float, float] | None = None,
    reference: float | None = None,
    letters: int = 1,
) -> Html:
    """A point with its interval in each row; with `zero` the axis has a line at 0.

    Charts beside each other compare only on one `axis`, and stand in columns with room for as many `letters`
    of a name. `reference` is a value that all are compared with.
    """
    low, high = axis or axis_of(bars, [0.0] if zero else [])
    left = 10 + _LETTER * min(28, max(letters, *(len(bar.name) for bar in bars), 1))
    notes = max(len(_shown(bar, digits)) for bar in bars) if bars else 0
    width, row, wide = left + 230 + 14 + _LETTER * notes, 24.0, 230.0

    def across(value: float) -> float:
        return left + 4 + (value - low) / (high - low) * (wide - 8)

    height = row * len(bars) + 22
    parts = []
    for bar_number, bar in enumerate(bars):
        y = row * bar_number + row / 2 + 2
        parts.append(_text(left - 6, y + 4, bar.name, "end", "strong"))
        parts.append(f'<rect x="{left:.1f}" y="{y - 9:.1f}" width="{wide}" height="18" rx="3"/>')
        kind = f"series{bar.series % SERIES}"
        if isfinite(bar.low) and isfinite(bar.high):
            parts.append(_line(across(bar.low), y, across(bar.high), y, kind))
        if isfinite(bar.value):
            parts.append(
                f'<circle cx="{across(bar.value):.1f}" cy="{y:.1f}" r="4.5" class="{kind}"/>'
            )
        parts.append(_text(left + wide + 8, y + 4, _shown(bar, digits)))
    marked = [0.0] if zero else []
    for value in [*marked, *([] if reference is None else [reference])]:
        parts.append(_line(across(value), 0, across(value), height - 20, "faint"))
    parts.append(_text(left, height - 6, f"{low:.2f}"))
    parts.append(_text(left + wide, height - 6, f"{high:.2f}", "end"))
    return _figure(title, width, height, parts)


def axis_of(bars: Sequence[Bar], also: Sequence[float] = ()) -> tuple[float, float]:
    """From the lowest to the highest end of bars, and of other values."""
    ends = [e for bar in bars for e in (bar.value, bar.low, bar.high) if isfinite(e)]
    low, high = min([*ends, *also], default=0.0), max([*ends, *also], default=1.0)
    return (low, high) if high - low > 1e-9 else (low - 0.5, high + 0.5)


def _shown(bar: Bar, digits: int) -> str:
    ends = f" [{bar.low:.{digits}f}, {bar.high:.{digits}f}]" if isfinite(bar.low) else ""
    return f"{bar.value:.{digits}f}{ends}{'; ' + bar.note if bar.note else ''}"


def curves(
    title: str,
    lines: Sequence[tuple[str, Sequence[tuple[float, float]]]],
    *,
    across: str,
    up: str,
    square: bool = False,
    reference: tuple[float, str] | None = None,
    notes: Sequence[str] = (),
    band: Sequence[tuple[float, float]] = (),
) -> Html:
    """Lines over an axis each. `square`: both from 0 to 1, with the diagonal; `notes` stand at the points
    of the first line, and `band` has the ends of their intervals, nan where there is none."""
    width, height, left, top = 330.0, 262.0, 40.0, 22.0
    wide, tall = width - left - 10, height - top - 44
    points = np.array([point for _, line in lines for point in line] or [(0.0, 0.0)])
    low, high = points.min(0), points.max(0)
    if square:
        low, high = np.zeros(2), np.ones(2)
    else:
        ends = [end for pair in band for end in pair if isfinite(end)]
        low[1], high[1] = min([low[1], *ends]), max([high[1], *ends])
        if reference:
            low[1], high[1] = min(low[1], reference[0]), max(high[1], reference[0])
        margin = 0.06 * (high[1] - low[1]) or 0.05
        is_share = low[1] >= 0 and high[1] <= 1
        low[1], high[1] = low[1] - margin, high[1] + margin
        if is_share:
            low[1], high[1] = max(0.0, low[1]), min(1.0, high[1])
    span = np.where(high - low > 1e-12, high - low, 1.0)

    def place(x: float, y: float) -> tuple[float, float]:
        return (
            float(left + (x - low[0]) / span[0] * wide),
            float(top + tall - (y - low[1]) / span[1] * tall),
        )

    parts = [f'<rect x="{left}" y="{top}" width="{wide}" height="{tall}" rx="4"/>']
    if band:
        parts.append(_band([x for x, _ in lines[0][1]], band, place))
    if square:
        parts.append(_line(*place(0, 0), *place(1, 1), "faint"))
    if reference:
        y = place(float(low[0]), reference[0])[1]
        parts.append(_line(left, y, left + wide, y, "faint"))
        parts.append(_text(left + wide - 4, y - 4, reference[1], "end"))
    for number, (name, line) in enumerate(lines):
        kind = f"series{number % SERIES}"
        places = [place(x, y) for x, y in line]
        parts.append(
            f'<polyline class="{kind}" points="{" ".join(f"{x:.1f},{y:.1f}" for x, y in places)}"/>'
        )
        if len(places) <= 15:
            parts += [
                f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" class="{kind}"/>' for x, y in places
            ]
        if not number:
            parts += [
                _text(x, y - 8, note, "middle") for (x, y), note in zip(places, notes, strict=False)
            ]
        if len(lines) > 1 and places:
            parts.append(_text(places[-1][0] - 4, places[-1][1] - 8, name, "end", "strong"))
    for value, y in ((high[1], top + 9), (low[1], top + tall)):
        parts.append(_text(left - 5, y, f"{value:.2f}", "end"))
    bottom = top + tall + 15
    parts.append(_text(left, bottom, f"{low[0]:g}"))
    parts.append(_text(left + wide, bottom, f"{high[0]:g}", "end"))
    parts.append(_text(left + wide / 2, bottom + 16, across, "middle"))
    parts.append(_text(left, top - 8, up))
    return _figure(title, width, height, parts)


def _band(
    across: Sequence[float],
    ends: Sequence[tuple[float, float]],
    place: Callable[[float, float], tuple[float, float]],
) -> str:
    """The area between the ends of the intervals."""
    known = [(x, *pair) for x, pair in zip(across, ends, strict=True) if all(map(isfinite, pair))]
    corners = [place(x, low) for x, low, _ in known]
    corners += [place(x, high) for x, _, high in reversed(known)]
    return f'<polygon class="band" points="{" ".join(f"{x:.1f},{y:.1f}" for x, y in corners)}"/>'


def ranks(title: str, mean_ranks: Sequence[tuple[str, float]], distance: float) -> Html:
    """A critical-difference diagram (Demsar, 2006): names on an axis of mean ranks, 1 is best, and a bar
    under those that differ by less than `distance`."""
    ordered = sorted(mean_ranks, key=lambda one: one[1])
    count, row = len(ordered), 20.0
    margin = 16 + _LETTER * max(len(name) + 6 for name, _ in ordered)
    left, wide = margin, 300.0
    reaches = [
        (i, max(j for j in range(i, count) if j == i or ordered[j][1] - ordered[i][1] < distance))
        for i in range(count)
    ]
    groups = [(i, j) for i, j in reaches if j > i and not any(a < i and j <= b for a, b in reaches)]

    def across(rank: float) -> float:
        return left + (rank - 1) / max(1, count - 1) * wide

    parts = [_line(left, 30, left + wide, 30)]
    parts += [
        _line(across(r), 26, across(r), 34) + _text(across(r), 20, str(r), "middle")
        for r in range(1, count + 1)
    ]
    for place, (i, j) in enumerate(groups):
        y = 40.0 + 7 * place
        parts.append(_line(across(ordered[i][1]) - 3, y, across(ordered[j][1]) + 3, y, "series1"))
    top = 48.0 + 7 * len(groups)
    better = (count + 1) // 2
    # The outermost on top: lines do not cross.
    rows = [*range(better), *reversed(range(count - better))]
    for number, (row_number, (name, rank)) in enumerate(zip(rows, ordered, strict=True)):
        x, y = across(rank), top + row * row_number + 10
        end, anchor = (left - 6, "end") if number < better else (left + wide + 6, "start")
        parts.append(_line(x, 30, x, y) + _line(x, y, end, y))
        parts.append(f'<circle cx="{x:.1f}" cy="30" r="4" class="series0"/>')
        gap = -4 if number < better else 4
        parts.append(_text(end + gap, y + 4, f"{name}  {rank:.2f}", anchor, "strong"))
    return _figure(title, 2 * margin + wide, top + row * better + 6, parts)


def shares(title: str, rows: Sequence[tuple[str, Sequence[tuple[str, float]]]]) -> Html:
    """A bar of parts in each row, in per cent; the parts of a row add up to 100, or to less."""
    left = 10 + _LETTER * max((len(name) for name, _ in rows), default=1)
    wide, row = 280.0, 30.0
    parts = []
    for number, (name, found) in enumerate(rows):
        y, at = row * number + 4, left
        parts.append(_text(left - 6, y + 15, name, "end", "strong"))
        parts.append(f'<rect x="{left:.1f}" y="{y:.1f}" width="{wide}" height="22" rx="3"/>')
        for series, (part, value) in enumerate(found):
            width = value / 100 * wide
            parts.append(
                f'<rect x="{at:.1f}" y="{y:.1f}" width="{max(0.0, width - 1):.1f}" height="22" '
                f'class="fill{series % SERIES}"/>'
            )
            if width > _LETTER * len(f"{part} {value:.0f}"):
                parts.append(_text(at + width / 2, y + 15, f"{part} {value:.0f}", "middle", "on"))
            at += width
    return _figure(title, left + wide + 6, row * len(rows) + 4, parts)


def scatter(
    title: str, points: Sequence[tuple[str, float, float]], *, across: str, up: str
) -> Html:
    """A named point for each (name, x, y), x from 0."""
    width, height, left, top = 360.0, 270.0, 44.0, 22.0
    wide, tall = width - left - 12, height - top - 42
    highest = 1.15 * max((x for _, x, _ in points), default=1.0) or 1.0
    low, high = min(y for *_, y in points), max(y for *_, y in points)
    margin = 0.15 * (high - low) or 0.05
    low, high = low - margin, high + margin
    parts = [f'<rect x="{left}" y="{top}" width="{wide}" height="{tall}" rx="4"/>']
    places = [
        (left + x / highest * wide, top + tall - (y - low) / (high - low) * tall)
        for _, x, y in points
    ]
    below = -inf
    for number in sorted(range(len(points)), key=lambda number: places[number][1]):
        (name, x, _), (px, py) = points[number], places[number]
        parts.append(f'<circle cx="{px:.1f}" cy="{py:.1f}" r="6" class="series{number % SERIES}"/>')
        below = max(py + 4, below + 14)  # names of near points stand below each other
        side, anchor = (9, "start") if x < 0.6 * highest else (-9, "end")
        parts.append(_text(px + side, below, name, anchor, "strong"))
    parts.append(_text(left - 5, top + 9, f"{high:.3f}", "end"))
    parts.append(_text(left - 5, top + tall, f"{low:.3f}", "end"))
    parts.append(_text(left, top + tall + 15, "0"))
    parts.append(_text(left + wide, top + tall + 15, f"{highest:.3g}", "end"))
    parts.append(_text(left + wide / 2, top + tall + 31, across, "middle"))
    parts.append(_text(left, top - 8, up))
    return _figure(title, width, height, parts)
