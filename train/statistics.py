"""Bootstrap intervals of metrics, and paired tests between two models on the same samples.

Intervals are percentile bootstraps (Efron, 1979). Samples of one participant are alike, so where
participants are known, whole participants are drawn (Davison and Hinkley, 1997, 3.8): drawing single samples
would give intervals that are too narrow.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Metrics = Callable[..., Mapping[str, float]]
"""Metrics by name, of columns of equal length such as truth and guess."""

DRAWS = 1000
LEVEL = 0.95


@dataclass(frozen=True, slots=True)
class Interval:
    """A metric and its bootstrap interval at `LEVEL`; the ends are nan if no draw had the metric."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.4f} [{self.low:.4f}, {self.high:.4f}]"


@dataclass(frozen=True, slots=True)
class Groups:
    """The unit that a bootstrap draws."""

    numbers: NDArray[np.int64]
    """(n,) the group of each sample, from 0."""
    by: str
    """What a group is: ``participant`` or ``sample``."""


def groups_of(participants: Sequence[str | None]) -> Groups:
    """One group for each participant; one for each sample if a participant is unknown or there is only
    one."""
    known = [participant for participant in participants if participant is not None]
    if len(known) < len(participants) or len(set(known)) < 2:
        return Groups(np.arange(len(participants)), "sample")
    return Groups(np.unique(np.asarray(known, str), return_inverse=True)[1], "participant")


def bootstrap(
    metrics: Metrics,
    *columns: Array,
    groups: Groups | None = None,
    draws: int = DRAWS,
    seed: int = 0,
) -> dict[str, Interval]:
    """Each of `metrics` of `columns` (n, ...) with its interval; the same for the same seed.

    Whole `groups` are drawn; None draws samples. A draw in which a metric is missing or nan (the AUC of one
    class, for instance) is left out of that metric's interval. Raises `ValueError` for fewer than two groups.
    """
    numbers = np.arange(len(columns[0])) if groups is None else groups.numbers
    count = len(np.unique(numbers))
    if count < 2:
        raise ValueError(f"{count} group(s) to draw from, expected two or more")
    order = np.argsort(numbers, kind="stable")
    units = np.split(order, np.flatnonzero(np.diff(numbers[order])) + 1)
    values = dict(metrics(*columns))
    drawn: dict[str, list[float]] = {name: [] for name in values}
    rng = np.random.default_rng(seed)
    for _ in range(draws):
        picked = rng.integers(count, size=count)
        # Groups of one sample need no concatenation, which takes most of the time.
        rows = order[picked] if count == len(order) else np.concatenate([units[i] for i in picked])
        for name, value in metrics(*(column[rows] for column in columns)).items():
            if name in drawn and not math.isnan(value):
                drawn[name].append(value)
    ends = [(1.0 - LEVEL) / 2.0, (1.0 + LEVEL) / 2.0]
    return {
        name: Interval(value, *map(float, np.quantile(drawn[name] or [math.nan], ends)))
        for name, value in values.items()
    }


def paired_difference(
    metrics: Metrics,
    truth: Array,
    first: Array,
    second: Array,
    *,
    groups: Groups | None = None,
    draws: int = DRAWS,
    seed: int = 0,
) -> dict[str, Interval]:
    """`metrics` of `second` minus those of `first`, with the same samples drawn for both.

    If an interval excludes 0, the choice of samples does not explain the difference.
    """

    def difference(truth: Array, first: Array, second: Array) -> dict[str, float]:
        before, after = metrics(truth, first), metrics(truth, second)
        return {name: after[name] - before[name] for name in after if name in before}

    return bootstrap(difference, truth, first, second, groups=groups, draws=draws, seed=seed)


@dataclass(frozen=True, slots=True)
class McNemar:
    """The exact test (McNemar, 1947) on the samples that only one of two models gets right."""

    first_only: int
    second_only: int
    p: float
    """Two-sided, 1 if the models never differ."""
    g: float
    """Cohen's g: the second model's share of these samples, minus one half."""


def mcnemar(first_correct: Array, second_correct: Array) -> McNemar:
    """Compare two models by which samples (n,) bool each gets right.

    Assumes independent samples; with several of each participant see `over_participants`.
    """
    from scipy.stats import binomtest

    first_only = int((first_correct & ~second_correct).sum())
    second_only = int((second_correct & ~first_correct).sum())
    differing = first_only + second_only
    if not differing:
        return McNemar(0, 0, 1.0, 0.0)
    p = float(binomtest(second_only, differing).pvalue)
    return McNemar(first_only, second_only, p, second_only / differing - 0.5)


@dataclass(frozen=True, slots=True)
class ParticipantTest:
    """Paired tests on two models' mean scores (such as accuracy) of each participant."""

    count: int
    mean: float
    """Mean difference, second minus first."""
    t_p: float
    """p of the paired t-test, two-sided; 1 if no participant differs."""
    wilcoxon_p: float
    """p of Wilcoxon's signed-rank test; 1 if no participant differs."""
    d: float | None
    """Cohen's d of pairs, the mean difference in standard deviations; None if all differ by the same
    amount."""


def over_participants(
    first_scores: Array, second_scores: Array, groups: Groups
) -> ParticipantTest | None:
    """Compare the scores (n,), such as 1 for correct, by participant; None if participants are unknown."""
    from scipy.stats import ttest_rel, wilcoxon

    if groups.by != "participant":
        return None
    counts = np.bincount(groups.numbers)
    first, second = (
        np.bincount(groups.numbers, weights=scores) / counts
        for scores in (first_scores, second_scores)
    )
    differences = second - first
    if not differences.any():
        return ParticipantTest(len(counts), 0.0, 1.0, 1.0, 0.0)
    mean, deviation = float(differences.mean()), float(differences.std(ddof=1))
    constant = deviation < 1e-12
    return ParticipantTest(
        count=len(counts),
        mean=mean,
        t_p=0.0 if constant else float(ttest_rel(second, first).pvalue),
        wilcoxon_p=float(wilcoxon(differences).pvalue),
        d=None if constant else mean / deviation,
    )
