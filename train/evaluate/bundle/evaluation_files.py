"""An evaluation as files: metrics, predictions, a page, and a picture for each task of classes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from affectstream.stream.sinks.base import writing
from affectstream.train.evaluate.bundle.bundle_evaluation import BundleEvaluation
from affectstream.train.evaluate.bundle.evaluation import Classes, Evaluation
from affectstream.train.evaluate.bundle.evaluation_page import evaluation_page
from affectstream.train.evaluate.bundle.worst_media import worst_media
from affectstream.train.files import encode_csv, encode_json, write_atomically
from affectstream.train.pages.elements import write_page
from affectstream.train.predict.predictions import Predictions
from affectstream.train.tasks import Task

if TYPE_CHECKING:
    from matplotlib.axes import Axes


METRICS, TABLE, PREDICTIONS = "metrics.json", "predictions.csv", "predictions.npz"
WORST, PAGE = "worst", "report.html"


def write(
    found: Sequence[Evaluation], predictions: Predictions, origin: Mapping[str, Any], folder: Path
) -> None:
    """Write metrics, predictions and pictures into `folder`. `origin` says what was evaluated, and on what.

    Raises `OutputError` where the disk refuses.
    """
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        predictions.save(folder / PREDICTIONS)
    document = {"schema": "1.2", **origin, "tasks": [_plain(one) for one in found]}
    write_atomically(folder / METRICS, encode_json(document))
    write_atomically(folder / TABLE, encode_csv(_table(predictions)))
    for one in found:
        if one.classes is not None:
            with writing(folder):
                _draw(one, one.classes, folder / f"{one.task}.png")


def write_evaluation(found: BundleEvaluation, folder: Path, *, media: bool = False) -> None:
    """Write everything about an evaluation into `folder`; with `media` also faces and sounds of the worst
    cases, which are personal data. Raises `OutputError` where the disk refuses."""
    about = {
        **found.origin,
        "human": found.human,
        "measurements": found.rows,
        "by_modalities": found.by_modalities,
        "training": found.training,
        "learning_curve": found.curve,
        "importance": found.importance,
        "cost": found.cost,
        "errors": found.errors,
    }
    write(found.tasks, found.predictions, about, folder)
    shown = worst_media(found, folder / WORST) if media else {}
    write_page(evaluation_page(found, shown), folder / PAGE)


def _plain(one: Evaluation) -> dict[str, Any]:
    document = asdict(one)
    if one.classes is not None:
        document["classes"]["confusion"] = one.classes.confusion.tolist()
    return document


def _table(predictions: Predictions) -> Iterator[Sequence[str]]:
    """A row for each sample and task: truth, prediction, and the probability of each class."""
    labels = list(dict.fromkeys(label for task in predictions.tasks for label in task.labels))
    yield "id", "participant", "task", "truth", "predicted", *labels
    for task in predictions.tasks:
        for i, name in enumerate(predictions.ids):
            shown = _row(task, predictions.truth[task.name][i], predictions.predicted[task.name][i])
            chances = dict(
                zip(task.labels, np.atleast_1d(predictions.predicted[task.name][i]), strict=False)
            )
            values = [f"{chances[label]:.4f}" if label in chances else "" for label in labels]
            who = predictions.participants[i] or ""
            yield name, who, task.name, *shown, *values


def _row(task: Task, truth: Any, predicted: Any) -> tuple[str, str]:
    if task.target == "class":
        return (task.labels[truth] if truth >= 0 else "", task.labels[int(predicted.argmax())])
    if np.ndim(truth):
        return "", ""
    return ("" if np.isnan(truth) else f"{truth:.4f}", f"{predicted:.4f}")


def _draw(one: Evaluation, classes: Classes, path: Path) -> None:
    """Confusion, reliability and coverage side by side."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(15, 4.6), layout="constrained")
    confusion, reliability, coverage = figure.subplots(1, 3, width_ratios=(1.25, 1, 1))
    draw_confusion(confusion, [row.label for row in classes.rows], classes.confusion)
    reliability.plot((0, 1), (0, 1), color="#999999", linewidth=1)
    bins = classes.reliability
    reliability.plot(
        [b.confidence for b in bins], [b.accuracy for b in bins], "o-", color="#4477aa"
    )
    for each in bins:
        reliability.annotate(
            f"{each.count}", (each.confidence, each.accuracy), (0, 6), textcoords="offset points",
            ha="center", fontsize=8,
        )  # fmt: skip
    ece = one.metrics["ece"]
    reliability.set(
        xlabel="mean confidence", ylabel="accuracy", xlim=(0, 1), ylim=(0, 1.05),
        title=f"Reliability: ECE {ece.value:.3f} [{ece.low:.3f}, {ece.high:.3f}]",
    )  # fmt: skip
    for axes, across, intervals in (
        (reliability, [b.confidence for b in bins], [b.interval for b in bins]),
        (coverage, [share for share, _ in classes.coverage], classes.coverage_intervals),
    ):
        axes.fill_between(
            across, [i.low for i in intervals], [i.high for i in intervals],
            color="#4477aa", alpha=0.16, linewidth=0,
        )  # fmt: skip
    coverage.plot(*zip(*classes.coverage, strict=True), color="#4477aa")
    majority = classes.majority["accuracy"].value
    coverage.axhline(majority, color="#999999", linestyle="--", linewidth=1)
    coverage.text(0.02, majority, "majority class", va="bottom", fontsize=8)
    coverage.set(
        xlabel="share that gets a label, most confident first", ylabel="accuracy",
        xlim=(0, 1), ylim=(0, 1.02), title="Coverage against accuracy",
    )  # fmt: skip
    for axes in (reliability, coverage):
        axes.spines[["top", "right"]].set_visible(False)
    figure.suptitle(f"{one.task}: {one.samples} samples")
    figure.savefig(path, dpi=120)


def draw_confusion(axes: Axes, labels: Sequence[str], counts: Any) -> None:
    """Counts (C, C) with truth in rows, shaded by the share of their row."""
    table = np.asarray(counts)
    shares = table / np.maximum(1, table.sum(1, keepdims=True))
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for (row, column), count in np.ndenumerate(table):
        shade = "white" if shares[row, column] > 0.5 else "black"
        text = f"{count}\n{shares[row, column]:.0%}"
        axes.text(column, row, text, ha="center", va="center", color=shade, fontsize=7)
    axes.set_xticks(range(len(labels)), labels, rotation=40, ha="right")
    axes.set_yticks(range(len(labels)), labels)
    axes.set(xlabel="predicted", ylabel="truth", title="Confusion")
