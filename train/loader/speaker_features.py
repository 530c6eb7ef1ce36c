"""What a data set knows of who speaks and who is spoken to, as the numbers that a head takes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from affectstream.engines.manifest import SPEAKER_FEATURES
from affectstream.train.data.dataset import Dataset
from affectstream.train.data.sample import GENDERS

Person = tuple[float, str | None]
"""Years (NaN where unknown) and gender."""


def speaker_features(
    dataset: Dataset, names: Sequence[str] = SPEAKER_FEATURES
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Numbers (n, D) float32 of every row, by `names`, and which of them are known (n, D) bool.

    The listener is the other participant of the same dialogue who spoke last before the row.
    """
    ages, genders = dataset.column("age"), dataset.column("gender")
    people: list[Person] = list(zip(ages.tolist(), genders.tolist(), strict=True))
    unknown: Person = (float("nan"), None)
    numbers = np.asarray(
        [
            _numbers(people[row]) + _numbers(unknown if other is None else people[other])
            for row, other in enumerate(find_listeners(dataset))
        ],
        np.float32,
    ).reshape(len(people), len(SPEAKER_FEATURES))
    picked = numbers[:, [SPEAKER_FEATURES.index(name) for name in names]]  # type: ignore[arg-type]
    known = ~np.isnan(picked)
    return np.where(known, picked, 0.0).astype(np.float32), known


def _numbers(person: Person) -> list[float]:
    age, gender = person
    told = [float("nan")] * len(GENDERS) if gender is None else [gender == g for g in GENDERS]
    return [age / 100.0, *map(float, told)]


def find_listeners(dataset: Dataset) -> list[int | None]:
    """For every row the latest one before it in its dialogue that another participant speaks."""
    speakers = dataset.column("participant")
    out: list[int | None] = [None] * len(speakers)
    for rows in rows_by_dialogue(dataset).values():
        last: dict[str, int] = {}  # by participant, the one who spoke last at the end
        for row in rows:
            speaker = speakers[row]
            if speaker is not None:
                out[row] = next((last[name] for name in reversed(last) if name != speaker), None)
                last.pop(speaker, None)
                last[speaker] = row
    return out


def rows_by_dialogue(dataset: Dataset) -> dict[str, list[int]]:
    """The rows of each dialogue in the order of their turns."""
    found: dict[str, list[int]] = defaultdict(list)
    order = dataset.column("turn")
    for row, dialogue in enumerate(dataset.column("dialogue")):
        if dialogue is not None and order[row] is not None:
            found[dialogue].append(row)
    for rows in found.values():
        rows.sort(key=lambda row: order[row])
    return dict(found)
