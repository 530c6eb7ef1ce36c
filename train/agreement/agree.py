"""Agreement between two annotations of the same recordings, in time.

Both sides are sampled at common moments, and compared where both give a verdict. With a tolerance, a moment
of one side agrees if the other side has the same label at most that far away (Bakeman, Quera and Gnisci,
2009: time-unit kappa with tolerance); this is done from both sides, and the two tables are added.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from affectstream.stream.errors import OptionError
from affectstream.train.agreement import boundaries, coefficients
from affectstream.train.agreement.boundaries import Boundaries
from affectstream.train.agreement.outcome import (
    Agreement,
    CodingAgreement,
    Disagreement,
    RatingAgreement,
    Settings,
)
from affectstream.train.agreement.pairs import Pair, T, check_persons, match_persons, recordings
from affectstream.train.annotations.annotations import Annotations, Coding, Rating, Stretch
from affectstream.train.errors import DataError
from affectstream.train.statistics import Array, Groups, Interval, Metrics, bootstrap

BLOCK = 10.0
"""Seconds that are drawn together where there are too few recordings to draw: moments that follow each other
are alike (Kuensch, 1989)."""
MIN_UNITS = 5
"""Of fewer recordings, or blocks, no interval is drawn."""
LAGS = np.arange(-20, 21) / 10.0
"""Seconds by which the second side is shifted to look for a lag."""
MIN_GAIN = 0.05
MIN_SECONDS = 30.0
"""A lag is reported if so much agreement is gained by it, over so much time: less is chance."""


def agree(
    first: Sequence[Annotations], second: Sequence[Annotations], settings: Settings | None = None
) -> Agreement:
    """Compare every kind that both sides have.

    Raises `DataError` if no recording, or no kind, is on both sides, or nowhere both give a verdict;
    `OptionError` where it stays open who is who, and for a renamed label that nobody gave.
    """
    settings = settings or Settings()
    matched = recordings(first, second)
    codings: dict[str, list[Pair[Coding]]] = {}
    ratings: dict[str, list[Pair[Rating]]] = {}
    persons = settings.persons or {}
    check_persons(matched, persons)
    _check_renamed(matched, settings)
    for a, b in matched:
        for kind in a.kinds:
            codings.setdefault(kind, []).extend(
                match_persons(a, _of(a.codings, kind), _of(b.codings, kind), persons)
            )
            ratings.setdefault(kind, []).extend(
                match_persons(a, _of(a.ratings, kind), _of(b.ratings, kind), persons)
            )
    of_codings = [_compare_codings(k, pairs, settings) for k, pairs in codings.items() if pairs]
    of_ratings = [_compare_ratings(k, pairs, settings) for k, pairs in ratings.items() if pairs]
    found_codings = tuple(one for one in of_codings if one is not None)
    found_ratings = tuple(one for one in of_ratings if one is not None)
    names = [
        str(side[0].path) if len(side) == 1 else f"{len(side)} recordings"
        for side in (first, second)
    ]
    if not found_codings and not found_ratings:
        kinds = [sorted({kind for one in side for kind in one.kinds}) for side in (first, second)]
        raise DataError(
            f"nothing to compare: {names[0]} has {', '.join(kinds[0]) or 'no labels'}, {names[1]} has "
            f"{', '.join(kinds[1]) or 'no labels'}; expected a kind that both annotate at the same time"
        )
    compared = {one.kind for one in found_codings} | {one.kind for one in found_ratings}
    paired = {id(side) for found in codings.values() for p in found for side in (p.first, p.second)}
    paired |= {
        id(side) for found in ratings.values() for p in found for side in (p.first, p.second)
    }
    left = (
        _left(first, [a for a, _ in matched], compared, paired),
        _left(second, [b for _, b in matched], compared, paired),
    )
    return Agreement(names[0], names[1], settings, found_codings, found_ratings, left)


def _check_renamed(matched: Sequence[tuple[Annotations, Annotations]], settings: Settings) -> None:
    labels = {
        stretch.label
        for pair in matched
        for one in pair
        for coding in one.codings
        for stretch in coding.stretches
    }
    for name in settings.rename or {}:
        if name not in labels:
            there = ", ".join(sorted(labels)) or "none"
            raise OptionError(f"--rename {name}: no annotation has {name!r}; they have {there}")


def _left(
    side: Sequence[Annotations],
    matched: Sequence[Annotations],
    compared: set[str],
    paired: set[int],
) -> tuple[str, ...]:
    """The recordings of a side that the other lacks, the kinds that were not compared, and of those that were
    the people without a partner: whose codings and ratings are not among the ids of the `paired`."""
    known = {one.path for one in matched}
    kinds = {kind for one in matched for kind in one.kinds}
    alone = [
        f"{one.person or 'nobody named'} in {each.recording} ({one.kind})"
        for each in matched
        for one in chain[Coding | Rating](each.codings, each.ratings)
        if one.kind in compared and id(one) not in paired
    ]
    return (
        *sorted(f"recording {one.recording}" for one in side if one.path not in known),
        *sorted(kinds - compared),
        *sorted(alone),
    )


def _of(side: Sequence[T], kind: str) -> list[T]:
    return [one for one in side if one.kind == kind]


@dataclass(frozen=True, slots=True)
class _Sampled:
    """One pair at common moments, as numbers of the labels; `NO_VERDICT` between stretches."""

    pair: Pair[Coding]
    times: NDArray[np.float64]
    first: NDArray[np.int64]
    padded: NDArray[np.int64]
    """The second side, `margin` moments longer at either end."""
    margin: int

    @property
    def second(self) -> NDArray[np.int64]:
        return self.shifted(0)

    @property
    def both(self) -> NDArray[np.bool_]:
        return (self.first >= 0) & (self.second >= 0)

    def shifted(self, moments: int) -> NDArray[np.int64]:
        """The second side that many moments later, at most `margin`."""
        start = self.margin - moments
        return self.padded[start : start + len(self.first)]


def _sample(pair: Pair[Coding], settings: Settings, numbers: Mapping[str, int]) -> _Sampled:
    step = settings.step
    end = max(one.stretches[-1].end for one in (pair.first, pair.second))
    times = np.arange(0.5 * step, end + abs(settings.offset), step)
    margin = round(float(LAGS.max()) / step)
    before = 0.5 * step - settings.offset
    moments = np.asarray(before + step * np.arange(-margin, len(times) + margin), np.float64)
    second = pair.second.numbers_at(moments, numbers)
    return _Sampled(pair, times, pair.first.numbers_at(times, numbers), second, margin)


def _label_numbers(
    pairs: Sequence[Pair[Coding]], settings: Settings
) -> tuple[tuple[str, ...], dict[str, int]]:
    """The names that labels shall have, and the place of each label among them."""
    names = settings.rename or {}
    sides = [side for pair in pairs for side in (pair.first, pair.second)]
    wanted = {s.label: names.get(s.label, s.label) for side in sides for s in side.stretches}
    labels = tuple(sorted(set(wanted.values())))
    return labels, {label: labels.index(name) for label, name in wanted.items()}


def _compare_codings(
    kind: str, pairs: Sequence[Pair[Coding]], settings: Settings
) -> CodingAgreement | None:
    every, numbers = _label_numbers(pairs, settings)
    sampled = [_sample(pair, settings, numbers) for pair in pairs]
    first = np.concatenate([one.first[one.both] for one in sampled])
    second = np.concatenate([one.second[one.both] for one in sampled])
    if not len(first):
        return None
    used = np.unique([first, second])  # no row for a label that never meets a verdict
    labels = tuple(every[number] for number in used)
    first, second = np.searchsorted(used, first), np.searchsorted(used, second)
    groups = _groups([(one.pair.whole, one.times[one.both]) for one in sampled])
    metrics = partial(coefficients.of_codes, count=len(labels))
    reach = round(settings.tolerance / settings.step)
    tolerant = _tolerant_table(sampled, len(every), reach)
    given = np.sum(
        [((one.first >= 0).sum(), (one.second >= 0).sum(), one.both.sum()) for one in sampled], 0
    )
    either = int(given[0] + given[1] - given[2])
    seconds = len(first) * settings.step
    return CodingAgreement(
        kind=kind,
        recordings=len({one.pair.whole for one in sampled}),
        seconds=seconds,
        coverage=(float(given[0] / either), float(given[1] / either)),
        given=(float(given[0] * settings.step), float(given[1] * settings.step)),
        exact=_intervals(metrics, first, second, groups),
        tolerant={
            "agreement": float(np.trace(tolerant) / tolerant.sum()),
            "kappa": coefficients.cohen_kappa(tolerant),
        },
        by="" if groups is None else groups.by,
        labels=labels,
        confusion=coefficients.table(first, second, len(labels)),
        onsets=_boundaries(sampled, settings, boundaries.onsets),
        offsets=_boundaries(sampled, settings, boundaries.offsets),
        lag=_lag(sampled, settings.step) if seconds >= MIN_SECONDS else 0.0,
        disagreements=tuple(
            d for one in sampled for d in _disagreements(one, every, reach, settings.step)
        ),
        by_recording=_each_recording(sampled, used, metrics),
    )


def _each_recording(
    sampled: Sequence[_Sampled], used: NDArray[np.int64], metrics: Metrics
) -> dict[str, dict[str, Interval]]:
    """The metrics of each recording alone; none where there is one."""
    own: dict[str, list[_Sampled]] = {}
    for one in sampled:
        if one.both.any():
            own.setdefault(one.pair.recording, []).append(one)
    if len(own) < 2:
        return {}
    found = {}
    for recording, parts in own.items():
        first = np.concatenate([part.first[part.both] for part in parts])
        second = np.concatenate([part.second[part.both] for part in parts])
        groups = _groups([(recording, part.times[part.both]) for part in parts])
        columns = np.searchsorted(used, first), np.searchsorted(used, second)
        found[recording] = _intervals(metrics, *columns, groups)
    return found


def _boundaries(
    sampled: Sequence[_Sampled],
    settings: Settings,
    changes: Callable[[Sequence[Stretch]], boundaries.Changes],
) -> Boundaries:
    names, found = settings.rename or {}, []
    for one in sampled:
        ours, theirs = (
            [
                s._replace(start=s.start + by, end=s.end + by, label=names.get(s.label, s.label))
                for s in side.stretches
            ]
            for side, by in ((one.pair.first, 0.0), (one.pair.second, settings.offset))
        )
        found.append(boundaries.match(changes(ours), changes(theirs), settings.tolerance))
    return boundaries.pooled(found)


def _tolerant_table(sampled: Sequence[_Sampled], count: int, reach: int) -> NDArray[np.int64]:
    """Moments of either side, each with the other's label, or its own where the other has it nearby."""
    total = np.zeros((count, count), np.int64)
    for one in sampled:
        both, first, second = one.both, one.first, one.second
        near_second = np.where(_has_nearby(first, second, reach), first, second)
        near_first = np.where(_has_nearby(second, first, reach), second, first)
        total += coefficients.table(first[both], near_second[both], count)
        total += coefficients.table(near_first[both], second[both], count)
    return total


