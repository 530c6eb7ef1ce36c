"""How sure a figure is, and whether one model is better than another on the same samples.

Intervals are percentile bootstraps (Efron, 1979). Samples of one person are alike, so where people are
known it is people that are drawn, each with all their samples (Davison and Hinkley, 1997, 3.8): drawing
samples then would give intervals that are too narrow.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[Any]
Figures = Callable[..., Mapping[str, float]]
"""Figures by name, of columns of the same length such as truth and guess."""

DRAWS = 1000
LEVEL = 0.95


@dataclass(frozen=True, slots=True)
class Interval:
    """A figure, and between what it lies in `LEVEL` of the draws; nan where no draw had the figure."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.4f} [{self.low:.4f}, {self.high:.4f}]"


@dataclass(frozen=True, slots=True)
class Groups:
    """Which samples are drawn together."""

    numbers: NDArray[np.int64]
    """Of each sample (n,), from 0."""
    by: str
    """``participant``, or ``sample`` where each is drawn for itself."""


def groups_of(participants: Sequence[str | None]) -> Groups:
    """One group for each participant; for each sample where not all are known, or there is one only."""
    known = [who for who in participants if who is not None]
    if len(known) < len(participants) or len(set(known)) < 2:
        return Groups(np.arange(len(participants)), "sample")
    return Groups(np.unique(np.asarray(known, str), return_inverse=True)[1], "participant")


def bootstrap(
    figures: Figures,
    *columns: Numbers,
    groups: Groups | None = None,
    draws: int = DRAWS,
    seed: int = 0,
) -> dict[str, Interval]:
    """Each of `figures` of `columns` (n, ...), with its interval; the same for the same seed.

    `groups` are drawn whole; None draws samples. A draw in which a figure is missing or nan, an AUC of
    one class for instance, is left out of that figure's interval. Raises `ValueError` for fewer than two
    groups: there is nothing to draw from.
    """
    numbers = np.arange(len(columns[0])) if groups is None else groups.numbers
    count = len(np.unique(numbers))
    if count < 2:
        raise ValueError(f"{count} group(s) to draw from, expected two or more")
    order = np.argsort(numbers, kind="stable")
    units = np.split(order, np.flatnonzero(np.diff(numbers[order])) + 1)
    values = dict(figures(*columns))
    drawn: dict[str, list[float]] = {name: [] for name in values}
    rng = np.random.default_rng(seed)
    for _ in range(draws):
        picked = rng.integers(count, size=count)
        # Groups of one need no putting together, which takes most of the time.
        rows = order[picked] if count == len(order) else np.concatenate([units[i] for i in picked])
        for name, value in figures(*(column[rows] for column in columns)).items():
            if name in drawn and not math.isnan(value):
                drawn[name].append(value)
    return {name: _interval(value, drawn[name]) for name, value in values.items()}


def difference(
    figures: Figures,
    truth: Numbers,
    first: Numbers,
    second: Numbers,
    *,
    groups: Groups | None = None,
    draws: int = DRAWS,
    seed: int = 0,
) -> dict[str, Interval]:
    """`figures` of `second` less those of `first`, both drawn with the same samples (paired).

    An interval without 0 in it is a difference that the choice of samples does not explain.
    """

    def less(truth: Numbers, first: Numbers, second: Numbers) -> dict[str, float]:
        before, after = figures(truth, first), figures(truth, second)
        return {name: after[name] - before[name] for name in after if name in before}

    return bootstrap(less, truth, first, second, groups=groups, draws=draws, seed=seed)


def of_guesses(truth: Numbers, guess: Numbers) -> dict[str, float]:
    """`figures.of_classes` of class numbers (n,) both, quick enough to be drawn thousands of times."""
    classes = int(max(truth.max(), guess.max())) + 1
    confusion = np.bincount(truth * classes + guess, minlength=classes * classes)
    table = confusion.reshape(classes, classes).astype(np.float64)
    right, true, said = table.diagonal(), table.sum(1), table.sum(0)
    f1 = 2.0 * right / np.maximum(true + said, 1.0)
    return {
        "accuracy": float(right.sum() / true.sum()),
        "macro_f1": float(f1[true + said > 0].mean()),
        "weighted_f1": float((f1 * true).sum() / true.sum()),
        "uar": float((right[true > 0] / true[true > 0]).mean()),
    }


@dataclass(frozen=True, slots=True)
class McNemar:
    """The exact test (McNemar, 1947) on the samples that one model gets right and the other does not."""

    first_only: int
    second_only: int
    p: float
    """Two-sided, 1 where they never differ."""
    g: float
    """Cohen's g: the second's share of those samples less one half."""


def mcnemar(first_right: Numbers, second_right: Numbers) -> McNemar:
    """Compare what two models get right (n,) bool each, of the same samples.

    Takes samples for independent; with several of each person see `over_participants`.
    """
    from scipy.stats import binomtest

    first_only = int((first_right & ~second_right).sum())
    second_only = int((second_right & ~first_right).sum())
    differ = first_only + second_only
    if not differ:
        return McNemar(0, 0, 1.0, 0.0)
    p = float(binomtest(second_only, differ).pvalue)
    return McNemar(first_only, second_only, p, second_only / differ - 0.5)


@dataclass(frozen=True, slots=True)
class Participants:
    """Two models' mean scores for each participant, such as accuracies, compared in pairs."""

    count: int
    mean: float
    """Of second less first."""
    t_p: float
    """Of the paired t-test, two-sided; 1 where no participant differs."""
    wilcoxon_p: float
    """Of Wilcoxon's signed-rank test, the same."""
    d: float | None
    """Cohen's d of pairs: the mean in standard deviations of the differences; 0 where none differs, None
    where all differ by the same amount."""


def over_participants(
    first_scores: Numbers, second_scores: Numbers, groups: Groups
) -> Participants | None:
    """Compare the mean score (n,), such as 1 for right, by participant; None where they are not known."""
    from scipy.stats import ttest_rel, wilcoxon

    if groups.by != "participant":
        return None
    counts = np.bincount(groups.numbers)
    first, second = (
        np.bincount(groups.numbers, weights=scores) / counts
        for scores in (first_scores, second_scores)
    )
    apart = second - first
    if not apart.any():
        return Participants(len(counts), 0.0, 1.0, 1.0, 0.0)
    spread = float(apart.std(ddof=1))
    alike = spread < 1e-12
    return Participants(
        count=len(counts),
        mean=float(apart.mean()),
        t_p=0.0 if alike else float(ttest_rel(second, first).pvalue),
        wilcoxon_p=float(wilcoxon(apart).pvalue),
        d=None if alike else float(apart.mean()) / spread,
    )


def _interval(value: float, drawn: Sequence[float]) -> Interval:
    if not drawn:
        return Interval(value, math.nan, math.nan)
    low, high = np.quantile(drawn, [(1.0 - LEVEL) / 2.0, (1.0 + LEVEL) / 2.0])
    return Interval(value, float(low), float(high))
