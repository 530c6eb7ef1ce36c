"""The page about one evaluation."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from affectstream.train.evaluate.bundle.bundle_evaluation import BundleEvaluation
from affectstream.train.evaluate.bundle.cost import Cost
from affectstream.train.evaluate.bundle.error_analysis import FAR, ErrorAnalysis
from affectstream.train.evaluate.bundle.evaluation import Classes, Evaluation
from affectstream.train.evaluate.bundle.importance import SOURCE, Importance
from affectstream.train.pages import charts
from affectstream.train.pages.charts import Bar
from affectstream.train.pages.elements import (
    SCORES_ARE,
    Cell,
    Html,
    card,
    few_people,
    hint,
    items,
    page,
    table,
    terms,
    verdict,
)
from affectstream.train.pages.elements import charts as side_by_side

FOOTER = f"{SCORES_ARE} Figures hold for people, cameras and languages like those of this data set."


def evaluation_page(found: BundleEvaluation, media: Mapping[int, Html]) -> str:
    """The page; `media` has what to show of the samples of some worst cases, by their number."""
    origin = found.origin
    badges = [
        (f"{origin['name']}, split {origin['split']}", False),
        (f"{len(found.predictions.ids)} samples", False),
    ]
    badges += few_people(list(found.predictions.participants))
    if origin["split"] == "train":
        badges.append(("measured on what it was trained on", True))
    cards = [part for one in found.tasks for part in _task_cards(one, found.human)]
    cards.append(_modalities(found))
    if found.errors is not None:
        cards += _error_cards(found.errors, media)
    cards += [cost_card([("", found.cost)]), _made(found)]
    return page(
        "evaluation",
        f"{origin['bundle']} {origin['version']}",
        f"What its predictions on {origin['name']} are worth",
        badges,
        cards,
        FOOTER,
    )


def _task_cards(one: Evaluation, human: float | None) -> list[Html]:
    majority = {} if one.classes is None else one.classes.majority
    bars = [
        Bar(
            name.replace("_", " "),
            *(i.value, i.low, i.high),
            note=f"majority {majority[name]:.3f}" if name in majority else "",
        )
        for name, i in one.metrics.items()
    ]
    if one.classes is None:
        remark = f"{one.samples} samples; intervals of 95 % by {one.by}."
        return [card(one.task, side_by_side(charts.interval_bars("Metrics", bars)), hint(remark))]
    classes, accuracy = one.classes, one.metrics["accuracy"]
    most = max(classes.rows, key=lambda row: row.samples).label
    sentence = (
        f"{accuracy.value:.1%} of {one.samples} samples are right ({accuracy.low:.1%} to "
        f"{accuracy.high:.1%}); always saying {most} would give {majority['accuracy']:.1%}."
    )
    if human is not None and one.task == "emotion":
        sentence += f" The people who labeled them agree with the label {human:.1%} of the time."
    return [
        card(
            one.task.capitalize(),
            verdict(sentence),
            side_by_side(
                charts.interval_bars("Metrics", bars),
                charts.confusion("Confusion", [r.label for r in classes.rows], classes.confusion),
            ),
            hint(
                f"Intervals: 95 %, bootstrap by {one.by}. uar: the mean of the recalls of all classes; ece: "
                "how far confidence and accuracy are apart; majority: always predicting the commonest class."
            ),
        ),
        card(
            f"{one.task.capitalize()}: confidence and classes",
            side_by_side(*_confidence(one, classes), _class_table(classes)),
            hint("Below the dashed diagonal it is more sure than right. Numbers count samples."),
        ),
    ]


def _confidence(one: Evaluation, classes: Classes) -> tuple[Html, ...]:
    return (
        charts.curves(
            f"Reliability: ECE {one.metrics['ece'].value:.3f}",
            [("", [(b.confidence, b.accuracy) for b in classes.reliability])],
            across="mean confidence",
            up="accuracy",
            square=True,
            notes=[str(b.count) for b in classes.reliability],
        ),
        charts.curves(
            "Coverage against accuracy",
            [("", list(classes.coverage))],
            across="share that gets a label, most confident first",
            up="accuracy",
            reference=(classes.majority["accuracy"], "majority class"),
        ),
    )


def _class_table(classes: Classes) -> Html:
    rows = [
        (
            *(r.label, str(r.samples)),
            *(f"{v:.3f}" for v in (r.precision, r.recall, r.f1)),
            "-" if r.auc is None else f"{r.auc:.3f}",
        )
        for r in classes.rows
    ]
    return table(("class", "samples", "precision", "recall", "F1", "AUC"), rows)


def _modalities(found: BundleEvaluation) -> Html:
    names = list(dict.fromkeys(row.metric for row in found.rows))
    by_part: dict[str, dict[str, float]] = {}
    counts: dict[str, int] = {}
    for row in found.rows:
        by_part.setdefault(row.part, {})[row.metric] = row.value
        counts[row.part] = row.count
    lines = [
        (part, str(counts[part]), *(f"{v[n]:.3f}" if n in v else "-" for n in names))
        for part, v in by_part.items()
    ]
    parts = [table(("what it gets", "samples", *(n.replace("_", " ") for n in names)), lines)]
    if found.importance is not None:
        parts += importance_parts([("", found.importance)])
    return card("With modalities missing", *parts)


def importance_parts(found: Iterable[tuple[str, Importance]]) -> list[Html]:
    """What each modality is worth to each of some bundles, named."""
    rows, table_rows = [], []
    samples = set()
    for name, one in found:
        before = f"{name}: " if name else ""
        for kind in ("ablation", "permutation"):
            parts = [(m.modality, getattr(m, f"{kind}_percent")) for m in one.modalities]
            if all(value is not None for _, value in parts):
                rows.append((f"{before}{kind}", parts))
        table_rows += [
            (f"{before}{m.modality}", f"{m.ablation:+.3f}", f"{m.permutation:+.3f}")
            for m in one.modalities
        ]
        samples.add(f"{one.samples} samples that have all of them, by {one.metric} of {one.task}")
    remark = (
        f"On {'; '.join(sorted(samples))}. Ablation: what is lost if the modality is hidden. Permutation: if "
        "it is another sample's (Breiman, 2001). The bars are shares of all that is lost; a modality that "
        f"loses nothing has 0. The source S3 reports {SOURCE} for the modalities of its ensemble on MELD."
    )
    shown = [charts.shares("What each modality is worth, in per cent", rows)] if rows else []
    return [
        side_by_side(
            *shown, table(("lost without it", "by ablation", "by permutation"), table_rows)
        ),
        hint(remark),
    ]


def _error_cards(found: ErrorAnalysis, media: Mapping[int, Html]) -> list[Html]:
    parts: list[Html] = []
    facts = list(dict.fromkeys(group.fact for group in found.groups))
    for fact in facts:
        groups = [group for group in found.groups if group.fact == fact]
        bars = [
            Bar(g.value, g.accuracy.value, g.accuracy.low, g.accuracy.high, f"n {g.samples}")
            for g in groups
        ]
        parts.append(charts.interval_bars(f"Accuracy by {fact}", bars))
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
        "uar",
        "confidence",
        "commonest mistake",
    )
    groups_card = card(
        "Where it fails",
        side_by_side(*parts),
        table(head, rows, mark=marks),
        hint(
            "Thirds of what can be measured of pictures and sound. Marked: the interval of the group "
            "excludes the accuracy of all samples; of many groups, one in twenty does by chance."
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


def cost_card(found: Sequence[tuple[str, Cost]]) -> Html:
    """What some bundles cost."""
    rows = [
        (
            f"{name}: {e.engine}" if name else e.engine,
            *(f"{e.parameters:,}", f"{e.flops / 1e6:,.1f}", f"{e.bytes / 1e6:.2f}"),
            *(str(e.rows), f"{e.ms:.1f}"),
        )
        for name, cost in found
        for e in (*cost.engines,)
    ]
    totals = [
        (
            f"{name}: all" if name else "all",
            *(f"{c.parameters:,}", f"{c.flops / 1e6:,.1f}", f"{c.bytes / 1e6:.2f}"),
            *("", f"{c.hop_ms:.1f}"),
        )
        for name, c in found
    ]
    peaks = ", ".join(
        f"{name + ': ' if name else ''}{c.peak_mb:.0f} MB, hop at the 95th percentile {c.hop_ms_p95:.1f} ms"
        for name, c in found
        if c.peak_mb is not None
    )
    head = ("engine", "parameters", "MFLOP a hop", "MB", "runs a hop", "ms a hop")
    return card(
        "What it costs",
        table(head, [*rows, *totals], mark=range(len(rows), len(rows) + len(totals))),
        hint(
            f"One person, one thread of {found[0][1].machine}, random inputs; words count once a hop, "
            f"although an utterance is encoded once. Memory at its peak: {peaks or 'not known'}."
        ),
    )


def _made(found: BundleEvaluation) -> Html:
    origin = found.origin
    command = (
        f"affectstream train evaluate --bundle {_short(origin['folder'])} --data {_short(origin['data'])} "
        f"--split {origin['split']}"
    )
    pairs: list[tuple[str, Cell]] = [
        ("bundle", f"{origin['bundle']} {origin['version']}"),
        ("data", f"{origin['name']}, split {origin['split']}"),
        ("samples", f"sha256 {str(origin['content_sha256'])[:16]}"),
        ("splits", f"sha256 {str(origin['split_sha256'])[:16]}"),
        ("trained on it", "split train" if origin["trained_on_this_set"] else "not known"),
        ("command", command),
    ]
    return card("How it was made", terms(pairs))


def _short(path: object) -> str:
    """The last name of a path: a page is passed on, and the folders of its maker are nobody's business."""
    return Path(str(path)).name
