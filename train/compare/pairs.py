"""Two networks on the same samples: is one better, or is it the choice of samples?

Everything is paired: the intervals draw the same samples for both, and the tests look at the samples that one
network gets right and the other does not.
"""

from __future__ import annotations

from dataclasses import dataclass

from affectstream.train.compare.aligned import Aligned
from affectstream.train.statistics import (
    Interval,
    McNemar,
    PairedTest,
    mcnemar,
    over_groups,
    paired_difference,
)


@dataclass(frozen=True, slots=True)
class PairComparison:
    """The second of two networks less the first."""

    first: str
    second: str
    difference: dict[str, Interval]
    """Second minus first."""
    mcnemar: McNemar | None
    """None for a task whose predictions are not right or wrong."""
    paired: PairedTest | None
    """On the share of right predictions, or on the negative error, of participants or folds; None if both
    are unknown."""

    @property
    def p(self) -> float | None:
        """Of the paired t-test; of McNemar's where there are neither participants nor folds."""
        if self.paired is not None:
            return self.paired.t_p
        return None if self.mcnemar is None else self.mcnemar.p

    def lines(self, corrected: float | None = None) -> list[str]:
        """The tests for a terminal; `corrected` is p after Holm."""
        out = []
        if (test := self.mcnemar) is not None:
            out.append(
                f"right only in the first {test.first_only}, only in the second {test.second_only}: "
                f"McNemar p {test.p:.3g}, Cohen's g {test.g:+.3f}"
            )
        if (paired := self.paired) is not None:
            size = "undefined (all differ alike)" if paired.d is None else f"{paired.d:+.2f}"
            out.append(
                f"over {paired.count} {paired.by}s: mean difference {paired.mean:+.4f}, paired t p "
                f"{paired.t_p:.3g}, Wilcoxon p {paired.wilcoxon_p:.3g}, Cohen's d {size}"
            )
        if corrected is not None:
            out.append(f"corrected for the number of pairs (Holm): p {corrected:.3g}")
        return out


def compare_pair(
    aligned: Aligned, first: int, second: int, names: tuple[str, str] = ("first", "second")
) -> PairComparison:
    """Compare two of the networks by their numbers."""
    scores = aligned.scores
    one, other = scores[:, first], scores[:, second]
    return PairComparison(
        *names,
        difference=paired_difference(
            aligned.task.metrics,
            aligned.truth,
            aligned.predicted[first],
            aligned.predicted[second],
            groups=aligned.groups,
        ),
        mcnemar=mcnemar(one > 0, other > 0) if aligned.is_right_or_wrong else None,
        paired=over_groups(one, other, aligned.units),
    )
