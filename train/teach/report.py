"""What teaching found, for a terminal."""

from __future__ import annotations

import math

from affectstream.train.statistics import Interval
from affectstream.train.teach.fit.held_out import STEPS
from affectstream.train.teach.result.verdict import METRICS
from affectstream.train.teach.teach import Taught

_SHOWN = ("accuracy", "uar", "log_loss", "ece")


def lines(found: Taught) -> list[str]:
    """What was coded, before and after on those held out, the verdict, and what was written."""
    lesson, comparison = found.lesson, found.comparison
    counts = ", ".join(f"{label} {count}" for label, count in lesson.counts.items())
    by = {"person": "people", "recording": "recordings", "block": "blocks of 30 s"}[comparison.by]
    shown = [
        f"{lesson.minutes:.1f} minutes coded, {lesson.stretches} stretches, {lesson.people} people, "
        f"{lesson.recordings} recordings; hops: {counts}",
        "",
        f"Held out: {comparison.units} {by}, {comparison.hops} hops"
        + ("" if _has_interval(found) else " (too few for intervals)"),
        f"{'':18}{'before':28}{'after':28}difference",
    ]
    for name in METRICS:
        before, after, difference = (
            _interval(side[name])
            for side in (comparison.before, comparison.after, comparison.difference)
        )
        shown.append(f"{name.replace('_', ' '):18}{before:28}{after:28}{difference}")
    shown += [
        "",
        f"{'label':18}{'hops':>6}{'found before':>14}{'found after':>13}{'right after':>13}",
    ]
    for label, row in comparison.labels.items():
        cells = (row.recall_before, row.recall_after, row.precision_after)
        before, after, right = ("-" if cell is None else f"{cell:.2f}" for cell in cells)
        shown.append(f"{label:18}{row.count:6}{before:>14}{after:>13}{right:>13}")
    shown += _steps(found)
    shown += ["", comparison.claim, f"Change chosen: {found.correction.amount}{_encoders(found)}."]
    if (chosen := comparison.encoders_chosen) is not None:
        shown.append(
            f"In {chosen[0]} of {chosen[1]} folds those held in chose new last layers of the encoders."
        )
    shown += [f"Note: {note}." for note in found.notes]
    if found.output is None:
        shown.append("Nothing was written; --write-anyway writes the bundle all the same.")
    else:
        shown.append(
            f"Written: {found.output} ({found.seconds:.0f} s). Use it with --bundle {found.output}."
        )
    return shown


def _steps(found: Taught) -> list[str]:
    """What smaller and larger changes would do; nothing where only one was possible."""
    if len(found.steps) < 2:
        return []
    heads = "".join(f"{name.replace('_', ' '):26}" for name in _SHOWN)
    shown = ["", f"{'what may change':26}{heads}".rstrip()]
    for step, one in found.steps.items():
        cells = "".join(f"{_interval(one.after[name]):26}" for name in _SHOWN)
        shown.append(f"{STEPS[step]:26}{cells}".rstrip())
    return shown


def _encoders(found: Taught) -> str:
    parts = [f"{modality} encoder ({how})" for modality, how in found.encoders.items()]
    return f"; last layers of the {', '.join(parts)}" if parts else ""


def _has_interval(found: Taught) -> bool:
    return math.isfinite(found.comparison.difference["log_loss"].low)


def _interval(one: Interval) -> str:
    if not math.isfinite(one.low):
        return f"{one.value:.3f}"
    return f"{one.value:.3f} [{one.low:.3f}, {one.high:.3f}]"
