"""The samples of a prepared data set that a bundle can be measured on, as its members take them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from affectstream.engines.bundle.bundle import Bundle
from affectstream.engines.bundle.training import recipe_file
from affectstream.engines.labels import SENTIMENTS, Modality
from affectstream.train.data.dataset import Dataset
from affectstream.train.errors import DataError
from affectstream.train.loader.batches import ValidBatches, valid_batch_size
from affectstream.train.loader.rows import has_modality, open_for, usable_rows
from affectstream.train.loader.samples import Samples
from affectstream.train.loader.window_spec import WindowSpec
from affectstream.train.model_spec import ModelSpec
from affectstream.train.tasks import TASK_TYPES, Task, labeled_rows


def bundle_samples(
    bundle: Bundle, data: Path, split: str | None
) -> tuple[tuple[Samples, ...], tuple[Task, ...]]:
    """The samples of `split` (None: all) for each of the bundle's experts (itself, or its members), and the
    tasks that the data set has labels for.

    Modalities and labels that the data set lacks are left out. Raises `DataMissing`, and `DataError` if
    nothing is left.
    """
    manifest = bundle.manifest
    dataset = open_for(data, bundle.modalities)
    in_split = dataset.rows_of(split)
    present = present_modalities(bundle, dataset, in_split)
    if not present:
        raise DataError(
            f"data set {dataset.info.name!r} has none of the modalities of bundle {manifest.name!r}: "
            f"{' or '.join(bundle.modalities)}"
        )
    spec = None if bundle.members else read_spec(bundle)
    known = tasks_of(bundle) if spec is None else spec.tasks
    tasks = tuple(task for task in known if labeled_rows([task.name], dataset)[in_split].any())
    if not tasks:
        have = ", ".join(dataset.info.tasks) or "none"
        raise DataError(
            f"data set {dataset.info.name!r} has no labels in split {split} for the tasks of bundle "
            f"{manifest.name!r} ({', '.join(task.name for task in known)}); it has: {have}"
        )
    rows = usable_rows(dataset, split, present, [task.name for task in tasks])
    if any(task.name == "emotion" for task in tasks):
        check_labels(f"bundle {manifest.name!r}", manifest.labels, dataset, rows)
    return samples_of(bundle, dataset, rows, present, tasks), tasks


def present_modalities(
    bundle: Bundle, dataset: Dataset, rows: NDArray[np.int64]
) -> tuple[Modality, ...]:
    """The bundle's modalities that any of `rows` has. Raises `DataError` if the pictures are not cropped as
    one of the bundle's experts takes them."""
    present = tuple(m for m in bundle.modalities if has_modality(dataset, m)[rows].any())
    crop = dataset.info.crop
    for expert in bundle.member_bundles if "video" in present else ():
        expected = expert.manifest.crop
        if expected is not None and (crop is None or crop.kind != expected.kind):
            kind = "none" if crop is None else crop.kind
            raise DataError(
                f"data set {dataset.info.name!r} has crops of kind {kind}, expected {expected.kind} for "
                f"bundle {expert.manifest.name!r}: prepare it with '--crop {expected.kind}'"
            )
    return present


def samples_of(
    bundle: Bundle,
    dataset: Dataset,
    rows: NDArray[np.int64],
    present: Sequence[str],
    tasks: Sequence[Task],
) -> tuple[Samples, ...]:
    """`rows` as each of the bundle's experts takes them, with the modalities that are `present`."""
    found = []
    for window in map(window_spec_of, bundle.member_bundles):
        kept = tuple(modality for modality in window.modalities if modality in present)
        found.append(Samples(dataset, rows, replace(window, modalities=kept), tasks))
    return tuple(found)


def valid_batches(samples: Sequence[Samples]) -> list[ValidBatches]:
    """Batches of each expert's samples, all of the same size."""
    size = min(map(valid_batch_size, samples))
    return [ValidBatches(part, size=size) for part in samples]


def read_spec(bundle: Bundle) -> ModelSpec | None:
    """What the bundle's network was built for; None if the bundle has no `recipe.json`."""
    path = recipe_file(bundle.folder)
    if not path.is_file():
        return None
    try:
        return msgspec.convert(json.loads(path.read_text(encoding="utf-8"))["setting"], ModelSpec)
    except (OSError, ValueError, KeyError, TypeError, msgspec.ValidationError) as error:
        raise DataError(f"{path} cannot be read: {error}; export the bundle again") from error


def window_spec_of(bundle: Bundle) -> WindowSpec:
    """The windows that a bundle without members takes: by its recipe.json, else by its manifest."""
    spec = read_spec(bundle)
    if spec is not None:
        return spec.window
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
    """The tasks of a bundle by its head's outputs alone; `attention` is then taken as binary."""
    labels, outputs = bundle.manifest.labels, bundle.engines["fusion"].outputs
    names = {task.output: name for name, task in reversed(TASK_TYPES.items())}
    classes = {"emotion": labels, "emotion_multilabel": labels, "sentiment": SENTIMENTS}
    return tuple(
        Task(name, classes.get(name, ()), (1, 1) if TASK_TYPES[name].target == "binary" else ())
        for output, name in reversed(names.items())
        if output in outputs
    )


def check_labels(
    owner: str, labels: Sequence[str], dataset: Dataset, rows: NDArray[np.int64]
) -> None:
    """Raise `DataError` if `rows` have emotions for which `owner` has no label."""
    found = set(dataset.column("emotion")[rows]) - {None}
    if unknown := sorted(found - set(labels)):
        raise DataError(
            f"data set {dataset.info.name!r} has samples of {', '.join(unknown)}; {owner} knows "
            f"{', '.join(labels)}"
        )
