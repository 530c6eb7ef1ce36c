"""A correction of a head, fitted to coded hops: few numbers, each drawn towards "as it was".

    scores = log prior + b + k(M) logits(M) / T(M) + sum over present m of (g_m logits_m + E_m V_m + c_m)

M is the set of modalities in use, `logits(M)` the output of the old head, `logits_m` its output for one
modality alone, `E_m` the pooled embedding of a modality, T the old temperatures. b, g, c and V begin at 0 and
k at 1, and each has a Gaussian prior there; its width is the amount of change. It is a multinomial logistic
regression with a MAP estimate (Murphy, Probabilistic Machine Learning, 2022, 10.3), which has one optimum.
Labels that the bundle does not have begin with logits of 0 and a wide prior.

Hops of one window have most of their input in common, so a hop counts as the part of a window that it adds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from affectstream.engines.labels import Modality
from affectstream.engines.manifest import Calibration
from affectstream.train.teach.data.hops import Array, Evidence, Hops

Level = Literal["none", "calibration", "fusion", "embeddings"]
LEVELS: tuple[Level, ...] = ("none", "calibration", "fusion", "embeddings")
"""How deep a correction reaches: not at all; how sure and how frequent; how much each modality counts; the
last layer, from embeddings. Each includes those before it."""
COMPONENTS = 32
"""Directions of the embeddings of a modality, those of the largest variance, that may be used."""
NEW = 3.0
"""Width of the prior of what a new label begins with."""
LEAST_PRIOR = 1e-4
ITERATIONS = 80


@dataclass(frozen=True, slots=True)
class Amount:
    """How much a head may change."""

    level: Level
    width: float = 0.0
    """Standard deviation of the priors of b, k, g and c."""
    embedding_width: float = 0.0
    """Standard deviation of what an embedding of usual length adds to a score, before fitting."""

    def __str__(self) -> str:
        if self.level == "none":
            return "no change"
        more = f", embeddings {self.embedding_width:g}" if self.level == "embeddings" else ""
        return f"{self.level} (width {self.width:g}{more})"


AMOUNTS = (
    Amount("none"),
    Amount("calibration", 0.3),
    Amount("calibration", 1.0),
    Amount("fusion", 0.3),
    Amount("fusion", 1.0),
    Amount("embeddings", 0.3, 0.5),
    Amount("embeddings", 0.3, 2.0),
    Amount("embeddings", 0.3, 6.0),
)
"""From the smallest to the largest."""


@dataclass(frozen=True, slots=True)
class Base:
    """The old head's calibration, over old and new labels."""

    log_prior: Array
    """(C,) of all labels; new ones count as one label of mean frequency."""
    temperature: Mapping[str, float]
    window_share: float
    """The part of a window that a hop adds."""

    @staticmethod
    def of(calibration: Calibration, labels: int, window_share: float) -> Base:
        """From a manifest, for `labels` labels in all."""
        prior = np.asarray(calibration.prior, np.float64)
        new = np.full(labels - len(prior), 1.0 / labels)
        whole = np.concatenate([prior * (1.0 - new.sum()), new])
        return Base(np.log(whole), dict(calibration.temperature), window_share)

    def scaled(self, evidence: Evidence) -> Array:
        """(n, C) the old logits by the old temperatures; zeros for new labels."""
        found = np.zeros((len(evidence), len(self.log_prior)))
        found[:, : evidence.logits.shape[1]] = (
            evidence.logits / self.temperatures(evidence)[:, None]
        )
        return found

    def temperatures(self, evidence: Evidence) -> Array:
        """(n,)"""
        return np.array([self.temperature.get(str(name), 1.0) for name in evidence.sets])


