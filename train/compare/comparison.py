"""Two or more networks at each task: metrics, all pairs with Holm's correction, and whether any differ."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

from affectstream.train.compare.aligned import Aligned, align
from affectstream.train.compare.candidates import Candidate
from affectstream.train.compare.pairs import PairComparison, compare_pair
from affectstream.train.evaluate.table import aligned as as_table
from affectstream.train.statistics import Friedman, Interval, bootstrap, friedman, holm


@dataclass(frozen=True, slots=True)
class TaskComparison:
    """All networks at one task."""

    task: str
    samples: int
    by: str
    """What the intervals draw: ``participant`` or ``sample``."""
    metrics: dict[str, dict[str, Interval]]
    """By network, then by metric."""
    pairs: tuple[PairComparison, ...]
    corrected: tuple[float | None, ...]
    """`PairComparison.p` of each pair after Holm's correction for their number."""
    friedman: Friedman | None
    """For three or more networks."""
    commonest: float | None
    """See `Aligned.commonest`."""

    def lines(self) -> list[str]:
        """For a terminal."""
        names = list(next(iter(self.metrics.values())))
        out = [f"{self.task}: {self.samples} samples, 95 % bootstrap intervals by {self.by}"]
        rows = [
            [network, *(str(found[name]) for name in names)]
            for network, found in self.metrics.items()
        ]
        out += as_table([["", *names], *rows])
        if self.commonest is not None:
            out.append(f"always saying the commonest class: accuracy {self.commonest:.3f}")
        for pair, corrected in zip(self.pairs, self.corrected, strict=True):
            out.append(f"{pair.second} less {pair.first}:")
            marked = (
                f"{name} {i}{'' if i.low <= 0 <= i.high else ' *'}"
                for name, i in pair.difference.items()
            )
            several = len(self.pairs) > 1
            out += [f"  {line}" for line in (*marked, *pair.lines(corrected if several else None))]
        if (test := self.friedman) is not None:
            ranks = ", ".join(
                f"{name} {rank:.2f}"
                for name, rank in zip(self.metrics, test.mean_ranks, strict=True)
            )
            out.append(
                f"{test.test} over {test.blocks} blocks: {test.statistic:.2f}, p {test.p:.3g}; mean ranks: "
                f"{ranks}"
            )
            if test.critical_distance is not None:
                out.append(f"ranks that are {test.critical_distance:.2f} apart differ (Nemenyi)")
        return out


def compare(candidates: Sequence[Candidate]) -> list[TaskComparison]:
    """Compare at every task that all have, on the samples that all predict. Raises as `align`."""
    folds = candidates[0].folds if all(c.folds is not None for c in candidates) else None
    parts = [candidate.predictions for candidate in candidates]
    names = [candidate.name for candidate in candidates]
    return [_compare_task(one, names) for one in align(parts, folds)]


def _compare_task(found: Aligned, names: Sequence[str]) -> TaskComparison:
    pairs = tuple(
        compare_pair(found, i, j, (names[i], names[j]))
        for i, j in combinations(range(len(names)), 2)
    )
    values = [pair.p for pair in pairs]
    known = [value for value in values if value is not None]
    corrected = tuple(holm(known)) if len(known) == len(values) else (None,) * len(values)
    several = len(names) > 2 and (found.units.by != "sample" or found.is_right_or_wrong)
    return TaskComparison(
        task=found.task.name,
        samples=len(found.truth),
        by=found.groups.by,
        metrics={
            name: bootstrap(found.task.metrics, found.truth, predicted, groups=found.groups)
            for name, predicted in zip(names, found.predicted, strict=True)
        },
        pairs=pairs,
        corrected=corrected,
        friedman=friedman(found.scores, found.units) if several else None,
        commonest=found.commonest,
    )