def _has_nearby(side: NDArray[np.int64], other: NDArray[np.int64], reach: int) -> NDArray[np.bool_]:
    """(n,) whether `other` has the label that `side` has at most `reach` moments away."""
    found = np.zeros(len(side), bool)
    reach = min(reach, len(side))  # a tolerance of hours is as good as one of the whole recording
    window = np.ones(2 * reach + 1)
    for number in np.unique(side[side >= 0]):
        near = np.convolve(other == number, window, mode="full")[reach : reach + len(side)] > 0.5
        found |= (side == number) & near
    return found


def _disagreements(
    one: _Sampled, labels: Sequence[str], reach: int, step: float
) -> list[Disagreement]:
    """Stretches that differ beyond the tolerance, seen from either side."""
    first, second = one.first, one.second
    agreed = _has_nearby(first, second, reach) & _has_nearby(second, first, reach)
    differ = np.flatnonzero(one.both & ~agreed)
    if not len(differ):
        return []
    breaks = (np.diff(differ) > 1) | (np.diff(first[differ]) != 0) | (np.diff(second[differ]) != 0)
    return [
        Disagreement(
            one.pair.recording,
            one.pair.first.person,
            float(part[0] * step),
            float((part[-1] + 1) * step),
            labels[first[part[0]]],
            labels[second[part[0]]],
        )
        for part in np.split(differ, np.flatnonzero(breaks) + 1)
    ]


