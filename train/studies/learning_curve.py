"""How much more data would help: one training for each share of split train, all measured on split valid.

A smaller share is part of every larger one. Where participants are known, a share is that many of the people.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from affectstream.stream.errors import OptionError
from affectstream.train.config import FitConfig
from affectstream.train.data.dataset import Dataset
from affectstream.train.data.resplit import resplit
from affectstream.train.errors import DataError, RunError
from affectstream.train.files import encode_csv, encode_json, write_atomically
from affectstream.train.fit.checkpoint import LAST, SUMMARY, load_run, overfitting, read_summary
from affectstream.train.fit.loggers import Report, Tracker, print_line
from affectstream.train.fit.loop import fit
from affectstream.train.metrics import metric_title
from affectstream.train.pages import charts
from affectstream.train.pages.elements import Html, card, hint, page, table, verdict, write_page
from affectstream.train.pages.elements import charts as side_by_side
from affectstream.train.predict.predictions import Predictor
from affectstream.train.recipe import Bindable, Recipe
from affectstream.train.statistics import Interval
from affectstream.train.studies.cross_validation import check_plan, plan_of

FOLDER, RESULT, TABLE, PAGE = "curve", "curve.json", "curve.csv", "report.html"


@dataclass(frozen=True, slots=True)
class Point:
    """One training."""

    share: float
    samples: int
    people: int
    """0 where they are not known."""
    epoch: int
    """The best one."""
    metrics: dict[str, float]
    overfitting: float | None
    """See `fit.checkpoint.overfitting`."""
    intervals: dict[str, Interval] = field(default_factory=dict)
    """Of the metrics, drawing participants, or samples, of split valid; none of the loss."""


@dataclass(frozen=True, slots=True)
class Curve:
    """``curve.json``."""

    recipe: str
    data: str
    points: tuple[Point, ...]


def read_curve(folder: Path) -> Curve:
    """The curve in `folder`, or in its folder ``curve``. Raises `RunError` where there is none."""
    path = next((p for p in (folder / RESULT, folder / FOLDER / RESULT) if p.is_file()), None)
    if path is None:
        raise RunError(
            f"{folder} holds no learning curve: expected {RESULT}, made by 'train curve'"
        )
    try:
        return msgspec.json.decode(path.read_bytes(), type=Curve)
    except (OSError, msgspec.DecodeError) as error:
        raise RunError(f"{path} cannot be read: {error}") from error


def learning_curve(
    recipe: Recipe,
    config: FitConfig,
    data: Path,
    run: Path,
    shares: Sequence[float],
    *,
    track: Tracker = "none",
    report: Report = print_line,
) -> list[Point]:
    """Train on each of `shares` of split train in ``run/curve``, continuing an earlier call.

    Raises `OptionError` for a recipe with data of its own and for shares outside (0, 1], `DataError` if a
    share has fewer than two samples, `RunError` where ``run/curve`` holds another curve, and what `fit`
    raises.
    """
    if not isinstance(recipe, Bindable):
        raise OptionError(f"{recipe.name} has its own data: a curve needs a prepared data set")
    if not shares or not all(0 < share <= 1 for share in shares):
        raise OptionError(f"--shares {shares}: expected numbers above 0, up to 1")
    dataset = Dataset(data, large=())
    folder = run / FOLDER
    check_plan(folder, plan_of(recipe, dataset, config))
    order = _order(dataset, config.seed)
    points = []
    for share in sorted(set(shares)):
        place = folder / f"{100 * share:g}"
        rows = _first(order, share)
        if len(rows) < 2:
            raise DataError(f"--shares {share:g} leaves {len(rows)} sample(s) of split train")
        if not (place / SUMMARY).is_file():
            parts = dataset.column("split")
            parts[np.setdiff1d(dataset.rows_of("train"), rows)] = None
            name = f"{dataset.info.name}, {share:.0%} of split train"
            resplit(dataset, parts.tolist(), place / "data", name=name, may_share=True)
            report(f"{share:.0%}: {len(rows)} samples")
            resume = (place / LAST).exists()
            fit(recipe, config, place / "data", place, resume=resume, report=report, track=track)
        summary = read_summary(place)
        people = {name for name in dataset.column("participant")[rows] if name is not None}
        points.append(
            Point(
                share,
                len(rows),
                len(people),
                summary["best_epoch"],
                summary["figures"],
                overfitting(place),
                _intervals(recipe, place),
            )
        )
    _write(folder, Curve(recipe.name, dataset.info.name, tuple(points)))
    return points


def _intervals(recipe: Recipe, place: Path) -> dict[str, Interval]:
    trained = load_run(recipe, place)
    if not isinstance(trained.recipe, Predictor):
        return {}
    config = FitConfig(**trained.config)
    found = trained.recipe.predict(trained.module, place / "data", "valid", config)
    return found.intervals()


def _order(dataset: Dataset, seed: int) -> list[NDArray[np.int64]]:
    """The rows of split train in the order in which they join: people, or samples of each label in turn."""
    rows = dataset.rows_of("train")
    generator = np.random.default_rng(seed)
    people = dataset.column("participant")[rows]
    names = sorted({name for name in people if name is not None})
    if len(names) > 2 and all(name is not None for name in people):
        return [rows[people == name] for name in generator.permutation(names)]
    labels = np.array([str(label) for label in dataset.column("emotion")[rows]])
    shuffled = generator.permutation(len(rows))
    place = np.empty(len(rows))
    for label in np.unique(labels):  # each label is spread evenly over the order
        own = shuffled[labels[shuffled] == label]
        place[own] = (np.arange(len(own)) + 0.5) / len(own)
    return [rows[number : number + 1] for number in np.argsort(place, kind="stable")]


def _first(order: Sequence[NDArray[np.int64]], share: float) -> NDArray[np.int64]:
    count = max(1, round(share * len(order)))
    return np.sort(np.concatenate(order[:count]))


def rows(points: Sequence[Point]) -> list[list[str]]:
    """A table with its header."""
    names = list(points[0].metrics)
    return [
        ["share", "samples", "people", "best epoch", "overfitting", *names],
        *(
            [
                *(f"{p.share:.0%}", str(p.samples), str(p.people or ""), str(p.epoch)),
                "" if p.overfitting is None else f"{p.overfitting:+.0%}",
                *(_shown(p, name) for name in names),
            ]
            for p in points
        ),
    ]


def _shown(point: Point, name: str) -> str:
    interval = point.intervals.get(name)
    return f"{point.metrics[name]:.4f}" if interval is None else str(interval)


def _gain(points: Sequence[Point], name: str) -> str:
    if len(points) < 2:
        return "One share is no curve."
    before, last = points[-2:]
    return (
        f"From {before.samples} to {last.samples} samples {metric_title(name)} went from "
        f"{before.metrics[name]:.3f} to {last.metrics[name]:.3f}."
    )


def curve_charts(curve: Curve) -> list[Html]:
    """A chart of each metric against the number of samples."""
    found = []
    for name in (name for name in curve.points[0].metrics if name != "valid_loss"):
        bands = [p.intervals[name] for p in curve.points if name in p.intervals]
        line = [(float(p.samples), p.metrics[name]) for p in curve.points]
        title = metric_title(name)
        found.append(
            charts.curves(
                title,
                [("", line)],
                across="samples of split train",
                up=title,
                band=[(one.low, one.high) for one in bands] if len(bands) == len(line) else (),
            )
        )
    return found


def _write(folder: Path, curve: Curve) -> None:
    points, recipe, data = curve.points, curve.recipe, curve.data
    write_atomically(folder / RESULT, encode_json(curve))
    found = rows(points)
    write_atomically(folder / TABLE, encode_csv(found))
    names = [name for name in points[0].metrics if name != "valid_loss"]
    drawn = curve_charts(curve)
    content_page = page(
        "learning curve",
        f"{recipe} on {data}",
        "What more data would bring",
        [(f"{len(points)} trainings", False)],
        [
            card("Split valid", verdict(_gain(points, names[0])), side_by_side(*drawn)),
            card(
                "Trainings",
                table(found[0], found[1:]),
                hint(
                    "Each share is part of the next larger one; where people are known, a share of the "
                    "people. Overfitting: how far the validation loss of the best epoch is above the "
                    "training loss; more than 20 % is much. Shaded: 95 % intervals. One training each: "
                    "repeat with another --seed before you trust a small step."
                ),
            ),
        ],
        "What split valid chose, the best epoch, makes the figures a little too good.",
    )
    write_page(content_page, folder / PAGE)
