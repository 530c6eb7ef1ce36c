"""A prepared data set with what other networks predict of its samples: distillation by data.

A folder holds one prepared data set in a sub-folder and, anywhere below, files of predictions, such as the
``held_out.npz`` that ``train folds`` writes for each fold. A sample of split train gets as votes the mean of
the probabilities that the files have for it, and its own label (Hinton et al., 2015). A network that learns
from the set need not read text as the teachers did. The emotion and the other splits stay as they are.

Predictions for held-out samples teach more than those for the samples that a network was trained on, which
are close to the labels.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from affectstream.engines.labels import EMOTIONS
from affectstream.train.data.dataset import INFO, Dataset
from affectstream.train.data.options import Options
from affectstream.train.data.reading.reader import RawDataset, Reader, prepared_jobs
from affectstream.train.data.sample import Sample
from affectstream.train.errors import DataError, DataMissing

VOTES, OF_LABEL = 10.0, 3.0
"""Votes of a sample, and how many of them its own label has."""


def find(folder: Path, options: Options) -> RawDataset:
    """All samples of the prepared set in `folder`, with votes where there are predictions.

    Raises `DataMissing` without a set or predictions, `DataError` where no prediction is of its samples.
    """
    sets = [
        path.parent
        for path in sorted(folder.glob(f"*/{INFO}"))
        if Dataset(path.parent, large=()).info.of is None
    ]
    files = sorted(path for path in folder.rglob("*.npz") if path.is_file())
    if len(sets) != 1 or not files:
        raise DataMissing(
            f"{folder} holds {len(sets)} prepared data sets and {len(files)} files of predictions (.npz): "
            "expected one set and one file or more, such as those that 'affectstream train folds' writes"
        )
    data = Dataset(sets[0])
    chances = mean_predictions(files)
    known = sum(name in chances for name in data.column("id")[data.rows_of("train")])
    if not known:
        raise DataError(
            f"{folder}: the predictions are of none of the training samples of {data.info.name}"
        )
    info = data.info
    return RawDataset(
        info.source,
        info.licence,
        prepared_jobs(data, partial(_teach, chances)),
        has_splits=True,
        why_shared=f"they are in {info.name} itself" if info.shared_participants else None,
        crop=info.crop,
        notes=(
            *info.notes,
            f"{known} training samples have votes of {len(files)} files of predictions",
        ),
    )


def mean_predictions(files: list[Path]) -> dict[str, dict[str, float]]:
    """The mean probability of each emotion in `files`, by the sample's id. Raises `DataError`."""
    found: dict[str, list[Mapping[str, float]]] = {}
    for path in files:
        with np.load(path, allow_pickle=False) as file:
            if "answers/emotion" not in file.files:
                raise DataError(
                    f"{path}: expected predictions of the task emotion, found {file.files}"
                )
            labels, ids = file["labels/emotion"].tolist(), file["ids"].tolist()
            chances: NDArray[np.float32] = file["answers/emotion"]
        for name, row in zip(ids, chances.tolist(), strict=True):
            found.setdefault(name, []).append(dict(zip(labels, row, strict=True)))
    return {
        name: {label: float(np.mean([row[label] for row in rows])) for label in rows[0]}
        for name, rows in found.items()
    }


def _teach(chances: Mapping[str, Mapping[str, float]], sample: Sample) -> None:
    predicted = chances.get(sample.id)
    if sample.split == "train" and sample.emotion is not None and predicted is not None:
        own = np.asarray([label == sample.emotion for label in EMOTIONS], np.float32)
        taught = np.asarray([predicted.get(label, 0.0) for label in EMOTIONS], np.float32)
        sample.votes = OF_LABEL * own + (VOTES - OF_LABEL) * taught


READER = Reader(find)
