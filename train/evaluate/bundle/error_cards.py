"""The cards about where a classifier fails."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from affectstream.train.evaluate.bundle.error_analysis import FAR, ErrorAnalysis
from affectstream.train.pages import charts, thumbnails
from affectstream.train.pages.charts import Bar
from affectstream.train.pages.elements import Cell, Html, card, figure, folded, hint, items, table
from affectstream.train.pages.elements import charts as side_by_side

MOST_CONFUSIONS = 12
"""Of a fact with more groups, such as many people, those of the lowest accuracy are drawn."""


def error_cards(found: ErrorAnalysis, accuracy: float, media: Mapping[int, Html]) -> list[Html]:
    """Groups beside the accuracy of all, worst cases, and people unlike those of the training; `media` has
    what to show of the samples of some worst cases, by their number."""
    by_fact: dict[str, list[Bar]] = {}
    for g in found.groups:
        bar = Bar(g.value, g.accuracy.value, g.accuracy.low, g.accuracy.high, f"n {g.samples}")
        by_fact.setdefault(g.fact, []).append(bar)
    bars = [bar for each in by_fact.values() for bar in each]
    axis = charts.axis_of(bars, [accuracy])
    letters = max((len(bar.name) for bar in bars), default=1)
    parts = [
        charts.interval_bars(
            f"Accuracy by {fact}", each, axis=axis, reference=accuracy, letters=letters
        )
        for fact, each in by_fact.items()
    ]
    rows: list[Sequence[Cell]] = [
        (
            *(f"{g.fact}: {g.value}", str(g.samples), str(g.people or "-")),
            *(f"{v:.3f}" for v in (g.accuracy.value, g.uar, g.confidence)),
            "-" if g.mistake is None else f"{g.mistake[0]} as {g.mistake[1]} ({g.mistake[2]})",
        )
        for g in found.groups
    ]
    marks = [number for number, group in enumerate(found.groups) if group.stands_out]
    head = (
        "who or what",
        "samples",
        "people",
        "accuracy",
        "UAR",
        "confidence",
        "commonest mistake",
    )
    groups_card = card(
        "Where it fails",
        side_by_side(*parts),
        table(head, rows, mark=marks),
        folded(
            "Confusion by person, quality and other groups",
            side_by_side(*_confusions(found)),
            hint(
                "Truth in rows, predictions in columns in the same order, shaded by the share of the row. Of "
                f"many groups the {MOST_CONFUSIONS} with the lowest accuracy; metrics.json has the counts of "
                "all."
            ),
        ),
        hint(
            "Dashed: the accuracy of all samples. Marked: the interval of the group excludes it; of many "
            "groups, one in twenty does by chance. What can be measured of pictures and sound is cut in "
            "thirds."
        ),
    )
    worst: list[Sequence[Cell]] = [
        (
            media.get(one.number, one.id),
            f"{one.truth} as {one.predicted}",
            f"{one.confidence:.2f}",
            f"{one.truth_probability:.2f}",
            ", ".join(
                f"{name} {value}" for name, value in one.facts.items() if name != "modalities"
            ),
        )
        for one in found.worst
    ]
    worst_card = card(
        "Worst cases",
        table(("sample", "mistake", "confidence", "of the truth", "about it"), worst),
        hint("Wrong and most confident. A label can be wrong, too: look and listen."),
    )
    lines: list[Cell] = [
        f"{d.person}: {d.fact} {d.value}; the training has {d.training}" for d in found.differences
    ]
    differences = card(
        "People unlike those of the training",
        *([items(lines)] if lines else []),
        hint(
            f"{len(lines) or 'None'} listed: {found.note}. What counts: a sex, age, language or corpus that "
            f"nobody there has, and a median outside of theirs by {FAR:g} robust standard deviations."
        ),
    )
    return [groups_card, worst_card, differences]


def _confusions(found: ErrorAnalysis) -> Iterator[Html]:
    """The confusion of each group, those of one fact together, the lowest accuracy first."""
    for fact in dict.fromkeys(group.fact for group in found.groups):
        groups = sorted(
            (group for group in found.groups if group.fact == fact),
            key=lambda group: group.accuracy.value,
        )
        for one in groups[:MOST_CONFUSIONS]:
            title = f"{fact} {one.value}: {one.accuracy.value:.0%} of {one.samples}"
            yield figure(title, thumbnails.matrix(title, found.labels, np.array(one.confusion)))
