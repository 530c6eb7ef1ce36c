"""The card of a taught bundle: with what it was taught, and what that did for people who were held out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from affectstream.engines.manifest import Manifest, Role
from affectstream.train.export import card
from affectstream.train.statistics import Interval
from affectstream.train.teach.fit.correction import Correction
from affectstream.train.teach.fit.held_out import STEPS, Step
from affectstream.train.teach.result.verdict import METRICS, Comparison


@dataclass(frozen=True, slots=True)
class TeachingData:
    """What a bundle was taught with, for its card."""

    people: int
    recordings: int
    stretches: int
    minutes: float
    """Of the hops that were used."""
    counts: Mapping[str, int]
    """Coded hops of each label."""
    annotations: Mapping[str, str]
    """SHA-256 of each file of annotations, by a number: names may be those of people."""
    recordings_sha256: tuple[str, ...]
    """Of the files of the recordings, so that samples of theirs do not evaluate the bundle."""


def taught_card(
    own: Manifest,
    base: Manifest,
    correction: Correction,
    comparison: Comparison,
    lesson: TeachingData,
    base_sha256: str,
    steps: Mapping[Step, Comparison],
    refitted: Sequence[Role],
) -> list[str]:
    """The sections of the card of the bundle `own`, which was taught from `base`.

    `refitted` are the encoders with new last layers.
    """
    counts = ", ".join(f"{label} {count}" for label, count in lesson.counts.items())
    encoders = f"The encoders are those of `{base.name}`"
    if refitted:
        encoders += f", with new last layers in {' and '.join(refitted)}"
    files = ", ".join(f"{number}: {digest[:12]}" for number, digest in lesson.annotations.items())
    return [
        card.title(own),
        card.USE,
        f"## Taught\nFrom the bundle `{base.name}` {base.version} (manifest {base_sha256[:12]}), by "
        f"`affectstream teach`: {lesson.stretches} coded stretches, {lesson.minutes:.1f} minutes, "
        f"{lesson.people} people, {lesson.recordings} recordings. Coded hops: {counts}.\n"
        f"Annotations (SHA-256): {files}.\n{encoders}; its data, its limits and its license hold here too. "
        f"Changed: {correction.amount}.",
        f"## Measured\n{comparison.claim}\n\n{_comparison_table(comparison)}\n\n{_label_table(comparison)}",
        _steps_table(steps),
        f"## Limits\nAll that was learned is one coder's view of {lesson.people} people. Coding that began "
        "from this bundle's own results agrees with them more than independent coding would.",
    ]


def _comparison_table(comparison: Comparison) -> str:
    """Before and after on those held out, as a table."""
    rows = [
        (
            name,
            _interval(comparison.before[name]),
            _interval(comparison.after[name]),
            _interval(comparison.difference[name], sign=True),
            note,
        )
        for name, note in METRICS.items()
    ]
    return card.table(("metric", "before", "after", "difference", "what"), rows)


def _steps_table(steps: Mapping[Step, Comparison]) -> str:
    """What each step would do, as a section; empty where there is one step alone."""
    if len(steps) < 2:
        return ""
    rows = [
        (STEPS[step], *(_interval(one.after[name]) for name in METRICS))
        for step, one in steps.items()
    ]
    return (
        "If no more than this is changed, on those held out (what to write was chosen on those held in):\n\n"
        + card.table(("changed", *METRICS), rows)
    )


def _label_table(comparison: Comparison) -> str:
    rows = (
        (label, row.count, *map(_two, (row.recall_before, row.recall_after, row.precision_after)))
        for label, row in comparison.labels.items()
    )
    return card.table(("label", "hops", "found before", "found after", "right after"), rows)


def _two(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _interval(one: Interval, *, sign: bool = False) -> str:
    form = "+.3f" if sign else ".3f"
    if not np.isfinite(one.low):
        return format(one.value, form)
    return f"{one.value:{form}} [{one.low:{form}}, {one.high:{form}}]"
