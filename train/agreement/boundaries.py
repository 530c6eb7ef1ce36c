"""Whether two codings see the same stretches: which begin or end together, and how far apart."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from affectstream.train.annotations.annotations import Stretch


@dataclass(frozen=True, slots=True)
class Boundaries:
    """Changes of label in two codings."""

    first: int
    second: int
    matched: int
    """Pairs of changes to the same label within the tolerance, each change in one pair at most."""
    difference: float
    """Median of second minus first over the pairs, in seconds; nan without pairs."""

    @property
    def f1(self) -> float:
        """2 x matched over all changes; nan if there are none."""
        total = self.first + self.second
        return 2 * self.matched / total if total else math.nan


Changes = list[tuple[float, str]]


def match(ours: Changes, theirs: Changes, tolerance: float) -> Boundaries:
    """Pair the onsets, or the offsets, of two codings, nearest first."""
    candidates = sorted(
        (abs(b - a), i, j)
        for i, (a, label) in enumerate(ours)
        for j, (b, other) in enumerate(theirs)
        if label == other and abs(b - a) <= tolerance + 1e-9
    )
    used_i, used_j = set[int](), set[int]()
    differences = []
    for _, i, j in candidates:
        if i not in used_i and j not in used_j:
            used_i.add(i)
            used_j.add(j)
            differences.append(theirs[j][0] - ours[i][0])
    middle = float(np.median(differences)) if differences else math.nan
    return Boundaries(len(ours), len(theirs), len(differences), middle)


def pooled(parts: Sequence[Boundaries]) -> Boundaries:
    """Several recordings together; the difference is the mean of theirs, weighted by pairs."""
    pairs = sum(part.matched for part in parts)
    known = [part for part in parts if part.matched]
    mean = sum(part.difference * part.matched for part in known) / pairs if pairs else math.nan
    return Boundaries(sum(p.first for p in parts), sum(p.second for p in parts), pairs, mean)


def onsets(stretches: Sequence[Stretch]) -> Changes:
    """Where a label begins that did not hold before."""
    changes = [(stretches[0].start, stretches[0].label)] if stretches else []
    for before, after in pairwise(stretches):
        if after.label != before.label or after.start > before.end + 1e-6:
            changes.append((after.start, after.label))
    return changes


def offsets(stretches: Sequence[Stretch]) -> Changes:
    """Where a label ends that does not hold afterwards."""
    changes = [
        (before.end, before.label)
        for before, after in pairwise(stretches)
        if after.label != before.label or after.start > before.end + 1e-6
    ]
    return [*changes, *((last.end, last.label) for last in stretches[-1:])]