def _lag(sampled: Sequence[_Sampled], step: float) -> float:
    """The shift of the second side with the highest agreement; 0 where it gains less than `MIN_GAIN`."""

    def agreement(shift: int) -> float:
        sides = [(one.first, one.shifted(shift)) for one in sampled]
        both = sum(int(((a >= 0) & (b >= 0)).sum()) for a, b in sides)
        return sum(int(((a == b) & (a >= 0)).sum()) for a, b in sides) / max(1, both)

    shifts = sorted({round(lag / step) for lag in LAGS.tolist()}, key=abs)
    found = {shift: round(agreement(shift), 6) for shift in shifts}
    best = max(shifts, key=found.__getitem__)
    return best * step if found[best] - found[0] >= MIN_GAIN else 0.0


def _compare_ratings(
    kind: str, pairs: Sequence[Pair[Rating]], settings: Settings
) -> RatingAgreement | None:
    columns: list[tuple[NDArray[np.float64], NDArray[np.float64]]] = []
    moments = []
    for pair in pairs:
        end = max(float(one.times[-1]) + one.step for one in (pair.first, pair.second))
        times = np.arange(0.5 * settings.step, end + abs(settings.offset), settings.step)
        a, b = pair.first.at(times), pair.second.at(times - settings.offset)
        both = np.isfinite(a) & np.isfinite(b)
        columns.append((a[both], b[both]))
        moments.append((pair.whole, times[both]))
    first, second = (np.concatenate(side) for side in zip(*columns, strict=True))
    if not len(first):
        return None
    groups = _groups(moments)
    return RatingAgreement(
        kind,
        len({pair.whole for pair in pairs}),
        len(first) * settings.step,
        _intervals(coefficients.of_ratings, first, second, groups),
        "" if groups is None else groups.by,
    )


def _groups(moments: Sequence[tuple[str, NDArray[np.float64]]]) -> Groups | None:
    """What a bootstrap draws: recordings where there are enough, else blocks of time; None if too few."""
    names = list(dict.fromkeys(name for name, _ in moments))
    by_recording = len(names) >= MIN_UNITS
    keys: list[tuple[int, int]] = []
    for name, times in moments:
        blocks = np.zeros(len(times), int) if by_recording else (times // BLOCK).astype(int)
        keys += [(names.index(name), int(block)) for block in blocks]
    numbers = np.unique(np.array(keys).reshape(-1, 2), axis=0, return_inverse=True)[1].reshape(-1)
    if len(np.unique(numbers)) < MIN_UNITS:
        return None
    return Groups(numbers, "recording" if by_recording else f"{BLOCK:g} s block")


def _intervals(
    metrics: Metrics, first: Array, second: Array, groups: Groups | None
) -> dict[str, Interval]:
    if groups is None:
        return {n: Interval(v, math.nan, math.nan) for n, v in metrics(first, second).items()}
    return bootstrap(metrics, first, second, groups=groups)
