"""The cards of evaluations, comparisons, trainings and other results, from their files."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import numpy as np

from affectstream.train.fit.checkpoint import LOG, read_log, read_summary
from affectstream.train.gallery.card import Card, headline, share_of
from affectstream.train.gallery.files import (
    AgreementFile,
    ComparisonFile,
    CurveFile,
    EvaluationFile,
    FoldsFile,
    Interval,
    Metrics,
    ReproductionFile,
    RunFile,
)
from affectstream.train.metrics import metric_title
from affectstream.train.pages import thumbnails
from affectstream.train.pages.elements import Html

T = TypeVar("T")
_LAST_METRIC = "valid_loss"


def _read(path: Path, kind: type[T]) -> T:
    return msgspec.json.decode(path.read_bytes(), type=kind)


def evaluation(path: Path) -> Card:
    """``metrics.json``: the first metric of the first task."""
    found = _read(path, EvaluationFile)
    task = found.tasks[0]
    metric = _first(task.metrics)
    notes = [] if len(found.tasks) == 1 else ["also " + ", ".join(t.task for t in found.tasks[1:])]
    if task.classes is None:
        picture = _dots("Metrics", task.metrics)
    else:
        picture = _matrix(
            "Confusion: truth in rows, prediction in columns",
            [row.label for row in task.classes.rows],
            task.classes.confusion,
        )
        if metric in task.classes.majority:
            alone = task.classes.majority[metric]
            alone = alone.value if isinstance(alone, Interval) else alone
            notes.insert(0, f"the commonest class alone: {share_of(alone)}")
    return Card(
        "evaluation",
        f"{found.bundle} {found.version}",
        f"{task.task}, {found.name or 'data set'}, split {found.split}",
        *headline(metric, task.metrics[metric], task.by),
        task.samples,
        picture,
        tuple(notes),
    )


def comparison(path: Path) -> Card:
    """``comparison.json``: the recommended network."""
    found = _read(path, ComparisonFile)
    task, metric = found.tasks[0], found.recommendation.metric
    by_network = {
        name: metrics[metric] for name, metrics in task.metrics.items() if metric in metrics
    }
    choice = found.recommendation.choice
    best = by_network.get(choice or "")
    _, interval, value = ("", "", None) if best is None else headline(metric, best, task.by)
    return Card(
        "comparison",
        f"Take {choice}" if choice else "No network is within the limits",
        f"{', '.join(by_network)}: {task.task}, split {found.networks[0].split}",
        "" if best is None else f"{metric_title(metric)} {share_of(best.value)}",
        interval,
        value,
        task.samples,
        _dots(metric_title(metric), by_network),
        tuple(found.recommendation.steps[:1]),
    )


def curve(path: Path) -> Card:
    """``curve.json``: the metric with all samples."""
    found = _read(path, CurveFile)
    last = found.points[-1]
    metric = next(name for name in last.metrics if name != _LAST_METRIC)
    values = [(point.samples, point.metrics[metric]) for point in found.points]
    line = [(float(samples), value) for samples, value in values if value is not None]
    return Card(
        "learning curve",
        found.recipe,
        f"{found.data}, {len(found.points)} trainings",
        f"{metric_title(metric)} {share_of(last.metrics[metric])}",
        f"with {last.samples} samples; {share_of(values[0][1])} with {values[0][0]}; one training each",
        last.metrics[metric],
        last.samples,
        thumbnails.lines(f"{metric_title(metric)} by samples", [("", line)]),
    )


def folds(path: Path) -> Card:
    """``folds.json``: the metric over all folds."""
    found = _read(path, FoldsFile)
    metric = _first(found.pooled)
    of_folds = [fold.figures.get(metric) for fold in found.folds]
    values = [value for value in of_folds if value is not None]
    spread = f"folds from {min(values):.1%} to {max(values):.1%}" if values else ""
    by = found.interval.rpartition(" ")[2] or "sample"
    return Card(
        "cross-validation",
        found.recipe,
        f"{found.data}, {len(found.folds)} folds",
        *headline(metric, found.pooled[metric], by),
        found.samples,
        _dots("Metrics", found.pooled),
        (spread,) if spread else (),
    )


def run(path: Path) -> Card | None:
    """``summary.json`` of a training; None without a log beside it: other things have such a file too."""
    if not (path.parent / LOG).is_file():
        return None
    found = msgspec.convert(read_summary(path.parent), RunFile)  # may hold NaN, which is no JSON
    log = read_log(path.parent)
    drawn = [
        (metric_title(name), [(row["epoch"], row[name]) for row in log if _is_known(row, name)])
        for name in ("loss", _LAST_METRIC)
    ]
    metric = next((name for name in found.figures if name != _LAST_METRIC), "")
    value = found.figures[metric] if _is_known(found.figures, metric) else None
    return Card(
        "training",
        found.recipe,
        f"{len(log)} epoch{'s' * (len(log) != 1)}",
        f"{metric_title(metric)} {share_of(value)}" if metric else "",
        f"split valid, which chose epoch {found.best_epoch}; no interval",
        value,
        None,
        thumbnails.lines("Losses by epoch", [(name, line) for name, line in drawn if line]),
    )


def reproduction(path: Path) -> Card:
    """``reproduce.json``: the best of the networks."""
    found = _read(path, ReproductionFile)
    ran = [row for row in found.rows if row.metrics]
    metric = _first(ran[0].metrics) if ran else ""
    best = max(ran, key=lambda row: row.metrics[metric].value or 0.0, default=None)
    figure = ("", "", None) if best is None else headline(metric, best.metrics[metric], "")
    notes = [f"{row.recipe}: the source reports {row.reported} %" for row in ran if row.reported]
    notes += [f"{row.recipe}: not run" for row in found.rows if not row.metrics]
    return Card(
        "reproduction",
        f"{found.source} on {found.data}",
        "" if best is None else f"best of ours: {best.recipe}",
        *figure,
        None if best is None else best.samples,
        _dots(metric_title(metric), {row.recipe: row.metrics[metric] for row in ran}),
        tuple(notes),
    )


def agreement(path: Path) -> Card:
    """``agreement.json``: the first kind of coding."""
    found = _read(path, AgreementFile)
    coding = found.codings[0]
    metric = "kappa" if "kappa" in coding.exact else _first(coding.exact)
    return Card(
        "agreement",
        f"{found.first} and {found.second}",
        f"{coding.kind}, {coding.seconds:.0f} s",
        *headline(metric, coding.exact[metric], coding.by, share=False),
        None,
        _matrix(
            f"{found.first} in rows, {found.second} in columns", coding.labels, coding.confusion
        ),
    )


def _matrix(what: str, labels: Sequence[str], confusion: Sequence[Sequence[int]]) -> Html:
    """Raises `ValueError` unless the confusion is square, with a row for each label."""
    counts = np.array(confusion)
    if counts.shape != (len(labels), len(labels)):
        raise ValueError(f"a confusion of {counts.shape} for {len(labels)} classes")
    return thumbnails.matrix(what, labels, counts)


def _is_known(values: Mapping[str, float | None], name: str) -> bool:
    value = values.get(name)
    return value is not None and math.isfinite(value)


def _first(metrics: Mapping[str, Any]) -> str:
    return next(iter(metrics))


def _dots(what: str, metrics: Metrics) -> Html:
    def number(value: float | None) -> float:
        return math.nan if value is None else value

    rows = [
        (name.replace("_", " "), number(one.value), number(one.low), number(one.high))
        for name, one in metrics.items()
    ]
    return thumbnails.intervals(what, rows)
