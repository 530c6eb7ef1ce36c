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
    """What a group is: ``participant``, ``sample`` or ``fold``."""


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
        name: Interval(float(value), *map(float, np.quantile(drawn[name] or [math.nan], ends)))
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
    """`metrics` of `second` minus those of `first`, with the same samples drawn for both. If an interval
    excludes 0, the choice of samples does not explain the difference."""

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
    """Compare two models by which samples (n,) bool each gets right. Assumes independent samples; with
    several of each participant see `over_groups`."""
    from scipy.stats import binomtest

    first_only = int((first_correct & ~second_correct).sum())
    second_only = int((second_correct & ~first_correct).sum())
    differing = first_only + second_only
    if not differing:
        return McNemar(0, 0, 1.0, 0.0)
    p = float(binomtest(second_only, differing).pvalue)
    return McNemar(first_only, second_only, p, second_only / differing - 0.5)


@dataclass(frozen=True, slots=True)
class PairedTest:
    """Paired tests on two models' mean scores (such as accuracy) of each participant or fold."""

    by: str
    """``participant`` or ``fold``."""
    count: int
    mean: float
    """Mean difference, second minus first."""
    t_p: float
    """p of the paired t-test, two-sided; 1 if nobody differs. Over folds with the correction of Nadeau and
    Bengio (2003): they share most of their training samples."""
    wilcoxon_p: float
    """p of Wilcoxon's signed-rank test; 1 if nobody differs."""
    d: float | None
    """Cohen's d of pairs, the mean difference in standard deviations; None if all differ by the same
    amount."""


def group_means(scores: Array, groups: Groups) -> Array:
    """The mean score of each group."""
    return np.bincount(groups.numbers, weights=scores) / np.bincount(groups.numbers)


def over_groups(first_scores: Array, second_scores: Array, groups: Groups) -> PairedTest | None:
    """Compare the scores (n,), such as 1 for correct, by participant or fold; None for single samples."""
    from scipy.stats import t, ttest_rel, wilcoxon

    if groups.by == "sample":
        return None
    first, second = (group_means(scores, groups) for scores in (first_scores, second_scores))
    differences, count = second - first, len(first)
    if not differences.any():
        return PairedTest(groups.by, count, 0.0, 1.0, 1.0, 0.0)
    mean, deviation = float(differences.mean()), float(differences.std(ddof=1))
    constant = deviation < 1e-12
    if constant:
        t_p = 0.0
    elif groups.by == "fold":
        error = deviation * math.sqrt(1 / count + 1 / (count - 1))
        t_p = float(2 * t.sf(abs(mean) / error, count - 1))
    else:
        t_p = float(ttest_rel(second, first).pvalue)
    return PairedTest(
        groups.by,
        count,
        mean,
        t_p,
        float(wilcoxon(differences).pvalue),
        None if constant else mean / deviation,
    )


def holm(values: Sequence[float]) -> list[float]:
    """p values corrected for their number (Holm, 1979), in their order."""
    from statsmodels.stats.multitest import multipletests  # it takes a second to import

    return [float(p) for p in multipletests(values, method="holm")[1]] if values else []


@dataclass(frozen=True, slots=True)
class Friedman:
    """Whether three or more models differ at all: their ranks within each block."""

    test: str
    """``Friedman``; over single samples, right or wrong, ``Cochran's Q``, which is the same."""
    blocks: int
    statistic: float
    p: float
    """1 if no block tells them apart."""
    mean_ranks: tuple[float, ...]
    """1 is best."""
    critical_distance: float | None
    """Ranks that are further apart differ at 5 % (Nemenyi; Demsar, 2006); None over single samples."""


def friedman(scores: Array, groups: Groups) -> Friedman:
    """Compare the columns of `scores` (n, k), k at least 3 and higher is better, by group. The post-hoc test
    of single samples is McNemar's."""
    from scipy.stats import friedmanchisquare, rankdata, studentized_range

    by_sample = groups.by == "sample"
    means = scores if by_sample else np.stack([group_means(one, groups) for one in scores.T], 1)
    blocks, count = means.shape
    differ = bool((means != means[:, :1]).any())
    statistic, p = friedmanchisquare(*means.T) if differ else (0.0, 1.0)
    distance = float(studentized_range.ppf(LEVEL, count, np.inf)) / math.sqrt(2)
    return Friedman(
        "Cochran's Q" if by_sample else "Friedman",
        blocks,
        float(statistic),
        float(p),
        tuple(float(rank) for rank in rankdata(-means, axis=1).mean(0)),
        None if by_sample else distance * math.sqrt(count * (count + 1) / (6 * blocks)),
    )
