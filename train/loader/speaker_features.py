"""Age and gender of the speaker and the listener, as the features that a head takes."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from affectstream.engines.manifest import SPEAKER_FEATURES, SpeakerFeature
from affectstream.train.data.dataset import Dataset
from affectstream.train.data.sample import GENDERS

Person = tuple[float, str | None]
"""Years (NaN where unknown) and gender."""


def speaker_features(
    dataset: Dataset, names: Sequence[SpeakerFeature] = SPEAKER_FEATURES
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """The features `names` of every row (n, D) float32, and which of them are known (n, D) bool.

    The listener is the other participant of the dialogue who spoke last before the row.
    """
    ages, genders = dataset.column("age"), dataset.column("gender")
    people: list[Person] = list(zip(ages.tolist(), genders.tolist(), strict=True))
    unknown: Person = (math.nan, None)
    numbers = np.asarray(
        [
            _numbers(people[row]) + _numbers(unknown if other is None else people[other])
            for row, other in enumerate(find_listeners(dataset))
        ],
        np.float32,
    ).reshape(len(people), len(SPEAKER_FEATURES))
    picked = numbers[:, [SPEAKER_FEATURES.index(name) for name in names]]
    known = ~np.isnan(picked)
    return np.where(known, picked, 0.0).astype(np.float32), known


def _numbers(person: Person) -> list[float]:
    age, gender = person
    return [age / 100.0, *(math.nan if gender is None else float(gender == g) for g in GENDERS)]


def find_listeners(dataset: Dataset) -> list[int | None]:
    """For every row the last row before it in its dialogue that another participant speaks, if any."""
    speakers = dataset.column("participant")
    listeners: list[int | None] = [None] * len(speakers)
    for rows in rows_by_dialogue(dataset).values():
        last: dict[str, int] = {}  # the last row of each participant; who spoke last is at the end
        for row in rows:
            speaker = speakers[row]
            if speaker is not None:
                others = (last[name] for name in reversed(last) if name != speaker)
                listeners[row] = next(others, None)
                last.pop(speaker, None)
                last[speaker] = row
    return listeners


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
