"""A card for each result: what its files say, short."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import numpy as np

from affectstream.stream.explain.summary import MODALITY_NAMES
from affectstream.train.errors import DataError
from affectstream.train.fit.checkpoint import LOG, read_log
from affectstream.train.gallery.files import (
    AgreementFile,
    ClipExplanation,
    ComparisonFile,
    CurveFile,
    EvaluationFile,
    EventExplanation,
    ExplanationFile,
    FoldsFile,
    Interval,
    Metrics,
    NetworkExplanation,
    ReproductionFile,
    RunFile,
)
from affectstream.train.pages import thumbnails
from affectstream.train.pages.elements import Html

T = TypeVar("T")
PAGES = "report.html", "explanation.html", "explanation.mp4"
"""What a card leads to, the first that is there; else to the file of results."""
PICTURES = "face.png", "grad_cam.png", "attention_rollout.png", "regions.png", "voice.png"
"""Pictures of an explanation: the first that is there is shown, if asked for."""
_LAST_METRIC = "valid_loss"


@dataclass(frozen=True, slots=True)
class Card:
    """One result."""

    kind: str
    title: str
    about: str
    headline: str
    """The figure that matters, without its interval."""
    interval: str
    value: float | None
    """What to sort by: the headline's number if it is a share."""
    samples: int | None
    picture: Html | None
    notes: tuple[str, ...] = ()


def read_card(path: Path) -> Card | None:
    """The card of a file of results; None for one that is none of ours, although its name is.

    Raises `DataError` for a damaged one.
    """
    try:
        return READERS[path.name](path)
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror}") from error
    except (msgspec.MsgspecError, ValueError, RecursionError, OverflowError) as error:
        raise DataError(f"not as 'train' and 'explain' write it: {error}") from error
    except KeyError as error:
        raise DataError(f"not as 'train' and 'explain' write it: {error} is missing") from error
    except (IndexError, StopIteration) as error:
        raise DataError("holds no result") from error


def _read(path: Path, kind: type[T]) -> T:
    return msgspec.json.decode(path.read_bytes(), type=kind)


def _evaluation(path: Path) -> Card:
    found = _read(path, EvaluationFile)
    task = found.tasks[0]
    metric = _first(task.metrics)
    notes = [] if len(found.tasks) == 1 else ["also " + ", ".join(t.task for t in found.tasks[1:])]
    if task.classes is None:
        picture = _dots("Metrics", task.metrics)
    else:
        labels = [row.label for row in task.classes.rows]
        counts = np.array(task.classes.confusion)
        if counts.shape != (len(labels), len(labels)):
            raise ValueError(f"a confusion of {counts.shape} for {len(labels)} classes")
        picture = thumbnails.matrix(labels, counts)
        if metric in task.classes.majority:
            notes.insert(0, f"the commonest class alone: {task.classes.majority[metric]:.1%}")
    return Card(
        "evaluation",
        f"{found.bundle} {found.version}",
        f"{task.task}, {found.name or 'data set'}, split {found.split}",
        *_headline(metric, task.metrics[metric], task.by),
        task.samples,
        picture,
        tuple(notes),
    )


def _comparison(path: Path) -> Card:
    found = _read(path, ComparisonFile)
    task, metric = found.tasks[0], found.recommendation.metric
    by_network = {
        name: metrics[metric] for name, metrics in task.metrics.items() if metric in metrics
    }
    choice = found.recommendation.choice
    best = by_network.get(choice or "")
    _, interval, value = ("", "", None) if best is None else _headline(metric, best, task.by)
    return Card(
        "comparison",
        f"Take {choice}" if choice else "No network is within the limits",
        f"{', '.join(by_network)}: {task.task}, split {found.networks[0].split}",
        "" if best is None else f"{metric.replace('_', ' ')} {_share(best.value)}",
        interval,
        value,
        task.samples,
        _dots(metric.replace("_", " "), by_network),
        tuple(found.recommendation.steps[:1]),
    )


def _curve(path: Path) -> Card:
    found = _read(path, CurveFile)
    last = found.points[-1]
    metric = next(name for name in last.metrics if name != _LAST_METRIC)
    line = [(float(point.samples), point.metrics[metric]) for point in found.points]
    return Card(
        "learning curve",
        found.recipe,
        f"{found.data}, {len(found.points)} trainings",
        f"{metric.replace('_', ' ')} {last.metrics[metric]:.1%}",
        f"with {last.samples} samples; {line[0][1]:.1%} with {found.points[0].samples}; one training each",
        last.metrics[metric],
        last.samples,
        thumbnails.lines(f"{metric.replace('_', ' ')} by samples", [("", line)]),
    )


def _folds(path: Path) -> Card:
    found = _read(path, FoldsFile)
    metric = _first(found.pooled)
    values = [fold.figures[metric] for fold in found.folds if metric in fold.figures]
    spread = f"folds from {min(values):.1%} to {max(values):.1%}" if values else ""
    by = found.interval.rpartition(" ")[2] or "sample"
    return Card(
        "cross-validation",
        found.recipe,
        f"{found.data}, {len(found.folds)} folds",
        *_headline(metric, found.pooled[metric], by),
        found.samples,
        _dots("Metrics", found.pooled),
        (spread,) if spread else (),
    )


def _run(path: Path) -> Card | None:
    if not (path.parent / LOG).is_file():
        return None  # a summary of something else
    found = _read(path, RunFile)
    log = read_log(path.parent)
    drawn = [
        (name.replace("_", " "), [(row["epoch"], row[name]) for row in log if name in row])
        for name in ("loss", _LAST_METRIC)
    ]
    metric = next((name for name in found.figures if name != _LAST_METRIC), None)
    value = None if metric is None else found.figures[metric]
    return Card(
        "training",
        found.recipe,
        f"{len(log)} epoch{'s' * (len(log) != 1)}",
        "" if value is None or metric is None else f"{metric.replace('_', ' ')} {value:.1%}",
        f"split valid, which chose epoch {found.best_epoch}; no interval",
        value,
        None,
        thumbnails.lines("Losses by epoch", [(name, line) for name, line in drawn if line]),
    )


