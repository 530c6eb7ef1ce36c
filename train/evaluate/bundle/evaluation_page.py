"""The page about one evaluation."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from math import isfinite
from pathlib import Path

from affectstream.train.evaluate.bundle.bundle_evaluation import BundleEvaluation
from affectstream.train.evaluate.bundle.cost import Cost
from affectstream.train.evaluate.bundle.error_cards import error_cards
from affectstream.train.evaluate.bundle.evaluation import Classes, Evaluation, OverPeople
from affectstream.train.evaluate.bundle.importance import SOURCE, Importance, ModalityImportance
from affectstream.train.fit.checkpoint import OVERFIT
from affectstream.train.metrics import metric_title
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
from affectstream.train.statistics import Interval
from affectstream.train.studies.learning_curve import curve_charts

FOOTER = f"{SCORES_ARE} Figures hold for people, cameras and languages like those of this data set."

LEFT_OUT = ("weighted_f1", "macro_precision", "weighted_precision", "macro_auc")
"""Metrics that the table of missing modalities leaves to ``metrics.json``, so that it fits the page."""


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
    if taught := origin["taught_recordings_in_doubt"]:
        badges.append((f"taught with {taught} recordings: keep them apart", True))
    cards = [part for one in found.tasks for part in _task_cards(one, found.human)]
    cards += [*_modalities(found), *_training(found)]
    if found.errors is not None:
        of_all = next(one for one in found.tasks if one.task == found.errors.task)
        cards += error_cards(found.errors, of_all.metrics["accuracy"].value, media)
    cards += [cost_card([("", found.cost)]), _made(found)]
    return page(
        "evaluation",
        f"{origin['bundle']} {origin['version']}",
        f"What its predictions on {origin['name']} are worth",
        badges,
        cards,
        FOOTER,
    )


def _task_cards(one: Evaluation, human: Interval | None) -> list[Html]:
    majority = {} if one.classes is None else one.classes.majority
    bars = [
        Bar(
            metric_title(name),
            *(i.value, i.low, i.high),
            note=f"majority {majority[name].value:.3f}" if name in majority else "",
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
        f"{accuracy.high:.1%}); always saying {most} would give {_percent(majority['accuracy'])}."
    )
    if human is not None and one.task == "emotion":
        sentence += (
            f" The people who labeled them agree with the label {_percent(human)} of the time."
        )
    return [
        card(
            one.task.capitalize(),
            verdict(sentence),
            side_by_side(
                charts.interval_bars("Metrics", bars, axis=(0.0, 1.0)),
                charts.confusion("Confusion", [r.label for r in classes.rows], classes.confusion),
            ),
            hint(
                f"Intervals: 95 %, bootstrap by {one.by}. UAR: the mean of the recalls of all classes, which "
                "is the balanced accuracy and the macro recall; the weighted recall is the accuracy; ECE: "
                "how far confidence and accuracy are apart; macro AUC: one class against the rest, mean over "
                "classes; majority: always predicting the commonest class."
            ),
            *_over_people(classes.over_people),
        ),
        card(
            f"{one.task.capitalize()}: confidence and classes",
            side_by_side(*_confidence(one, classes)),
            _class_table(classes),
            hint(
                "Below the dashed diagonal it is more sure than right. Numbers count samples; shaded, and in "
                "brackets: 95 % intervals."
            ),
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
            band=[(b.interval.low, b.interval.high) for b in classes.reliability],
        ),
        charts.curves(
            "Coverage against accuracy",
            [("", list(classes.coverage))],
            across="share that gets a label, most confident first",
            up="accuracy",
            reference=(classes.majority["accuracy"].value, "majority class"),
            band=[(one.low, one.high) for one in classes.coverage_intervals],
        ),
    )


def _over_people(found: OverPeople | None) -> list[Html]:
    """A sentence about the accuracy of each person; nothing where people are not known."""
    if found is None:
        return []
    return [
        hint(
            f"Over {found.people} people: mean accuracy {_percent(found.mean)}, standard deviation "
            f"{found.deviation:.1%}, from {found.lowest:.1%} to {found.highest:.1%}."
        )
    ]


def _percent(one: Interval) -> str:
    if not isfinite(one.low):
        return f"{one.value:.1%}"
    return f"{one.value:.1%} ({one.low:.1%} to {one.high:.1%})"


def _within(value: float | None, interval: Interval | None) -> str:
    """A figure with its interval."""
    if value is None:
        return "-"
    if interval is None or not isfinite(interval.low):
        return f"{value:.3f}"
    return f"{value:.3f} [{interval.low:.3f}, {interval.high:.3f}]"


def _class_table(classes: Classes) -> Html:
    rows = [
        (
            *(r.label, str(r.samples)),
            *(
                _within(getattr(r, n), r.intervals.get(n))
                for n in ("precision", "recall", "f1", "auc")
            ),
        )
        for r in classes.rows
    ]
    return table(("class", "samples", "precision", "recall", "F1", "AUC"), rows)


def _modalities(found: BundleEvaluation) -> list[Html]:
    """What is left without some of the modalities; nothing for one modality."""
    if len(found.by_modalities) < 2:
        return []
    counts = {row.part: row.count for row in found.rows}
    several = len(found.tasks) > 1
    by_part = {
        part: {
            f"{task}/{name}" if several else name: interval
            for task, metrics in tasks.items()
            for name, interval in metrics.items()
        }
        for part, tasks in found.by_modalities.items()
    }
    names = [
        name
        for name in dict.fromkeys(name for metrics in by_part.values() for name in metrics)
        if name.rpartition("/")[2] not in LEFT_OUT
    ]
    lines = [
        (
            *(part, str(counts[part])),
            *(_within(v[n].value, v[n]) if n in v else "-" for n in names),
        )
        for part, v in by_part.items()
    ]
    parts = [table(("what it gets", "samples", *(metric_title(n) for n in names)), lines)]
    if found.importance is not None:
        parts += importance_parts([("", found.importance)])
    return [card("With modalities missing", *parts)]


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
            (f"{before}{m.modality}", *(_lost(m, kind) for kind in ("ablation", "permutation")))
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


def _lost(one: ModalityImportance, kind: str) -> str:
    """What is lost, and its share of all that is lost, with their intervals."""
    value, interval = getattr(one, kind), one.intervals.get(kind)
    shown = f"{value:+.3f}"
    if interval is not None:
        shown += f" [{interval.low:+.3f}, {interval.high:+.3f}]"
    share, interval = getattr(one, f"{kind}_percent"), one.intervals.get(f"{kind}_percent")
    if share is not None and interval is not None:
        shown += f"; {share:.0f} % [{interval.low:.0f}, {interval.high:.0f}]"
    return shown


def _training(found: BundleEvaluation) -> list[Html]:
    """What is known of the training: overfitting, and what more data would bring."""
    lines: list[Cell] = []
    for name, one in found.training.items():
        if one.overfitting is None:
            lines.append(
                f"{name}: whether it overfits is not known: its log lacks one of the losses."
            )
            continue
        lines.append(
            f"{name}: {'overfits' if one.overfits else 'does not overfit'}: the validation loss of the best "
            f"epoch is {one.overfitting:+.0%} from the training loss, {OVERFIT - 1:.0%} would be too much."
        )
    parts: list[Html] = [items(lines)] if lines else []
    if found.curve is not None:
        where = f"{found.curve.recipe} on growing shares of {found.curve.data}"
        parts += [side_by_side(*curve_charts(found.curve)), hint(f"Learning curve: {where}.")]
    else:
        parts.append(
            hint("What more data would bring: train curve measures it, and --curve shows it here.")
        )
    if not lines:
        parts.append(hint("Whether the networks overfit is not known: the bundle does not say it."))
    return [card("Training", *parts)]


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
            f"One person, one thread of {' or '.join(sorted({c.machine for _, c in found}))}, random inputs; "
            "words count once a hop, although an utterance is encoded once. Memory at its peak: "
            f"{peaks or 'not known'}."
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
