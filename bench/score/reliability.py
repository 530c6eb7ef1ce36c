"""How far confidence is from accuracy, with what chance and few people alone would give.

The expected calibration error of few samples is too high even of a perfect confidence: noise in the accuracy
of a bin counts as an error, whatever its sign (Kumar, Liang and Ma, "Verified uncertainty calibration",
NeurIPS 2019; Roelofs et al., "Mitigating bias in calibration error estimation", AISTATS 2022). `chance` is
the error that a perfect confidence would have with the same samples. `debiased` takes a part of it off: it is
twice the error less the mean error of bootstrap samples (Davison and Hinkley, 1997, 2.2.3). Whole people are
drawn, because what a network gets wrong of a person it gets wrong again and again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from affectstream.train.statistics import DRAWS, LEVEL

BINS = 10
_PARTS = 3
"""Of a bin: its share, its confidence, and its accuracy (the last two times the share)."""

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Bin:
    """The samples whose confidence is in one of the `BINS` of equal width."""

    share: float
    confidence: float
    accuracy: float
    low: float
    high: float
    """The 95 % interval of `accuracy`, over people."""


@dataclass(frozen=True, slots=True)
class Reliability:
    """Of samples whose labels follow the prior and whose people count the same within a label."""

    samples: int
    people: int
    """With one there is no interval: the ends of intervals are the values themselves, and `chance` is 0."""
    accuracy: float
    ece: float
    """The plain estimate, as others report it."""
    chance: float
    """What it would be of a perfect confidence."""
    debiased: float
    low: float
    high: float
    """The 95 % interval of `debiased`, over people."""
    over: float
    """Mean confidence less accuracy: above 0 the confidence is too high."""
    over_low: float
    over_high: float
    bins: tuple[Bin, ...]
    """Without the empty ones."""

    def to_dict(self) -> dict[str, Any]:
        """Plain values, rounded, for JSON."""
        found = {
            name: round(value, 4) if isinstance(value, float) else value
            for name, value in asdict(self).items()
        }
        found["bins"] = [{n: round(v, 4) for n, v in asdict(one).items()} for one in self.bins]
        return found


def reliability(
    confidence: Floats,
    correct: NDArray[np.bool_],
    labels: NDArray[np.int64],
    people: Sequence[str],
    prior: Floats,
) -> Reliability:
    """Of `confidence` (N,) in labels that are `correct` (N,); `labels` are the true ones."""
    tables, has = _by_person(confidence, correct, labels, people, prior)
    count = len(tables)
    whole = _pooled(tables, has, prior, np.ones((1, count)))
    generator = np.random.default_rng(0)
    drawn = generator.multinomial(count, np.full(count, 1 / count), DRAWS).astype(np.float64)
    (ece,), (over,) = _errors(whole)
    resampled = _pooled(tables, has, prior, drawn)
    errors, gaps = _errors(resampled)
    ends = [(1.0 - LEVEL) / 2.0, (1.0 + LEVEL) / 2.0]
    below, above = np.quantile(errors, ends)
    return Reliability(
        samples=len(labels),
        people=count,
        accuracy=float(whole[0, :, 2].sum()),
        ece=float(ece),
        chance=float(np.abs(_gaps(resampled) - _gaps(whole)).sum(1).mean()),
        debiased=max(0.0, float(2 * ece - errors.mean())),
        low=max(0.0, float(2 * ece - above)),
        high=max(0.0, float(2 * ece - below)),
        over=float(over),
        over_low=float(np.quantile(gaps, ends[0])),
        over_high=float(np.quantile(gaps, ends[1])),
        bins=tuple(
            Bin(
                float(share),
                float(sure / share),
                float(right / share),
                *map(float, np.quantile(of[of[:, 0] > 0, 2] / of[of[:, 0] > 0, 0], ends)),
            )
            for (share, sure, right), of in zip(whole[0], resampled.swapaxes(0, 1), strict=True)
            if share > 0
        ),
    )


def _by_person(
    confidence: Floats,
    correct: NDArray[np.bool_],
    labels: NDArray[np.int64],
    people: Sequence[str],
    prior: Floats,
) -> tuple[Floats, Floats]:
    """The bins of the samples of each person and label (P, C, BINS, 3), and which people have which labels
    (P, C)."""
    numbers = np.unique(np.asarray(people, str), return_inverse=True)[1]
    bins = np.minimum((confidence * BINS).astype(int), BINS - 1)
    tables = np.zeros((int(numbers.max()) + 1, len(prior), BINS, _PARTS))
    values = np.stack([np.ones(len(labels)), confidence, correct.astype(np.float64)], 1)
    np.add.at(tables, (numbers, labels, bins), values)
    counts = tables[..., 0].sum(2)
    return tables / np.maximum(counts, 1)[..., None, None], (counts > 0).astype(np.float64)


def _pooled(tables: Floats, has: Floats, prior: Floats, drawn: Floats) -> Floats:
    """The bins (D, BINS, 3) of each draw (D, P) of people; a label that a draw lacks is left out."""
    found = drawn @ has
    weights = np.where(found > 0, prior, 0.0)
    weights /= weights.sum(1, keepdims=True)
    return np.asarray(
        np.einsum("dc,dp,pcbk->dbk", weights / np.maximum(found, 1), drawn, tables, optimize=True)
    )


def _errors(bins: Floats) -> tuple[Floats, Floats]:
    """Expected calibration error and mean overconfidence (D,) of bins (D, BINS, 3)."""
    gaps = _gaps(bins)
    return np.abs(gaps).sum(1), gaps.sum(1)


def _gaps(bins: Floats) -> Floats:
    """Confidence less accuracy (D, BINS), times the share of the bin."""
    return np.asarray(bins[..., 1] - bins[..., 2])
