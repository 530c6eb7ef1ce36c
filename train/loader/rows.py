"""Which rows of a data set a network can learn from: those with a label and a modality that it takes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

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
