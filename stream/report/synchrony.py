"""Whether two people move together: windowed cross-correlation of their readings, against chance.

Within each window the readings of one person are correlated with those of the other, shifted by some seconds
either way (Boker, Xu, Rotondo and King, "Windowed cross-correlation and peak picking for the
analysis of variability in the association between behavioral time series", Psychological Methods 7, 2002).
The peak of a window is its highest correlation. What peaks two people reach who have nothing to do with each
other is found by shifting one series in a circle by more than a window (Moulder, Boker, Ramseyer and
Tschacher, "Determining synchrony between behavioral time series", Psychological Methods 23, 2018): that keeps
how each person moves and breaks what links them in time.

People who are only heard, such as those of two channels, have readings while they speak, and speak in turns.
So a straight line joins their turns, and windows and lags are longer, as in studies of how voices adapt to
each other (De Looze, Scherer, Vaughan and Campbell, "Investigating automatic measurements of prosodic
accommodation and its dynamics in social interaction", Speech Communication 58, 2014). Turns that alternate
make peaks of their own, so a surrogate keeps them: the second person's readings are moved in a circle among
the moments at which this person speaks.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from affectstream.stream.report.readings_by_person import Numbers, Person

STEP_S = 2.0
"""From the beginning of a window to that of the next."""
MEASURES = ("valence", "arousal", "attention")
SURROGATES = 199
MIN_WINDOWS = 20
"""Fewer windows say nothing: 40 s more than a window."""
MOST_WINDOWS = 1500
"""In a long recording windows begin further apart than `STEP_S`, so that there are no more than these."""
MIN_SPOKEN_S = 90.0
"""Somebody who is only heard has to speak so long, or too few surrogates differ."""
MAX_PAIRS = 6
"""Of many tracks, the pairs that are in view together longest."""
_STILL = 0.01
"""A window in which a person moves less, as standard deviation, has no correlation."""


@dataclass(frozen=True, slots=True)
class Scale:
    """How long windows and lags are."""

    window_s: float
    max_lag_s: float
    lag_step_s: float
    bridged_s: float
    """A gap in the readings that is no longer is filled by a straight line."""
    least_s: float
    """What two people have to share: in less time there are too few surrogates that differ."""


IN_VIEW = Scale(window_s=10.0, max_lag_s=3.0, lag_step_s=0.0, bridged_s=1.0, least_s=60.0)
HEARD = Scale(window_s=30.0, max_lag_s=10.0, lag_step_s=1.0, bridged_s=10.0, least_s=300.0)
"""Of pairs of whom one is only heard."""


@dataclass(frozen=True, slots=True, eq=False)
class Synchrony:
    """How one measure of two people moved together."""

    first: int | None
    second: int | None
    """The tracks."""
    measure: str
    window_s: float
    windows: int
    """Windows with readings of both."""
    peak: float
    """Mean of the peak correlations of the windows, -1 to 1 (by Fisher's z)."""
    chance: tuple[float, float]
    """The middle 95 % of what surrogates reach."""
    p: float
    """Share of surrogates that reach `peak` or more."""
    lag_s: float
    """Median lag of the peaks: positive where the second follows the first."""
    times_s: tuple[float, ...] = field(repr=False)
    """The middle of each window."""
    lags_s: tuple[float, ...] = field(repr=False)
    map: NDArray[np.float64] = field(repr=False)
    """Correlation of each window (rows) at each lag; NaN where there is none."""


def synchronies(people: list[Person], hop_s: float) -> list[Synchrony]:
    """The measures of every pair of people who are in view, or on channels of their own, together long
    enough."""
    tracks = [person for person in people if person.track is not None]
    pairs = [(a, b) for place, a in enumerate(tracks) for b in tracks[place + 1 :]]
    pairs.sort(key=lambda pair: -_shared(*pair))
    found = [synchrony(a, b, measure, hop_s) for a, b in pairs[:MAX_PAIRS] for measure in MEASURES]
    return [one for one in found if one is not None]


def synchrony(first: Person, second: Person, measure: str, hop_s: float) -> Synchrony | None:
    """How `measure`, a column of the readings, moved together; None with too few windows."""
    start = max(first.first, second.first)
    end = min(first.first + first.count, second.first + second.count)
    scale = IN_VIEW if all(one.uses("video").any() for one in (first, second)) else HEARD
    window, reach = round(scale.window_s / hop_s), round(scale.max_lag_s / hop_s)
    count = end - start
    if count < round(scale.least_s / hop_s):
        return None
    bridged = round(scale.bridged_s / hop_s)
    series = [one.numbers(measure)[start - one.first : end - one.first] for one in (first, second)]
    one, other = (_standardized(_bridged(values, bridged), window) for values in series)
    step = max(1, round(STEP_S / hop_s), -(-count // MOST_WINDOWS))
    at = np.arange(reach, count - window - reach + 1, step)
    lags = np.arange(-reach, reach + 1, max(1, round(scale.lag_step_s / hop_s)))
    correlations = _correlations(one, other, at, lags, 0)
    peaks, places = _peaks(correlations)
    if peaks.size < MIN_WINDOWS:
        return None
    if scale is HEARD:
        if np.count_nonzero(~np.isnan(series[1])) < MIN_SPOKEN_S / hop_s:
            return None
        moved = (
            _standardized(_bridged(v, bridged), window) for v in _among_turns(series[1], window)
        )
        maps = (_correlations(one, other, at, lags, 0) for other in moved)
    else:
        shifts = _shifts(count, window + reach)
        maps = (_correlations(one, other, at, lags, shift) for shift in shifts)
    by_chance = [_mean_correlation(_peaks(surrogate)[0]) for surrogate in maps]
    chance = np.array([value for value in by_chance if not np.isnan(value)])
    peak = _mean_correlation(peaks)
    low, high = np.quantile(chance, (0.025, 0.975)) if chance.size else (np.nan, np.nan)
    middles = (start + at + window / 2) * hop_s
    return Synchrony(
        first.track,
        second.track,
        measure,
        scale.window_s,
        windows=int(peaks.size),
        peak=round(peak, 4),
        chance=(round(float(low), 4), round(float(high), 4)),
        p=round((1 + int((chance >= peak).sum())) / (1 + chance.size), 4),
        lag_s=round(float(np.median(lags[places])) * hop_s, 3),
        times_s=tuple(middles.tolist()),
        lags_s=tuple((lags * hop_s).tolist()),
        map=correlations,
    )


def _shared(a: Person, b: Person) -> int:
    return min(a.first + a.count, b.first + b.count) - max(a.first, b.first)


def _bridged(values: Numbers, longest: int) -> Numbers:
    """`values` with gaps of up to `longest` hops filled."""
    known = np.flatnonzero(~np.isnan(values))
    if known.size < 2:
        return values
    filled = values.copy()
    for before, after in pairwise(known.tolist()):
        if 1 < after - before <= longest + 1:
            between = np.arange(before + 1, after)
            filled[between] = np.interp(between, (before, after), values[[before, after]])
    return filled


def _standardized(values: Numbers, window: int) -> Numbers:
    """The window that begins at each place, with mean 0 and length 1 (N, window), as if the series went round
    in a circle; NaN where a value is missing or nothing moves."""
    windows = sliding_window_view(np.concatenate([values, values[: window - 1]]), window)
    centered = windows - windows.mean(1, keepdims=True)
    length = np.sqrt((centered**2).sum(1, keepdims=True))
    length[length < _STILL * np.sqrt(window)] = np.nan
    scaled: Numbers = centered / length
    return scaled


def _correlations(
    one: Numbers, other: Numbers, at: NDArray[np.int64], lags: NDArray[np.int64], shift: int
) -> Numbers:
    """The correlation of the windows at `at` with those of the other at each lag (windows, lags)."""
    columns = [
        np.einsum("wk,wk->w", one[at], other[(at + lag + shift) % len(other)]) for lag in lags
    ]
    return np.stack(columns, axis=1)


def _peaks(correlations: Numbers) -> tuple[Numbers, NDArray[np.int64]]:
    """The highest correlation of each window that has any, and the place of its lag."""
    known = correlations[~np.isnan(correlations).all(1)]
    if not known.size:
        return np.empty(0), np.empty(0, np.int64)
    places = np.nanargmax(known, axis=1)
    return known[np.arange(len(known)), places], places


def _mean_correlation(values: Numbers) -> float:
    if not values.size:
        return float("nan")
    return float(np.tanh(np.arctanh(np.clip(values, -0.999, 0.999)).mean()))


def _among_turns(values: Numbers, window: int) -> Iterator[Numbers]:
    """`values`, each time moved on in a circle among the places that have one, by half a window or more."""
    known = np.flatnonzero(~np.isnan(values))
    for shift in _shifts(known.size, window // 2):
        moved = values.copy()
        moved[known] = np.roll(values[known], shift)
        yield moved


def _shifts(count: int, least: int) -> NDArray[np.int64]:
    """Evenly spaced shifts that are longer than a window with its lags, each once."""
    if count < 2 * least:
        return np.empty(0, np.int64)
    spaced = np.linspace(least, count - least, SURROGATES).round().astype(np.int64)
    return np.unique(spaced)
