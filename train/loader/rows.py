"""Which rows of a data set a network can learn from, and how often it does."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from affectstream.engines.labels import Modality
from affectstream.train.data.dataset import Dataset
from affectstream.train.errors import DataError
from affectstream.train.tasks import labeled_rows

LARGE_COLUMN_OF = {"video": "crops", "voice": "audio"}
"""The large column that holds a modality."""
COLUMN_OF = {"video": "crop_times_us", "voice": "audio_samples", "text": "text"}
"""The small column that shows whether a row has a modality."""
_NEEDED = {
    "video": "pictures, prepared with '--crop face', '--crop person' or '--crop frame'",
    "voice": "sound",
    "text": "text",
}


def open_for(data: Path, modalities: Sequence[Modality]) -> Dataset:
    """The data set in `data`; of its large columns only those of `modalities` are read."""
    return Dataset(data, large=[LARGE_COLUMN_OF[m] for m in modalities if m in LARGE_COLUMN_OF])


def has_modality(dataset: Dataset, modality: Modality) -> NDArray[np.bool_]:
    """Which rows (n,) have pictures, sound or text."""
    values = dataset.column(COLUMN_OF[modality])
    if modality == "voice":
        return np.asarray([bool(count) for count in values], bool)
    return np.asarray([value is not None and len(value) > 0 for value in values], bool)


def usable_rows(
    dataset: Dataset, split: str | None, modalities: Sequence[Modality], tasks: Sequence[str]
) -> NDArray[np.int64]:
    """Rows of `split` (None: of all) with a label for at least one task and at least one modality.

    Raises `DataError` if there are none, or if no row has one of the modalities.
    """
    rows = dataset.rows_of(split)
    rows = rows[labeled_rows(tasks, dataset)[rows]]
    if not rows.size:
        raise dataset.no_samples(split, f" and task {' or '.join(tasks)}")
    found = {modality: has_modality(dataset, modality)[rows] for modality in modalities}
    if lacking := [modality for modality in modalities if not found[modality].any()]:
        where = "" if split is None else f" of split {split}"
        raise DataError(
            f"data set {dataset.info.name!r}: none of the {len(rows)} samples{where} that are "
            f"labeled for {' or '.join(tasks)} has {' or '.join(lacking)}; the recipe needs "
            f"{' and '.join(_NEEDED[modality] for modality in lacking)}"
        )
    return rows[np.any(list(found.values()), axis=0)]


def balanced_weights(dataset: Dataset, rows: NDArray[np.int64]) -> Tensor:
    """The probability (n,) float64 of each of `rows`: every corpus (in joined data sets what precedes the
    first ``/`` of an id) is drawn equally often, within it every emotion, within that every speaker.

    Raises `DataError` where a row has no emotion.
    """
    corpora = [corpus_of(str(name)) for name in dataset.column("id")[rows]]
    emotions, people = (dataset.column(name)[rows] for name in ("emotion", "participant"))
    if any(emotion is None for emotion in emotions):
        raise DataError(
            f"data set {dataset.info.name!r} has training samples without an emotion: expected one for each "
            "with --balance"
        )
    return nested_weights(list(zip(corpora, emotions, people, strict=True)))


def nested_weights(keys: Sequence[tuple[Hashable, ...]]) -> Tensor:
    """The probability (n,) float64 of each sample, by its `keys` from the outermost level inwards."""
    children: defaultdict[tuple[Hashable, ...], set[Hashable]] = defaultdict(set)
    counts: defaultdict[tuple[Hashable, ...], int] = defaultdict(int)
    for key in keys:
        counts[key] += 1
        for depth in range(len(key)):
            children[key[:depth]].add(key[depth])
    return torch.tensor(
        [
            1.0 / (counts[key] * np.prod([len(children[key[:depth]]) for depth in range(len(key))]))
            for key in keys
        ],
        dtype=torch.float64,
    )


def corpus_of(name: str) -> str:
    """Where the sample `name` of a joined data set comes from; empty for a set that is not joined."""
    corpus, found, _ = name.partition("/")
    return corpus if found else ""
