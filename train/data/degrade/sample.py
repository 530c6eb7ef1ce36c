"""A sample with every modality degraded in a way that is drawn for it."""

from __future__ import annotations

import random as lottery
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from affectstream.train.data.degrade import faces, voices
from affectstream.train.data.sample import Sample

FACES = {
    "noise": faces.noise,
    "blur": faces.blur,
    "few_pixels": faces.few_pixels,
    "jpeg": faces.jpeg,
    "dark": faces.dark,
    "side_light": faces.side_light,
    "hand": faces.hand,
}
MISSING_WORDS = 0.2
"""Share of the words that a degraded transcript lacks."""


def degraded(sample: Sample, seed: str) -> tuple[Sample, tuple[str, ...]]:
    """The sample with its faces, voice and words degraded, and the names of what was done to each.

    The same `seed` gives the same.
    """
    draw = lottery.Random(seed)
    random = np.random.default_rng(draw.randrange(2**32))
    changed: dict[str, Any] = {}
    names: list[str] = []
    if sample.crops is not None:
        name = _drawn(FACES, draw, names)
        changed["crops"] = np.stack([FACES[name](crop, random) for crop in sample.crops])
    if sample.audio is not None:
        name = _drawn(voices.DEGRADATIONS, draw, names)
        changed["audio"] = voices.DEGRADATIONS[name](sample.audio, random)
    if sample.text is not None:
        words = sample.text.split()
        left = [word for word in words if draw.random() >= MISSING_WORDS]
        changed["text"] = " ".join(left or words[:1])
        names.append("missing_words")
    return replace(sample, **changed), tuple(names)


def _drawn(of: dict[str, Callable[..., Any]], draw: lottery.Random, names: list[str]) -> str:
    name = draw.choice(sorted(of))
    names.append(name)
    return name