@dataclass(frozen=True, slots=True, eq=False)
class Correction:
    """The fitted numbers. Everything but `bias`, `scale` and `set_scale` is in units of the scores."""

    amount: Amount
    base: Base
    bias: Array
    """(C,) b: how much more frequent each label is, in logarithms."""
    scale: float
    """What k adds to 1, for all sets of modalities that were coded."""
    set_scale: Mapping[str, float]
    """The same for one set, in addition."""
    gain: Mapping[Modality, float]
    """g"""
    offset: Mapping[Modality, Array]
    """(C,) c, with what centering the embeddings adds."""
    matrix: Mapping[Modality, Array]
    """(D, C) V; empty without a change of the last layer."""

    def factor(self, modalities: str) -> float:
        """k of a set of modalities: 1 for one that was not coded."""
        if modalities not in self.set_scale:
            return 1.0
        return 1.0 + self.scale + self.set_scale[modalities]

    def scores(self, evidence: Evidence) -> Array:
        """(n, C) log probabilities, up to a constant."""
        factor = np.array([self.factor(str(name)) for name in evidence.sets])
        found = self.base.log_prior + self.bias + factor[:, None] * self.base.scaled(evidence)
        return np.asarray(found + self.added(evidence))

    def added(self, evidence: Evidence) -> Array:
        """(n, C) the part of the scores that the new head adds to the old one's."""
        old = evidence.logits.shape[1]
        found = np.zeros((len(evidence), len(self.bias)))
        for modality, here in evidence.present.items():
            own = np.zeros_like(found) + self.offset.get(modality, 0.0)
            own[:, :old] += self.gain.get(modality, 0.0) * evidence.alone[modality]
            if modality in self.matrix:
                own += evidence.embeddings[modality] @ self.matrix[modality]
            found += own * here[:, None]
        return found

    def probabilities(self, evidence: Evidence) -> Array:
        """(n, C)"""
        return softmax(self.scores(evidence))


def unchanged(base: Base) -> Correction:
    """The correction that leaves everything as it was."""
    zeros = np.zeros(len(base.log_prior))
    return Correction(Amount("none"), base, zeros, 0.0, {}, {}, {}, {})


def softmax(scores: Array) -> Array:
    """(n, C) to probabilities."""
    weights = np.exp(scores - scores.max(1, keepdims=True))
    return np.asarray(weights / weights.sum(1, keepdims=True))


Directions = Mapping[Modality, tuple[Array, Array]]
"""For each modality the mean (D,) of its embeddings, and their directions of largest variance (D, F), scaled
so that an embedding of usual length has length 1."""


def fit(hops: Hops, base: Base, amount: Amount, directions: Directions | None = None) -> Correction:
    """The most probable correction of this `amount`, given coded hops.

    `directions` are those of these hops, if they are known already.
    """
    if amount.level == "none":
        return unchanged(base)
    if amount.level == "embeddings" and directions is None:
        directions = directions_of(hops.evidence)
    design = _Design(hops, base, amount, directions or {})
    return design.correction(_minimize(design))


