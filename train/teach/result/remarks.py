"""What a reader of a result of teaching has to know beside the figures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from affectstream.train.teach.collect import Found
from affectstream.train.teach.data.coded import CodedRecording
from affectstream.train.teach.result.verdict import Comparison

OWN_RESULT = 0.97
"""Coding that agrees with the bundle this well looks like its own result that nobody corrected."""
MIN_RECALL = 0.3
"""A new label that is found less often gets a note."""


def remarks_on(
    coded: Sequence[CodedRecording],
    found: Sequence[Found],
    comparison: Comparison,
    new_labels: Sequence[str],
) -> list[str]:
    """A sentence for each; none where all is as expected."""
    notes = []
    if missed := sum((one.missed for one in found), Counter[str]()):
        reasons = ", ".join(f"{why} {count}" for why, count in missed.most_common())
        notes.append(
            f"{missed.total()} coded hops are not used: nothing is seen or heard well enough ({reasons})"
        )
    accuracy = comparison.before["accuracy"].value
    if accuracy >= OWN_RESULT and not new_labels:
        notes.append(
            f"the coding agrees with the bundle in {accuracy:.1%} of the hops: if these are its own "
            "results that nobody corrected, nothing can be learned from them (--start and --end say which "
            "part was coded)"
        )
    for label in new_labels:
        recall = comparison.labels[label].recall_after or 0.0
        if recall < MIN_RECALL:
            notes.append(
                f"{label} is found in {recall:.0%} of its hops on those held out: too seldom to be of use"
            )
    return notes
