"""Everything that an evaluation of a bundle finds, and the folder that it is kept in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from affectstream.engines.bundle.bundle import Bundle
from affectstream.engines.manifest import Measurement
from affectstream.train.data.dataset import Dataset
from affectstream.train.errors import DataError
from affectstream.train.evaluate.bundle.bundle_metrics import BundleMetrics
from affectstream.train.evaluate.bundle.cost import Cost, measure_cost
from affectstream.train.evaluate.bundle.error_analysis import ErrorAnalysis, analyze_errors
from affectstream.train.evaluate.bundle.evaluation import (
    Evaluation,
    as_classes,
    evaluate_predictions,
    metric_intervals,
)
from affectstream.train.evaluate.bundle.importance import Importance
from affectstream.train.evaluate.bundle.sample_facts import SampleFacts, sample_facts
from affectstream.train.fit.checkpoint import OVERFIT
from affectstream.train.fit.unseen import taught_samples_of, was_trained_on
from affectstream.train.fit.warm_start import fit_records
from affectstream.train.predict.predictions import Predictions
from affectstream.train.statistics import Interval, bootstrap
from affectstream.train.studies.learning_curve import Curve

IntervalsByPart = Mapping[str, Mapping[str, Mapping[str, Interval]]]
MOST_TRAINING = 2000
"""Samples of split train that stand for the people of the training."""


@dataclass(frozen=True, slots=True)
class TrainingRecord:
    """What a bundle keeps of the training of one of its networks; None where it does not say it."""

    overfitting: float | None
    """By how much the validation loss of the best epoch was above the training loss, as a share."""
    overfits: bool | None
    """Whether that is 20 % or more."""
    parameters: int | None
    trainable: int | None

    @staticmethod
    def of(record: Mapping[str, Any]) -> TrainingRecord:
        """From a `fit_record`."""
        share = record.get("overfitting")
        overfits = None if share is None else bool(1 + share > OVERFIT)
        return TrainingRecord(share, overfits, record.get("parameters"), record.get("trainable"))


@dataclass(frozen=True, slots=True, eq=False)
class BundleEvaluation:
    """One bundle on one split."""

    origin: Mapping[str, Any]
    """What was evaluated, and on what."""
    rows: tuple[Measurement, ...]
    """Metrics of the samples as they are, and with each set of modalities alone."""
    by_modalities: IntervalsByPart
    """These sets alone, with intervals: by set, by task, by metric."""
    tasks: tuple[Evaluation, ...]
    predictions: Predictions
    importance: Importance | None
    cost: Cost
    errors: ErrorAnalysis | None
    """Of the first task of classes; None without one."""
    human: Interval | None
    """Mean share of the people who voted on a sample that chose its label; None without votes."""
    training: Mapping[str, TrainingRecord]
    """How each network of the bundle was trained, by its recipe, where the bundle says it."""
    curve: Curve | None
    """What more data would bring, as `train curve` measured it."""
    dataset: Dataset
    numbers: NDArray[np.int64]
    """The row of the data set of each prediction."""


def part_intervals(found: BundleMetrics) -> IntervalsByPart:
    """The metrics of a bundle with intervals, by `part` (the samples as they are, and each set of modalities
    alone), by task and by metric."""
    return {part: metric_intervals(one) for part, one in found.by_modalities.items()}


def evaluate_fully(
    bundle: Bundle,
    found: BundleMetrics,
    data: Path,
    split: str,
    curve: Curve | None = None,
    intervals: IntervalsByPart | None = None,
) -> BundleEvaluation:
    """Add to the metrics of a bundle what they hide: where it fails, and what it costs.

    `curve` is what `train curve` measured, `intervals` are the `part_intervals` if they are known. Raises
    `BundleError` if the cost cannot be measured.
    """
    info, taught = found.dataset.info, taught_samples_of(bundle.folder, data, split)
    origin = {
        "bundle": bundle.manifest.name,
        "version": bundle.manifest.version,
        "folder": str(bundle.folder),
        "modalities": bundle.modalities,
        "data": str(data),
        "name": info.name,
        "split": split,
        "content_sha256": info.content_sha256,
        "split_sha256": info.split_sha256,
        "trained_on_this_set": was_trained_on(bundle.folder, data),
        "taught_with_recordings": taught.recordings,
        "taught_recordings_in_doubt": taught.in_doubt,
    }
    return BundleEvaluation(
        origin,
        found.rows,
        part_intervals(found) if intervals is None else intervals,
        tuple(evaluate_predictions(found.predictions)),
        found.predictions,
        found.importance,
        measure_cost(bundle.folder),
        _errors(found, split),
        _human(found),
        {name: TrainingRecord.of(record) for name, record in fit_records(bundle.folder).items()},
        curve,
        found.dataset,
        found.numbers,
    )


def _errors(found: BundleMetrics, split: str) -> ErrorAnalysis | None:
    predictions = found.predictions
    for task in predictions.tasks:
        truth = predictions.truth[task.name]
        known = np.flatnonzero(task.labeled(truth))
        chosen = as_classes(task, truth[known], predictions.predicted[task.name][known])
        if chosen is not None and len(known) >= 2:
            labels, numbers, chances = chosen
            return analyze_errors(
                task.name,
                labels,
                known,
                predictions.ids[known],
                numbers,
                chances,
                sample_facts(found.dataset, found.numbers[known]),
                _training_facts(found.dataset) if split != "train" else None,
            )
    return None


def _training_facts(dataset: Dataset) -> SampleFacts | None:
    try:
        rows = dataset.rows_of("train")
    except DataError:
        return None
    return sample_facts(dataset, rows[:: max(1, -(-len(rows) // MOST_TRAINING))])


def _human(found: BundleMetrics) -> Interval | None:
    votes = found.dataset.column("votes")[found.numbers]
    labels = found.dataset.column("emotion")[found.numbers]
    shares = {
        number: row[label] / sum(row.values())
        for number, (row, label) in enumerate(zip(votes, labels, strict=True))
        if row and label and sum(row.values())
    }
    if len(shares) < 2:
        return None
    known = np.isin(np.arange(len(votes)), list(shares))
    values = np.array(list(shares.values()))
    groups = found.predictions.groups(known)
    return bootstrap(lambda each: {"share": float(each.mean())}, values, groups=groups)["share"]
