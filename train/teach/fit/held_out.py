"""What teaching does for people who were held out: recalibration alone, the head, and the encoders too.

Each outer fold is predicted by what was fitted to the others. What is chosen (the amount of change, and
whether the encoders are fitted) is chosen on inner folds of those others, so nothing is ever chosen on the
people that are reported.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import numpy as np

from affectstream.train.teach.data.hops import Array, Hops
from affectstream.train.teach.fit.choose import (
    EVIDENCE,
    OUTER,
    Units,
    folds,
    inner_losses,
    smallest,
    split,
    units_of,
)
from affectstream.train.teach.fit.correction import AMOUNTS, Amount, Base, fit, unchanged

if TYPE_CHECKING:
    from affectstream.train.teach.fit.encoder_step import EncoderStep

Step = Literal["calibration", "head", "encoders"]
STEPS: Mapping[Step, str] = {
    "calibration": "recalibrated",
    "head": "head",
    "encoders": "head and encoders",
}
"""From the smallest to the largest; each includes those before it."""


@dataclass(frozen=True, slots=True, eq=False)
class HeldOut:
    """The predictions of the old and the new bundle for hops of units that neither was fitted to."""

    before: Array
    """(n, C)"""
    after: Array
    """By what was chosen in each fold."""
    amounts: tuple[Amount, ...]
    """What was chosen in each fold, without the fold."""
    refitted: tuple[bool, ...] = ()
    """Whether the encoders were to be fitted too, in each fold; empty where they cannot be."""
    by_step: Mapping[Step, Array] = field(default_factory=dict)
    """(n, C) if no more than a step is allowed."""

    @property
    def with_encoders(self) -> bool:
        """Whether more than half of the folds chose to fit the encoders."""
        return 2 * sum(self.refitted) > len(self.refitted)

    @property
    def amount(self) -> Amount:
        """What was chosen most often, of equal ones the first: what was measured is what is then fitted to
        all."""
        refitted = self.refitted or (False,) * len(self.amounts)
        alike = [
            amount
            for amount, one in zip(self.amounts, refitted, strict=True)
            if one == self.with_encoders
        ]
        ordered = sorted(alike, key=AMOUNTS.index)
        return Counter(ordered).most_common(1)[0][0] if ordered else AMOUNTS[0]


def held_out(
    hops: Hops,
    units: Units,
    base: Base,
    amounts: Sequence[Amount],
    window_s: float,
    encoders: EncoderStep | None = None,
) -> HeldOut:
    """Choose and fit without each fold, and predict the fold.

    `encoders` are those of these hops, if there is enough to fit them.
    """
    before = unchanged(base).probabilities(hops.evidence)
    steps = _steps(amounts, encoders is not None)
    by_step = {step: before.copy() for step in steps}
    after = before.copy()
    chosen: list[Amount] = []
    refitted: list[bool] = []
    for fold in folds(units, OUTER):
        train, test = split(hops, units, fold, window_s)
        if not len(train):
            continue
        fitted, checked = hops.rows(train), hops.rows(test)
        rest = units.rows(train)
        if rest.count < 2:  # of two people one is left: its recordings, or blocks of time
            rest = units_of(fitted)
        losses = (
            inner_losses(fitted, rest, base, amounts, window_s)
            if rest.count > 1
            else np.arange(len(amounts), dtype=np.float64)
        )
        amount, best = smallest(losses, amounts), float(losses.min())
        for step, allowed in steps.items():
            if step != "encoders":
                own = smallest(losses[: len(allowed)], allowed)
                by_step[step][test] = fit(fitted, base, own).probabilities(checked.evidence)
        after[test] = fit(fitted, base, amount).probabilities(checked.evidence)
        chosen.append(amount)
        if encoders is not None:
            found = encoders.refit(train, rest, window_s)
            taught = fitted.with_evidence(found.out_of_fold)
            losses = inner_losses(taught, rest, base, amounts, window_s)
            own = smallest(losses, amounts)
            seen = encoders.evidence(test, found.weights)
            by_step["encoders"][test] = fit(taught, base, own).probabilities(seen)
            refitted.append(bool(found.weights) and float(losses.min()) < best - EVIDENCE)
            if refitted[-1]:
                after[test], chosen[-1] = by_step["encoders"][test], own
    return HeldOut(before, after, tuple(chosen), tuple(refitted), by_step)


def _steps(amounts: Sequence[Amount], encoders: bool) -> dict[Step, Sequence[Amount]]:
    """What each step may choose from; `amounts` are in their order, so a smaller step has the first of
    them."""
    small = [amount for amount in amounts if amount.level in ("none", "calibration")]
    steps: dict[Step, Sequence[Amount]] = {"calibration": small} if small else {}
    if len(small) < len(amounts):
        steps["head"] = amounts
    if encoders:
        steps["encoders"] = amounts
    return steps
