"""The page about a comparison."""

from __future__ import annotations

from collections.abc import Sequence
from math import nan

from affectstream.train.compare.candidates import Candidate
from affectstream.train.compare.comparison import TaskComparison
from affectstream.train.compare.recommend import ALIKE, Recommendation
from affectstream.train.evaluate.bundle.evaluation_page import FOOTER, cost_card, importance_parts
from affectstream.train.metrics import metric_title
from affectstream.train.pages import charts
from affectstream.train.pages.charts import Bar
from affectstream.train.pages.elements import (
    Cell,
    Html,
    card,
    few_people,
    hint,
    items,
    page,
    table,
    verdict,
)
from affectstream.train.pages.elements import charts as side_by_side
from affectstream.train.statistics import Interval

ALPHA = 0.05
"""Rows of pairs whose corrected p is below stand out."""


def comparison_page(
    candidates: Sequence[Candidate],
    found: Sequence[TaskComparison],
    recommended: Recommendation,
) -> str:
    """The page; the recommendation is by the first task."""
    names = ", ".join(candidate.name for candidate in candidates)
    cards = [_recommendation(candidates, found[0], recommended)]
    cards += [part for one in found for part in _task_cards(one)]
    if worth := [(c.name, c.importance) for c in candidates if c.importance is not None]:
        cards.append(card("What each modality is worth", *importance_parts(worth)))
    if costs := [(c.name, c.cost) for c in candidates if c.cost is not None]:
        cards.append(cost_card(costs))
    cards.append(_networks(candidates))
    title = names if len(names) < 60 else f"{len(candidates)} networks"
    badges = [(f"split {candidates[0].split}", False), (f"{found[0].samples} samples", False)]
    badges += few_people(list(candidates[0].predictions.participants))
    return page("comparison", title, "On the same samples", badges, cards, FOOTER)


def _recommendation(
    candidates: Sequence[Candidate], one: TaskComparison, found: Recommendation
) -> Html:
    points = [
        (c.name, c.cost.hop_ms, one.metrics[c.name][found.metric].value)
        for c in candidates
        if c.cost is not None
    ]
    chart = charts.scatter(
        f"{metric_title(found.metric)} against latency",
        points,
        across="ms a hop on one thread",
        up=metric_title(found.metric),
    )
    return card(
        "Which to take",
        verdict(f"Take {found.choice}." if found.choice else "No network is within the limits."),
        side_by_side(items(found.steps), *([chart] if points else [])),
        hint(
            "The rules: networks beyond the limits are left out. The best of the others stays, and so "
            "does each that is worse by the margin at most, at the upper end of the interval of their "
            "difference. The fastest of these is taken, or the smallest where latencies differ by less "
            f"than {ALIKE:.0%}."
        ),
    )


def _task_cards(one: TaskComparison) -> list[Html]:
    metrics = list(next(iter(one.metrics.values())))
    by_metric = [
        charts.interval_bars(
            metric_title(metric),
            [_bar(name, found[metric], i) for i, (name, found) in enumerate(one.metrics.items())],
        )
        for metric in metrics
    ]
    differences = [
        charts.interval_bars(
            f"Difference in {metric_title(metric)}",
            [_bar(f"{p.second} - {p.first}", p.difference[metric], 0) for p in one.pairs],
            zero=True,
        )
        for metric in metrics[:2]
    ]
    rows: list[Sequence[Cell]] = []
    for pair, corrected in zip(one.pairs, one.corrected, strict=True):
        paired, mc = pair.paired, pair.mcnemar
        rows.append(
            (
                f"{pair.second} - {pair.first}",
                *(("-", "-") if paired is None else (_p(paired.t_p), _p(paired.wilcoxon_p))),
                _p(corrected),
                "-" if paired is None or paired.d is None else f"{paired.d:+.2f}",
                *(("-", "-") if mc is None else (f"{mc.first_only} / {mc.second_only}", _p(mc.p))),
            )
        )
    head = ("difference", "paired t, p", "Wilcoxon, p", "p after Holm", "Cohen's d", "right only in first / second", "McNemar, p")  # fmt: skip  # noqa: E501
    marks = [i for i, value in enumerate(one.corrected) if value is not None and value < ALPHA]
    unit = one.pairs[0].paired
    by = "single samples: people are not known" if unit is None else f"{unit.count} {unit.by}s"
    parts = [side_by_side(*differences), table(head, rows, mark=marks)]
    parts.append(
        hint(
            f"Paired tests over {by}. Holm corrects the p of the paired t-test, or of McNemar's where there "
            "are neither people nor folds, for the number of pairs. Cohen's d: the mean difference in "
            "standard deviations. McNemar's test treats samples as independent."
        )
    )
    if (test := one.friedman) is not None:
        parts += _friedman(one, test.critical_distance)
    return [
        card(f"{one.task.capitalize()}: metrics", side_by_side(*by_metric), _by(one)),
        card(f"{one.task.capitalize()}: is one better?", *parts),
    ]


def _by(one: TaskComparison) -> Html:
    return hint(f"{one.samples} samples; intervals of 95 %, bootstrap by {one.by}.")


def _friedman(one: TaskComparison, distance: float | None) -> list[Html]:
    test = one.friedman
    assert test is not None
    ranks = list(zip(one.metrics, test.mean_ranks, strict=True))
    sentence = f"{test.test} over {test.blocks} blocks: {test.statistic:.2f}, p {test.p:.3g}. " + (
        f"Mean ranks that are {distance:.2f} or more apart differ at 5 % (Nemenyi); a bar joins those "
        "that are nearer."
        if distance is not None
        else "The post-hoc test is McNemar's, corrected by Holm."
    )
    return [
        side_by_side(charts.ranks("Mean ranks, 1 is best", ranks, distance or 0.0)),
        hint(sentence),
    ]


def _bar(name: str, interval: Interval | None, series: int) -> Bar:
    if interval is None:
        return Bar(name, nan, nan, nan)
    return Bar(name, interval.value, interval.low, interval.high, series=series)


def _p(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"


def _networks(candidates: Sequence[Candidate]) -> Html:
    rows = []
    for one in candidates:
        cost = one.cost
        rows.append(
            (
                one.name,
                *(_count(one.parameters), _count(one.trainable), _count(one.frozen)),
                *(("-",) * 4 if cost is None else (
                    f"{cost.flops / 1e6:,.1f}", f"{cost.bytes / 1e6:.1f}",
                    "-" if cost.peak_mb is None else f"{cost.peak_mb:.0f}", f"{cost.hop_ms:.1f}",
                )),
            )
        )  # fmt: skip
    head = (
        "network",
        "parameters",
        "trained",
        "frozen",
        "MFLOP a hop",
        "MB",
        "peak MB",
        "ms a hop",
    )
    return card(
        "Complexity",
        table(head, rows),
        hint(
            "What was trained and frozen is known of runs, and of bundles that say it in their training/. "
            "What a hop costs is measured on bundles: a run is exported to a temporary one, of folds the "
            "first if its weights were kept. Batch normalization is part of other numbers in a bundle, so "
            "its parameters are fewer."
        ),
    )


def _count(value: int | None) -> str:
    return "-" if value is None else f"{value:,}"