class _Design:
    """The terms of the scores that are linear in the numbers to find, and their priors.

    `scalars` (n, K, C) have one number each; `features` (n, F) a row of C numbers each.
    """

    def __init__(self, hops: Hops, base: Base, amount: Amount, bases: Directions) -> None:
        self.truth, self.base, self.amount = hops.truth, base, amount
        evidence = hops.evidence
        self.weight = np.full(len(hops), base.window_share)
        scaled = base.scaled(evidence)
        self.start = base.log_prior + scaled
        self.sets = sorted({str(name) for name in evidence.sets})
        width = amount.width
        scalars = [scaled, *(scaled * (evidence.sets == s)[:, None] for s in self.sets)]
        self.scalar_width = [width, *(0.5 * width for _ in self.sets)]
        features = [np.ones((len(hops), 1))]
        self.feature_width = [np.array([width])]
        self.used: list[Modality] = []
        self.bases = bases if amount.level == "embeddings" else {}
        if amount.level != "calibration":
            self.used = [m for m, here in evidence.present.items() if here.any()]
            for m in self.used:
                alone = np.zeros_like(scaled)
                alone[:, : evidence.logits.shape[1]] = evidence.alone[m]
                scalars.append(alone)
                self.scalar_width.append(0.5 * width)
                features.append(evidence.present[m][:, None].astype(np.float64))
                self.feature_width.append(np.array([width]))
        for m, (mean, directions) in self.bases.items():
            own = (evidence.embeddings[m] - mean) @ directions
            features.append(own * evidence.present[m][:, None])
            self.feature_width.append(np.full(directions.shape[1], amount.embedding_width))
        self.scalars = np.stack(scalars, 1)
        self.features = np.concatenate(features, 1)
        new = np.arange(len(base.log_prior)) >= evidence.logits.shape[1]
        widths = np.repeat(np.concatenate(self.feature_width)[:, None], len(new), 1)
        widths[:, new] = np.maximum(widths[:, new], NEW)
        self.widths = widths
        self.count = len(self.scalar_width)

    def loss(self, numbers: Array) -> tuple[float, Array]:
        """Negative log posterior of all numbers, and its gradient."""
        k, v = numbers[: self.count], numbers[self.count :].reshape(self.widths.shape)
        scores = self.start + np.einsum("nkc,k->nc", self.scalars, k) + self.features @ v
        p = softmax(scores)
        rows = np.arange(len(p))
        widths = np.asarray(self.scalar_width)
        loss = -float(self.weight @ np.log(p[rows, self.truth] + 1e-12))
        loss += 0.5 * float(((k / widths) ** 2).sum() + ((v / self.widths) ** 2).sum())
        p[rows, self.truth] -= 1.0
        p *= self.weight[:, None]
        of_k = np.einsum("nkc,nc->k", self.scalars, p) + k / widths**2
        of_v = self.features.T @ p + v / self.widths**2
        return loss, np.concatenate([of_k, of_v.ravel()])

    def correction(self, numbers: Array) -> Correction:
        """The numbers by their meaning."""
        k, v = numbers[: self.count], numbers[self.count :].reshape(self.widths.shape)
        n, used = len(self.sets), self.used
        gain = {m: float(g) for m, g in zip(used, k[1 + n :], strict=True)}
        offset = dict(zip(used, v[1 : 1 + len(used)], strict=True))
        matrix: dict[Modality, Array] = {}
        at = 1 + len(used)
        for m, (mean, directions) in self.bases.items():
            matrix[m] = directions @ v[at : at + directions.shape[1]]
            offset[m] = offset[m] - mean @ matrix[m]
            at += directions.shape[1]
        set_scale = dict(zip(self.sets, map(float, k[1 : 1 + n]), strict=True))
        # A factor of 0 or less would turn the evidence around.
        scale = max(float(k[0]), -0.9)
        set_scale = {name: max(value, -0.95 - scale) for name, value in set_scale.items()}
        return Correction(
            self.amount, self.base, v[0].copy(), scale, set_scale, gain, offset, matrix
        )


def directions_of(evidence: Evidence) -> Directions:
    """The directions of all modalities that are present."""
    found: dict[Modality, tuple[Array, Array]] = {}
    for modality, here in evidence.present.items():
        if not here.any():
            continue
        own = evidence.embeddings[modality][here]
        mean = own.mean(0)
        sizes, axes = np.linalg.eigh((own - mean).T @ (own - mean) / len(own))
        usable = min(COMPONENTS, int((sizes > 1e-9 * max(1e-9, sizes[-1])).sum()))
        kept = axes[:, len(sizes) - usable :]
        length = float(np.sqrt(sizes[len(sizes) - usable :].sum()))
        found[modality] = mean, kept / max(length, 1e-9)
    return found


def _minimize(design: _Design) -> Array:
    from scipy.optimize import minimize

    start = np.zeros(design.count + design.widths.size)
    found = minimize(
        design.loss, start, jac=True, method="L-BFGS-B", options={"maxiter": ITERATIONS}
    )
    return np.asarray(found.x, np.float64)


def amounts_for(labels: int, old: int, level: Level | None = None) -> Sequence[Amount]:
    """What to choose from: all up to `level`; with new labels, those that reach the embeddings."""
    if labels > old:
        return [amount for amount in AMOUNTS if amount.level == "embeddings"]
    last = LEVELS.index(level or LEVELS[-1])
    return [amount for amount in AMOUNTS if LEVELS.index(amount.level) <= last]