def _reproduction(path: Path) -> Card:
    found = _read(path, ReproductionFile)
    ran = [row for row in found.rows if row.metrics]
    metric = _first(ran[0].metrics) if ran else ""
    best = max(ran, key=lambda row: row.metrics[metric].value or 0.0, default=None)
    headline = ("", "", None) if best is None else _headline(metric, best.metrics[metric], "")
    notes = [f"{row.recipe}: the source reports {row.reported} %" for row in ran if row.reported]
    notes += [f"{row.recipe}: not run" for row in found.rows if not row.metrics]
    return Card(
        "reproduction",
        f"{found.source} on {found.data}",
        "" if best is None else f"best of ours: {best.recipe}",
        *headline,
        None if best is None else best.samples,
        _dots(metric.replace("_", " "), {row.recipe: row.metrics[metric] for row in ran}),
        tuple(notes),
    )


def _agreement(path: Path) -> Card:
    found = _read(path, AgreementFile)
    coding = found.codings[0]
    metric = "kappa" if "kappa" in coding.exact else _first(coding.exact)
    return Card(
        "agreement",
        f"{found.first} and {found.second}",
        f"{coding.kind}, {coding.seconds:.0f} s",
        *_headline(metric, coding.exact[metric], coding.by, share=False),
        None,
        thumbnails.matrix(coding.labels, np.array(coding.confusion)),
    )


def _explanation(path: Path) -> Card:
    found = msgspec.json.decode(path.read_bytes(), type=ExplanationFile)
    if isinstance(found, EventExplanation):
        return _of_event(found)
    return _of_clip(found) if isinstance(found, ClipExplanation) else _of_network(found)


def _of_event(found: EventExplanation) -> Card:
    event, explained = found.event, found.explained
    who = "the recording" if found.track is None else f"person {found.track}"
    rows = [(MODALITY_NAMES.get(m.modality, m.modality), m.change) for m in found.modalities]
    known = [(name, change) for name, change in rows if change is not None]
    notes = []
    if not known:  # a single modality cannot be hidden, but parts of a face can
        regions = next((face.regions for face in found.face if face.regions), {})
        known = list(regions.items())
        notes += [f"{name} alone was used" for name, _ in rows]
    return Card(
        "explanation",
        found.stream,
        f"{event.t_start:g} to {event.t_end:g} s, {who}",
        f"{explained.name} {_share(explained.value)}",
        "" if event.label else f"no label: {(event.abstain or '').replace('_', ' ')}",
        explained.value,
        None,
        thumbnails.changes(f"{explained.name} falls by so much without", known),
        tuple(notes),
    )


def _of_clip(found: ClipExplanation) -> Card:
    hops = found.hops
    lines = [(h.event.t_start, h.explained.value) for h in hops if h.explained.value is not None]
    return Card(
        "explanation",
        found.stream,
        f"{hops[0].event.t_start:g} to {hops[-1].event.t_end:g} s, {len(hops)} results",
        ", ".join(dict.fromkeys(hop.explained.name for hop in hops)),
        "",
        None,
        None,
        thumbnails.lines("The explained score by seconds", [("", lines)]),
    )


def _of_network(found: NetworkExplanation) -> Card:
    truth = "" if found.label is None else f"; labeled {found.label}"
    checks = [
        f"{one.part}: {one.correlation:.2f} like the map of random weights" for one in found.sanity
    ]
    tokens = sorted(found.tokens, key=lambda one: -abs(one.without))
    return Card(
        "explanation",
        f"{found.recipe}: {found.sample}",
        f"from inside the network{truth}",
        f"{found.explained.name} {_share(found.explained.probability)}",
        "",
        found.explained.probability,
        None,
        thumbnails.changes("It falls by so much without", [(t.token, t.without) for t in tokens]),
        tuple(checks),
    )


READERS: Mapping[str, Callable[[Path], Card | None]] = {
    "metrics.json": _evaluation,
    "comparison.json": _comparison,
    "curve.json": _curve,
    "folds.json": _folds,
    "summary.json": _run,
    "reproduce.json": _reproduction,
    "agreement.json": _agreement,
    "explanation.json": _explanation,
}


def _first(metrics: Mapping[str, Any]) -> str:
    return next(iter(metrics))


def _headline(
    metric: str, interval: Interval, by: str, *, share: bool = True
) -> tuple[str, str, float | None]:
    """The figure, its interval, and what to sort by."""
    name = metric.replace("_", " ")
    shown = _share if share else _plain
    if interval.low is None or interval.high is None:
        return f"{name} {shown(interval.value)}", "no interval", interval.value
    drawn = f", by {by}" if by else ""
    ends = f"95 %: {shown(interval.low)} to {shown(interval.high)}{drawn}"
    return f"{name} {shown(interval.value)}", ends, interval.value


def _share(value: float | None) -> str:
    return "not defined" if value is None else f"{value:.1%}"


def _plain(value: float | None) -> str:
    return "not defined" if value is None else f"{value:.2f}"


def _dots(what: str, metrics: Metrics) -> Html:
    def number(value: float | None) -> float:
        return math.nan if value is None else value

    rows = [
        (name.replace("_", " "), number(one.value), number(one.low), number(one.high))
        for name, one in metrics.items()
    ]
    return thumbnails.intervals(what, rows)
