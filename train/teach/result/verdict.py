"""Metrics before and after on those who were held out, and what may be concluded."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from affectstream.train.calibration import expected_calibration_error
from affectstream.train.metrics import classification
from affectstream.train.statistics import Groups, Interval, bootstrap
from affectstream.train.teach.data.hops import Hops
from affectstream.train.teach.fit.choose import Units, log_loss
from affectstream.train.teach.fit.held_out import HeldOut, Step

Outcome = Literal["helps", "unproven", "does not help"]
MIN_UNITS = 5
"""With fewer units there is no interval: a bootstrap of them says little."""
METRICS = {
    "accuracy": "share of hops with the coder's label",
    "uar": "the same, averaged over the labels",
    "macro_f1": "F1, averaged over the labels",
    "log_loss": "nats, lower is better",
    "ece": "confidence against accuracy, lower is better",
    "labeled": "share of hops with a label (not abstaining)",
    "labeled_accuracy": "accuracy of these",
}
MARGIN = 1e-3
"""A smaller gain in log loss is none."""
LABEL_MARGIN = 0.005
"""Labels are worse if accuracy and `uar` both fall by more than this."""


@dataclass(frozen=True, slots=True)
class LabelRow:
    """One label before and after, by the most probable label of each hop; None where there is no hop."""

    count: int
    """Hops that the coder gave the label."""
    recall_before: float | None
    recall_after: float | None
    precision_after: float | None


@dataclass(frozen=True, slots=True)
class Comparison:
    """Metrics of the old and the new head on the same held-out hops."""

    before: Mapping[str, Interval]
    after: Mapping[str, Interval]
    difference: Mapping[str, Interval]
    """After minus before."""
    labels: Mapping[str, LabelRow]
    by: str
    units: int
    hops: int
    outcome: Outcome
    claim: str
    """What may be concluded, in one or two sentences."""
    encoders_chosen: tuple[int, int] | None = None
    """In how many of how many folds those held in chose new last layers of the encoders; None where they
    could not."""


_UNNAMED = (
    " Nobody says who the people are, so each person in each recording counts as another one: if somebody is "
    "in several recordings, say so with --people, or those held out are not new."
)


def compare(
    hops: Hops, units: Units, found: HeldOut, limits: NDArray[np.float64], *, named: bool = True
) -> Comparison:
    """Metrics with 95 % intervals that draw whole units, and the verdict.

    `limits` (n,) are the confidences from which on a hop gets a label. Unless people are `named`, each in
    each recording counts as another one, which the claim says.
    """
    columns: list[NDArray[Any]] = [hops.truth]
    for probabilities in (found.before, found.after):
        columns += [
            probabilities.argmax(1),
            probabilities.max(1),
            log_loss(probabilities, hops.truth),
        ]
    columns.append(limits)

    def metrics(truth: NDArray[Any], *rest: NDArray[Any]) -> dict[str, float]:
        least = rest[-1]
        before = _metrics(truth, rest[0], rest[1], rest[2], least)
        after = _metrics(truth, rest[3], rest[4], rest[5], least)
        return {
            **{f"before {name}": value for name, value in before.items()},
            **{f"after {name}": value for name, value in after.items()},
            **{f"difference {name}": after[name] - before[name] for name in before},
        }

    if units.count >= MIN_UNITS:
        every = bootstrap(metrics, *columns, groups=Groups(units.numbers, units.by))
    else:
        every = {n: Interval(v, math.nan, math.nan) for n, v in metrics(*columns).items()}
    before, after, difference = (
        {name: every[f"{which} {name}"] for name in METRICS}
        for which in ("before", "after", "difference")
    )
    outcome, claim = _verdict(difference, units, changes=found.amount.level != "none")
    if units.by == "person" and not named and outcome != "does not help":
        claim += _UNNAMED
    return Comparison(
        before,
        after,
        difference,
        _by_label(hops, found),
        units.by,
        units.count,
        len(hops),
        outcome,
        claim,
        (sum(found.refitted), len(found.refitted)) if found.refitted else None,
    )


def compare_steps(
    hops: Hops, units: Units, found: HeldOut, limits: NDArray[np.float64]
) -> dict[Step, Comparison]:
    """`compare` for each step, if no more than that were allowed."""
    return {
        step: compare(hops, units, HeldOut(found.before, after, found.amounts), limits)
        for step, after in found.by_step.items()
    }


def _by_label(hops: Hops, found: HeldOut) -> dict[str, LabelRow]:
    before, after = found.before.argmax(1), found.after.argmax(1)
    rows = {}
    for number, label in enumerate(hops.labels):
        own, predicted = hops.truth == number, after == number
        if own.any() or predicted.any():
            rows[label] = LabelRow(
                int(own.sum()),
                _share(before[own] == number),
                _share(after[own] == number),
                _share(hops.truth[predicted] == number),
            )
    return rows


def _share(hits: NDArray[np.bool_]) -> float | None:
    return float(hits.mean()) if len(hits) else None


def _metrics(
    truth: NDArray[np.int64],
    guess: NDArray[np.float64],
    confidence: NDArray[np.float64],
    loss: NDArray[np.float64],
    least: NDArray[np.float64],
) -> dict[str, float]:
    guess = guess.astype(np.int64)
    correct, labeled = guess == truth, confidence >= least
    found = classification(truth, guess)
    return {
        "accuracy": found["accuracy"],
        "uar": found["uar"],
        "macro_f1": found["macro_f1"],
        "log_loss": float(loss.mean()),
        "ece": expected_calibration_error(confidence, correct),
        "labeled": float(labeled.mean()),
        "labeled_accuracy": float(correct[labeled].mean()) if labeled.any() else math.nan,
    }


def _verdict(
    difference: Mapping[str, Interval], units: Units, *, changes: bool
) -> tuple[Outcome, str]:
    loss, uar, accuracy = (difference[name] for name in ("log_loss", "uar", "accuracy"))
    labels_worse = max(uar.value, accuracy.value) < -LABEL_MARGIN
    if not changes:
        return "does not help", (
            "Teaching does not help: no change is better on those held out than leaving the bundle as it is."
        )
    if loss.value > -MARGIN or labels_worse:
        worse = (
            "its labels would be right less often" if labels_worse else "its scores fit no better"
        )
        return "does not help", f"Teaching does not help: on those held out {worse}."
    others = {
        "person": f"{units.count} people",
        "recording": "one person",
        "block": "one recording of one person",
    }[units.by]
    if units.count < MIN_UNITS or not loss.high < 0:
        why = (
            f"{units.count} {_plural(units)} are too few for an interval (expected {MIN_UNITS} or more)"
            if units.count < MIN_UNITS
            else "chance explains the difference as well"
        )
        return "unproven", (
            f"Better on those held out, but {why}: nothing can be claimed"
            + ("." if units.by == "person" else f", least of all about other people ({others}).")
        )
    what = "labels and scores" if min(accuracy.low, uar.low) > 0 else "scores"
    if what == "scores":
        what += " (labels: not more than chance explains)"
    if units.by != "person":
        return "helps", (
            f"Helps with {what} of {others}. Nobody else was held out, so nothing can be claimed about other "
            "people."
        )
    return "helps", f"Helps with {what} of people it was not taught with ({others})."


def _plural(units: Units) -> str:
    return {"person": "people", "recording": "recordings", "block": "blocks of time"}[units.by]
