"""Figures of any bundle on a prepared data set: every task, calibrated, and with modalities missing."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import precision_recall_fscore_support

from affectstream.engines.bundle.bundle import Bundle
from affectstream.engines.manifest import Calibration, Measured
from affectstream.train.calibration import expected_calibration_error, probabilities
from affectstream.train.data.dataset import Dataset
from affectstream.train.errors import DataError
from affectstream.train.fit.warm_start import RECIPE
from affectstream.train.loader.batches import ValidBatches, valid_batch_size
from affectstream.train.loader.samples import Samples, has_modality, open_for, usable_rows
from affectstream.train.loader.window_spec import WindowSpec
from affectstream.train.model_spec import ModelSpec, from_plain
from affectstream.train.predict.bundle_outputs import BundleOutputs, bundle_outputs
from affectstream.train.tasks import KINDS, Task, labelled, metrics_of

AS_THEY_ARE = "as they are"
"""The part of figures over samples that have not all the same modalities."""


def evaluate_prepared(
    bundle: Bundle, data: Path, split: str
) -> tuple[tuple[Measured, ...], list[str]]:
    """Figures on `split` of the data set in `data`, and lines of a table by emotion.

    What the data set lacks, of modalities or labels, is left out. Raises `DataMissing` or `DataError`
    where nothing of the bundle can be measured on it.
    """
    shown, tasks = shown_to(bundle, data, split)
    samples, size = shown[0], min(map(valid_batch_size, shown))
    name = f"{samples.dataset.info.name} {split}"
    batches = [ValidBatches(part, size=size) for part in shown]
    found = bundle_outputs(bundle, *batches, missing=len(bundle.modalities) > 1)
    calibration = bundle.manifest.calibration
    return (
        measured(found, samples, tasks, calibration, name),
        table(found[None], samples, tasks, calibration),
    )


def shown_to(
    bundle: Bundle, data: Path, split: str
) -> tuple[tuple[Samples, ...], tuple[Task, ...]]:
    """Samples of `split` as each expert of `bundle` is shown them, and what can be measured on them.

    Raises as `evaluate_prepared`.
    """
    manifest = bundle.manifest
    views = [view_of(expert) for expert in bundle.experts]
    dataset = open_for(data, bundle.modalities)
    rows = dataset.rows_of(split)
    there = tuple(m for m in bundle.modalities if has_modality(dataset, m)[rows].any())
    if not there:
        raise DataError(
            f"data set {dataset.info.name!r} has nothing of what bundle {manifest.name!r} takes: "
            f"{' or '.join(bundle.modalities)}"
        )
    if "video" in there:
        check_crops(bundle.experts, dataset)
    setting = None if bundle.members else setting_of(bundle)
    known = tasks_of(bundle) if setting is None else setting.tasks
    tasks = tuple(task for task in known if labelled([task.name], dataset)[rows].any())
    if not tasks:
        have = ", ".join(dataset.info.tasks) or "none"
        raise DataError(
            f"data set {dataset.info.name!r} has no labels in split {split} for what bundle "
            f"{manifest.name!r} tells ({', '.join(task.name for task in known)}); it has: {have}"
        )
    rows = usable_rows(dataset, split, there, [task.name for task in tasks])
    if any(task.name == "emotion" for task in tasks):
        check_labels(f"bundle {manifest.name!r}", manifest.labels, dataset, rows)
    shown = [replace(v, modalities=tuple(m for m in v.modalities if m in there)) for v in views]
    return tuple(Samples(dataset, rows, view, tasks) for view in shown), tasks


def setting_of(bundle: Bundle) -> ModelSpec | None:
    """What the bundle's network was made for, where the bundle says so."""
    path = bundle.folder / RECIPE
    if not path.is_file():
        return None
    try:
        return from_plain(json.loads(path.read_text(encoding="utf-8"))["setting"])
    except (OSError, ValueError, KeyError, TypeError, msgspec.ValidationError) as error:
        raise DataError(f"{path} cannot be read: {error}; export the bundle again") from error


def view_of(bundle: Bundle) -> WindowSpec:
    """What a plain bundle looks at: as its network was shown it, else as its manifest says."""
    setting = setting_of(bundle)
    if setting is not None:
        return setting.view
    manifest, text = bundle.manifest, bundle.manifest.engines.text_encoder
    return WindowSpec(
        modalities=bundle.modalities,
        window_us=manifest.window_us,
        frame_hz=manifest.frame_hz,
        size=224 if manifest.crop is None else manifest.crop.size,
        tokens=64 if text is None else text.max_tokens,
        tokenizer="" if bundle.tokenizer is None else bundle.tokenizer.to_str(),
        context=0 if text is None else text.context,
        metadata=manifest.metadata,
        tone="natural" if manifest.crop is None else manifest.crop.tone,
    )


