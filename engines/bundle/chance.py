"""Measured results of a bundle that guessing reaches too."""

from __future__ import annotations

import math

from affectstream.engines.manifest import Manifest, Measurement

_METRICS = ("uar", "emotion/uar", "unweighted recall")


def at_chance(manifest: Manifest) -> list[Measurement]:
    """The measured recalls of emotions, averaged over labels, that guessing reaches too.

    Guessing gives 1 / labels on average; up to two standard errors above that, the result is no better.
    """
    if not manifest.labels:
        return []
    guess = 1 / len(manifest.labels)
    return [
        row
        for row in manifest.results
        if row.metric in _METRICS
        and row.value <= guess + 2 * math.sqrt(guess * (1 - guess) / max(1, row.count))
    ]


def chance_warning(manifest: Manifest) -> str | None:
    """One line about the results of `at_chance`; None where there are none."""
    rows = at_chance(manifest)
    if not rows:
        return None
    of = f"{1 / len(manifest.labels):.2f} for {len(manifest.labels)} labels"
    results = "; ".join(
        f"{row.part} on {row.data}: {row.metric} {row.value}, {row.count} samples" for row in rows
    )
    return f"bundle {manifest.name!r} has results no better than chance ({of}): {results}"
