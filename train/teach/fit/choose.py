"""How much a head may change, chosen by how well held-out people are predicted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from affectstream.train.teach.data.hops import Array, Hops
from affectstream.train.teach.fit.correction import Amount, Base, directions_of, fit

Unit = Literal["person", "recording", "block"]
"""What is held out whole: people; with one person, recordings; with one recording, blocks of time."""
BLOCK_S = 30.0
EVIDENCE = 1.0
"""Nats by which a larger change has to be better, over all windows: less is easily chance."""
OUTER, INNER = 8, 4
"""Folds in which the change is measured, and in which it is chosen; one for each unit if there are fewer."""


@dataclass(frozen=True, slots=True, eq=False)
class Units:
    """What is held out, and drawn for intervals."""

    by: Unit
    numbers: NDArray[np.int64]
    """(n,) from 0."""

    @property
    def count(self) -> int:
        """How many there are."""
        return int(self.numbers.max(initial=-1)) + 1

    def rows(self, picked: NDArray[np.int64]) -> Units:
        """Those of some hops."""
        return Units(self.by, np.unique(self.numbers[picked], return_inverse=True)[1].reshape(-1))


def units_of(hops: Hops) -> Units:
    """People where there are two or more, else recordings, else blocks of time."""
    for by, names in (("person", hops.person), ("recording", hops.recording)):
        found, numbers = np.unique(names, return_inverse=True)
        if len(found) > 1:
            return Units("person" if by == "person" else "recording", numbers.reshape(-1))
    blocks = (hops.seconds // BLOCK_S).astype(np.int64)
    return Units("block", np.unique(blocks, return_inverse=True)[1].reshape(-1))


def folds(units: Units, most: int) -> list[NDArray[np.int64]]:
    """The units of each fold: large ones first, each into the smallest fold."""
    sizes = np.bincount(units.numbers)
    count = min(most, len(sizes))
    members: list[list[int]] = [[] for _ in range(count)]
    filled = np.zeros(count)
    for unit in np.argsort(-sizes, kind="stable"):
        smallest = int(filled.argmin())
        members[smallest].append(int(unit))
        filled[smallest] += sizes[unit]
    return [np.array(sorted(fold)) for fold in members]


def split(
    hops: Hops, units: Units, held_out: NDArray[np.int64], window_s: float
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The hops to fit on, and those of the units that are `held_out`.

    Of blocks of time, hops whose window reaches into one that is held out are in neither.
    """
    test = np.isin(units.numbers, held_out)
    train = ~test
    if units.by == "block":
        times = np.concatenate([[-np.inf], np.sort(hops.seconds[test]), [np.inf]])
        after = np.searchsorted(times, hops.seconds)
        near = np.minimum(hops.seconds - times[after - 1], times[after] - hops.seconds)
        train &= near >= window_s
    return np.flatnonzero(train), np.flatnonzero(test)


def log_loss(probabilities: Array, truth: NDArray[np.int64]) -> Array:
    """(n,) in nats."""
    return np.asarray(-np.log(probabilities[np.arange(len(truth)), truth] + 1e-12))


def inner_losses(
    hops: Hops, units: Units, base: Base, amounts: Sequence[Amount], window_s: float
) -> Array:
    """(A,) the loss of each amount on held-out units, in nats over independent windows."""
    losses = np.zeros(len(amounts))
    for held_out in folds(units, INNER):
        train, test = split(hops, units, held_out, window_s)
        if not len(train):
            continue
        fitted, checked = hops.rows(train), hops.rows(test)
        directions = directions_of(fitted.evidence)
        for number, amount in enumerate(amounts):
            found = fit(fitted, base, amount, directions).probabilities(checked.evidence)
            losses[number] += log_loss(found, checked.truth).sum()
    return losses * base.window_share


def smallest(losses: Array, amounts: Sequence[Amount]) -> Amount:
    """The smallest of `amounts` whose loss is within `EVIDENCE` of the best."""
    return amounts[int(np.flatnonzero(losses <= losses.min() + EVIDENCE)[0])]