def tasks_of(bundle: Bundle) -> tuple[Task, ...]:
    """What a bundle tells, by its head's outputs alone; `attention` is then taken as a truth."""
    labels, said = bundle.manifest.labels, bundle.engines["fusion"].outputs
    by_output = {kind.output: name for name, kind in reversed(KINDS.items())}
    sentiments = ("negative", "neutral", "positive")
    classes = {"emotion": labels, "emotion_multilabel": labels, "sentiment": sentiments}
    return tuple(
        Task(name, classes.get(name, ()), (1, 1) if KINDS[name].answer == "truth" else ())
        for output, name in reversed(by_output.items())
        if output in said
    )


def measured(
    found: dict[tuple[str, ...] | None, BundleOutputs],
    samples: Samples,
    tasks: Sequence[Task],
    calibration: Calibration,
    data: str,
) -> tuple[Measured, ...]:
    """Figures of samples as they are, then with each set of modalities alone.

    `data` is what they are said to be of. The part of a figure is the modalities that were there. With
    emotions there is their expected calibration error too.
    """
    rows: dict[str, list[Measured]] = {}
    for said in found.values():
        names = set(said.modalities)
        part = names.pop() if len(names) == 1 else AS_THEY_ARE
        if part in rows:  # every sample has all of these: nothing was hidden
            continue
        truth = {task.name: samples.truth[task.name][said.samples].numpy() for task in tasks}
        told = told_by(said, tasks, calibration)
        figures = metrics_of(tasks, told, truth)
        if "emotion" in told:
            known = truth["emotion"] >= 0
            sure = told["emotion"][known]
            right = sure.argmax(1) == truth["emotion"][known]
            name = "ece" if len(tasks) == 1 else "emotion/ece"
            figures[name] = expected_calibration_error(sure.max(1), right)
        rows[part] = [
            Measured(part, data, metric, round(value, 4), len(said.samples))
            for metric, value in figures.items()
        ]
    return tuple(row for part in rows.values() for row in part)


def told_by(
    said: BundleOutputs, tasks: Sequence[Task], calibration: Calibration
) -> dict[str, NDArray[Any]]:
    """The answer to each task, emotions as calibrated probabilities."""
    told = {task.name: said.outputs[task.kind.output] for task in tasks}
    if "emotion" in told:
        temperature = np.array(
            [[calibration.temperature.get(name, 1.0)] for name in said.modalities]
        )
        told["emotion"] = probabilities(
            told["emotion"].astype(np.float64) / temperature, np.asarray(calibration.prior), 1.0
        )
    return told


def table(
    said: BundleOutputs, samples: Samples, tasks: Sequence[Task], calibration: Calibration
) -> list[str]:
    """Precision, recall and F1 of each class of each task that has some, as lines of text."""
    told = told_by(said, tasks, calibration)
    lines: list[str] = []
    for task in tasks:
        if task.kind.answer != "class":
            continue
        truth = samples.truth[task.name][said.samples].numpy()
        known = truth >= 0
        guess = told[task.name].argmax(1)
        columns = precision_recall_fscore_support(
            truth[known], guess[known], labels=range(len(task.labels)), zero_division=0
        )
        lines.append(f"{task.name:12} {'precision':>9} {'recall':>9} {'f1':>9} {'samples':>9}")
        lines += [
            f"{label:12} {p:9.4f} {r:9.4f} {f:9.4f} {int(n):9d}"
            for label, p, r, f, n in zip(task.labels, *columns, strict=True)
        ]
    return lines


def check_crops(experts: Sequence[Bundle], dataset: Dataset) -> None:
    """Raise `DataError` where the pictures are not cut as one of `experts` takes them."""
    crop = dataset.info.crop
    for expert in experts:
        wanted = expert.manifest.crop
        if wanted is not None and (crop is None or crop.kind != wanted.kind):
            kind = "none" if crop is None else crop.kind
            raise DataError(
                f"data set {dataset.info.name!r} has crops of kind {kind}, expected {wanted.kind} for "
                f"bundle {expert.manifest.name!r}: prepare it with '--crop {wanted.kind}'"
            )


def check_labels(
    who: str, labels: Sequence[str], dataset: Dataset, rows: NDArray[np.int64]
) -> None:
    """Raise `DataError` where `rows` have emotions that `who` has no label for."""
    found = set(dataset.column("emotion")[rows]) - {None}
    if unknown := sorted(found - set(labels)):
        raise DataError(
            f"data set {dataset.info.name!r} has samples of {', '.join(unknown)}; {who} knows "
            f"{', '.join(labels)}"
        )
