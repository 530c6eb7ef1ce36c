"""A prepared data set with what other networks predict of its samples: distillation by data.

A folder holds one prepared data set in a sub-folder and, anywhere below, files of predictions, such as the
``held_out.npz`` that ``train folds`` writes for each fold. A sample of split train gets as votes the mean of
the probabilities that the files have for it, and its own label (Hinton et al., 2015). A network that learns
from the set need not read text as the teachers did. The emotion and the other splits stay as they are.

Predictions for held-out samples teach more than those for the samples that a network was trained on, which
are close to the labels.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import numpy as np

from affectstream.engines.labels import EMOTIONS
from affectstream.train.data.dataset import Dataset
from affectstream.train.data.options import Options
from affectstream.train.data.reading.reader import RawDataset, Reader, find_prepared, prepared_again
from affectstream.train.data.sample import Sample
from affectstream.train.errors import DataError, DataMissing

VOTES, OF_LABEL = 10.0, 3.0
"""Votes of a sample, and how many of them its own label has."""


def find(folder: Path, options: Options) -> RawDataset:
    """All samples of the prepared set in `folder`, with votes where there are predictions.

    Raises `DataMissing` without a set or predictions, `DataError` where no prediction is of its samples.
    """
    sets = [data for data in find_prepared(folder) if data.info.of is None]
    files = sorted(path for path in folder.rglob("*.npz") if path.is_file())
    if len(sets) != 1 or not files:
        raise DataMissing(
            f"{folder} holds {len(sets)} prepared data sets and {len(files)} files of predictions (.npz): "
            "expected one set and one file or more, such as those that 'affectstream train folds' writes"
        )
    (data,), chances = sets, mean_predictions(files)
    known = sum(name in chances for name in data.column("id")[data.rows_of("train")])
    if not known:
        raise DataError(
            f"{folder}: the predictions are of none of the training samples of {data.info.name}"
        )
    note = f"{known} training samples have votes of {len(files)} files of predictions"
    return prepared_again(sets, partial(_teach, chances), note)


def mean_predictions(files: list[Path]) -> dict[str, dict[str, float]]:
    """The mean probability of each emotion in `files`, by the sample's id. Raises `DataError`."""
    found: dict[str, list[Mapping[str, float]]] = defaultdict(list)
    for path in files:
        with np.load(path, allow_pickle=False) as file:
            if "answers/emotion" not in file.files:
                raise DataError(
                    f"{path}: expected predictions of the task emotion, found {file.files}"
                )
            labels = file["labels/emotion"].tolist()
            for name, row in zip(file["ids"], file["answers/emotion"].tolist(), strict=True):
                found[str(name)].append(dict(zip(labels, row, strict=True)))
    return {
        name: {label: float(np.mean([row[label] for row in rows])) for label in rows[0]}
        for name, rows in found.items()
    }


def _teach(chances: Mapping[str, Mapping[str, float]], _: Dataset, sample: Sample) -> None:
    predicted = chances.get(sample.id)
    if sample.split == "train" and sample.emotion is not None and predicted is not None:
        own = np.asarray([label == sample.emotion for label in EMOTIONS], np.float32)
        taught = np.asarray([predicted.get(label, 0.0) for label in EMOTIONS], np.float32)
        sample.votes = OF_LABEL * own + (VOTES - OF_LABEL) * taught


READER = Reader(find)
