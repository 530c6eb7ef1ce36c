"""What is known of each sample besides its labels: who it is of, and how good picture and sound are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import compress
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from affectstream.train.data.dataset import Dataset
from affectstream.train.data.sample import SPLITS, decode_audio, decode_crop

AGES = ((0, 18), (18, 30), (30, 45), (45, 60), (60, 120))
SILENCE_DB = -100.0
"""The level of digital silence."""


@dataclass(frozen=True, slots=True)
class SampleFacts:
    """Columns (n,) by name."""

    categories: Mapping[str, NDArray[Any]]
    """Text, None where unknown."""
    measures: Mapping[str, NDArray[np.float64]]
    """Numbers, nan where unknown."""


def sample_facts(dataset: Dataset, rows: NDArray[np.int64]) -> SampleFacts:
    """The facts of `rows`; those of pictures and sound only if `dataset` was opened with them.

    A category or measure that is nowhere known is left out.
    """
    small = {name: dataset.column(name)[rows] for name in ("participant", "gender", "language")}
    ages = dataset.column("age")[rows]
    prefixes = [str(name).partition("/") for name in dataset.column("id")[rows]]
    present = {
        "face": [bool(times) for times in dataset.column("crop_times_us")[rows]],
        "voice": [bool(length) for length in dataset.column("audio_samples")[rows]],
        "words": [bool(text) for text in dataset.column("text")[rows]],
    }
    categories = {
        "person": small["participant"],
        "sex": small["gender"],
        "age": _objects([_age_band(age) for age in ages.tolist()]),
        "language": small["language"],
        "corpus": _objects(
            [name if slash and name not in SPLITS else None for name, slash, _ in prefixes]
        ),
        "modalities": _objects(
            ["+".join(compress(present, row)) for row in zip(*present.values(), strict=True)]
        ),
    }
    measured = [_measure(dataset.row(int(row))) for row in rows]
    measures = {
        name: np.array([one.get(name, np.nan) for one in measured])
        for name in ("sharpness", "brightness", "contrast", "level dB", "seconds", "words")
    }
    return SampleFacts(
        {name: column for name, column in categories.items() if any(column)},
        {name: column for name, column in measures.items() if np.isfinite(column).any()},
    )


def _measure(row: Mapping[str, Any]) -> dict[str, float]:
    found: dict[str, float] = {}
    if crops := row.get("crops"):
        gray = cv2.cvtColor(decode_crop(crops[len(crops) // 2]), cv2.COLOR_RGB2GRAY)
        edges = cv2.Laplacian(gray, cv2.CV_64F, ksize=1)
        # As in `stream.faces.quality`: the energy of edges against all variance.
        found["sharpness"] = float(edges.var() / (float(gray.var()) + 25.0))
        found["brightness"] = float(gray.mean()) / 255.0
        found["contrast"] = float(gray.std()) / 255.0
    if audio := row.get("audio"):
        sound = decode_audio(audio)
        power = float(np.mean(np.square(sound, dtype=np.float64))) if len(sound) else 0.0
        found["level dB"] = max(SILENCE_DB, 10 * float(np.log10(power + 1e-12)))
        found["seconds"] = len(sound) / 16_000
    if text := row.get("text"):
        found["words"] = float(len(text.split()))
    return found


def _age_band(age: float) -> str | None:
    for low, high in AGES:
        if low <= age < high:
            return f"{low} to {high - 1}"
    return None


def _objects(values: list[str | None]) -> NDArray[Any]:
    found = np.empty(len(values), object)
    found[:] = values
    return found
