"""The neutral face and voice of a person: what the head says of them in their first seconds.

Some faces look sad or cross at rest, and some voices sound so. What the head says of the first seconds, less
what it says of neutral faces and voices in general, is subtracted from all that it says of the person. These
are logits, so every score is relative to the person, on the scale of the bundle.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from affectstream.engines.labels import Modality
from affectstream.engines.manifest import Manifest
from affectstream.engines.spec import Array
from affectstream.stream.errors import OptionError

Logits = NDArray[np.float64]
OF_A_PERSON: tuple[Modality, ...] = ("video", "voice")
"""Words are what somebody says, not how they look or sound."""


@dataclass(slots=True)
class _Mean:
    until_us: int
    total: Logits
    count: int


class NeutralBaselines:
    """The neutral logits of each track and modality; the recording itself counts as one person."""

    def __init__(self, manifest: Manifest, span_us: int) -> None:
        """`span_us` is how long the first seconds of a person are in each modality; 0: nothing is learned.

        Raises `OptionError` if the bundle does not say what neutral faces and voices look like to it.
        """
        self._span_us = span_us
        self._norms = {m: np.asarray(v) for m, v in manifest.calibration.neutral.items()}
        self._means: dict[tuple[int | None, Modality], _Mean] = {}
        if span_us and not self._norms:
            raise OptionError(
                f"neutral: bundle {manifest.name!r} {manifest.version} does not say what neutral faces and "
                "voices look like to it (calibration.neutral in bundle.json): leave the option out, or "
                "export the bundle again"
            )

    @property
    def active(self) -> bool:
        """Whether anything is learned."""
        return self._span_us > 0

    def push(
        self, track: int | None, start_us: int, alone: Mapping[Modality, Array]
    ) -> dict[Modality, Logits]:
        """What to subtract from the logits (C,) of each modality in the hop that starts at `start_us`.

        `alone` are the logits of each modality alone. In the first seconds the mean so far counts.
        """
        shifts = {}
        for modality, logits in alone.items():
            norm = self._norms.get(modality)
            if not self.active or norm is None or modality not in OF_A_PERSON:
                continue
            key = track, modality
            if key not in self._means:
                self._means[key] = _Mean(start_us + self._span_us, np.zeros(len(norm)), 0)
            mean = self._means[key]
            if start_us < mean.until_us:
                mean.total = mean.total + logits.astype(np.float64)
                mean.count += 1
            shifts[modality] = mean.total / max(mean.count, 1) - norm
        return shifts
