"""Metrics of any bundle on a prepared data set: every task, calibrated, and with modalities missing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from affectstream.engines.bundle.bundle import Bundle
from affectstream.engines.labels import Modality
from affectstream.engines.manifest import Calibration, Measurement
from affectstream.train.calibration import (
    Calibrated,
    calibrate,
    conflict_limit,
    drawn_by_prior,
    expected_calibration_error,
    people_in,
    probabilities,
)
from affectstream.train.data.dataset import Dataset
from affectstream.train.evaluate.bundle.evaluation import as_classes, class_rows
from affectstream.train.evaluate.bundle.importance import HeadProbe, Importance, measure_importance
from affectstream.train.fit.unseen import check_unseen
from affectstream.train.loader.samples import Samples
from affectstream.train.predict.bundle_outputs import BundleOutputs, Subset, bundle_outputs
from affectstream.train.predict.bundle_samples import bundle_samples, valid_batches
from affectstream.train.predict.predictions import Predictions, predictions_from
from affectstream.train.statistics import groups_of
from affectstream.train.tasks import Task, compute_metrics

AS_THEY_ARE = "as they are"
"""The `part` of metrics over samples that differ in which modalities they have."""


@dataclass(frozen=True, slots=True, eq=False)
class BundleMetrics:
    """A bundle on one split."""

    rows: tuple[Measurement, ...]
    by_class: list[str]
    """The lines of a table."""
    predictions: Predictions
    by_modalities: Mapping[str, Predictions]
    """The same of the samples that have all of a set of modalities, without the others: ``video+text``."""
    importance: Importance | None
    dataset: Dataset
    numbers: NDArray[np.int64]
    """The row of the data set of each prediction."""


def measure_bundle(bundle: Bundle, data: Path, split: str) -> BundleMetrics:
    """Evaluate on `split` of the data set in `data`.

    Raises as `bundle_samples`, and `RunError` for a bundle that was trained on these samples.
    """
    check_unseen(bundle.folder, data, split)
    samples, tasks = bundle_samples(bundle, data, split)
    first, calibration = samples[0], bundle.manifest.calibration
    several = len(bundle.modalities) > 1
    probe = HeadProbe(len(first)) if several else None
    outputs = bundle_outputs(
        bundle,
        *valid_batches(samples),
        missing=several,
        observe=None if probe is None else probe.observe,
    )
    truth = {task.name: first.truth[task.name].numpy() for task in tasks}
    groups = groups_of(first.dataset.column("participant")[first.rows].tolist())
    return BundleMetrics(
        measure(outputs, first, tasks, calibration, f"{first.dataset.info.name} {split}"),
        class_table(outputs[None], first, tasks, calibration),
        predictions_from(outputs[None], first, tasks, calibration),
        {
            part: predictions_from(one, first, tasks, calibration)
            for part, one in _by_part(outputs).items()
        },
        None if probe is None else measure_importance(bundle, outputs, probe, truth, tasks, groups),
        first.dataset,
        first.rows[outputs[None].samples],
    )


def measure(
    outputs: Mapping[Subset, BundleOutputs],
    samples: Samples,
    tasks: Sequence[Task],
    calibration: Calibration,
    data: str,
) -> tuple[Measurement, ...]:
    """Metrics of the samples as they are, then with each set of modalities alone.

    `data` is the name that the rows give their data; their `part` is the modalities that were present. For
    emotions the expected calibration error is among the metrics.
    """
    rows: dict[str, list[Measurement]] = {}
    for part, found in _by_part(outputs).items():
        truth = {task.name: samples.truth[task.name][found.samples].numpy() for task in tasks}
        predicted = found.predict(tasks, calibration)
        metrics = compute_metrics(tasks, truth, predicted)
        if "emotion" in predicted:
            known = truth["emotion"] >= 0
            chances = predicted["emotion"][known]
            correct = chances.argmax(1) == truth["emotion"][known]
            name = "ece" if len(tasks) == 1 else "emotion/ece"
            metrics[name] = expected_calibration_error(chances.max(1), correct)
        rows[part] = [
            Measurement(part, data, metric, round(value, 4), len(found.samples))
            for metric, value in metrics.items()
        ]
    return tuple(row for part in rows.values() for row in part)


def _by_part(outputs: Mapping[Subset, BundleOutputs]) -> dict[str, BundleOutputs]:
    """By what the samples had: a set of modalities, or `AS_THEY_ARE`."""
    found: dict[str, BundleOutputs] = {}
    for one in outputs.values():
        names = set(one.modalities)
        part = names.pop() if len(names) == 1 else AS_THEY_ARE
        found.setdefault(part, one)  # if every sample has all modalities, nothing was hidden
    return found


def class_table(
    outputs: BundleOutputs, samples: Samples, tasks: Sequence[Task], calibration: Calibration
) -> list[str]:
    """Precision, recall and F1 of each class of each classification task, as lines of text."""
    predicted = outputs.predict(tasks, calibration)
    lines: list[str] = []
    for task in tasks:
        truth = samples.truth[task.name][outputs.samples].numpy()
        known = task.labeled(truth)
        chosen = as_classes(task, truth[known], predicted[task.name][known])
        if chosen is None:
            continue
        lines.append(f"{task.name:12} {'precision':>9} {'recall':>9} {'f1':>9} {'samples':>9}")
        lines += [
            f"{row.label:12} {row.precision:9.4f} {row.recall:9.4f} {row.f1:9.4f} {row.samples:9d}"
            for row in class_rows(*chosen)
        ]
    return lines


def calibrate_emotion(
    outputs: Mapping[Subset, BundleOutputs],
    samples: Samples,
    prior: tuple[float, ...],
    *,
    follow_prior: bool = False,
) -> dict[str, Calibrated]:
    """Temperature and threshold of each set of modalities, such as ``video+text``.

    `follow_prior`: on samples that are drawn so that the labels follow `prior` and speakers count the same.
    """
    people = samples.dataset.column("participant")[samples.rows]
    modalities = {modality for subset in outputs for modality in subset or ()}
    calibrated: dict[str, Calibrated] = {}
    limit: float | None = None
    for subset, found in outputs.items():
        labels = samples.truth["emotion"][found.samples].numpy()
        known = np.flatnonzero(labels >= 0)
        if subset is not None and known.size:
            if follow_prior:
                who = people_in(subset, modalities, people[found.samples[known]].tolist())
                known = known[drawn_by_prior(labels[known], np.asarray(prior), who)]
            logits = found.outputs["logits"][known].astype(np.float64)
            name = "+".join(subset)
            calibrated[name] = calibrate(logits, labels[known], np.asarray(prior), limit)
            limit = calibrated[name].min_confidence  # that of all modalities, which come first
    return calibrated


def find_conflicts(
    outputs: Mapping[Subset, BundleOutputs], calibration: Calibration
) -> dict[str, float]:
    """`conflict_limit` of each pair of modalities, such as ``video+voice``."""
    limits, prior = {}, np.asarray(calibration.prior)
    for subset, found in outputs.items():
        if subset is None or len(subset) != 2:
            continue
        name = "+".join(subset)
        temperature = calibration.temperature.get(name, 1.0)
        fused = found.outputs["logits"].astype(np.float64)
        alone = (_alone(outputs, modality, found) for modality in subset)
        both, one, other = (probabilities(z, prior, temperature) for z in (fused, *alone))
        limits[name] = conflict_limit(both, one, other, calibration.min_confidence.get(name, 0.0))
    return limits


def neutral_logits(
    outputs: Mapping[Subset, BundleOutputs], samples: Samples, labels: Sequence[str]
) -> dict[Modality, tuple[float, ...]]:
    """The mean logits of the neutral samples for each modality alone."""
    found: dict[Modality, tuple[float, ...]] = {}
    for subset, of in outputs.items():
        if subset is None or len(subset) > 1 or "neutral" not in labels:
            continue
        rows = samples.truth["emotion"][of.samples].numpy() == list(labels).index("neutral")
        if rows.any():
            mean = of.outputs["logits"][rows].astype(np.float64).mean(0)
            found[subset[0]] = tuple(round(float(v), 4) for v in mean)
    return found


def _alone(
    outputs: Mapping[Subset, BundleOutputs], modality: Modality, found: BundleOutputs
) -> NDArray[np.float64]:
    """The logits (n, C) of one modality alone for the samples of `found`, which all have it."""
    of = outputs[(modality,)]
    logits = of.outputs["logits"][np.searchsorted(of.samples, found.samples)]
    return np.asarray(logits, np.float64)
