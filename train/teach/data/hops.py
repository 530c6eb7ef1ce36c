"""The coded hops of recordings: the inputs and outputs of the head for each, and the coder's label."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from affectstream.engines.labels import Modality

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]
Picked = Mask | NDArray[np.int64]

HALF_LIFE_S = 0.25
"""The weight of a frame halves every so often before the end of a window, so that the embedding of a window
shows the face as it is now."""


@dataclass(frozen=True, slots=True, eq=False)
class Evidence:
    """Inputs and outputs of a head for n hops; C labels of the bundle."""

    logits: Array
    """(n, C) of all modalities together, for a uniform prior."""
    alone: Mapping[Modality, Array]
    """(n, C) of each modality alone; zeros where it is absent."""
    embeddings: Mapping[Modality, Array]
    """(n, D) the embeddings of the window, pooled; zeros where the modality is absent."""
    present: Mapping[Modality, Mask]
    """(n,)"""

    def __len__(self) -> int:
        return len(self.logits)

    @property
    def modalities(self) -> tuple[Modality, ...]:
        """Those that the head takes."""
        return tuple(self.present)

    @property
    def sets(self) -> NDArray[np.str_]:
        """(n,) the modalities in use, such as ``video+voice``."""
        names = np.full(len(self), "", object)
        for modality, here in self.present.items():
            names = np.where(here, np.where(names == "", modality, names + f"+{modality}"), names)
        return names.astype(np.str_)

    def rows(self, picked: Picked) -> Evidence:
        """Some of the hops."""
        return Evidence(
            self.logits[picked],
            {m: v[picked] for m, v in self.alone.items()},
            {m: v[picked] for m, v in self.embeddings.items()},
            {m: v[picked] for m, v in self.present.items()},
        )


@dataclass(frozen=True, slots=True, eq=False)
class Hops:
    """Coded hops of any number of recordings."""

    labels: tuple[str, ...]
    """Those of the bundle, then new ones."""
    evidence: Evidence
    truth: NDArray[np.int64]
    """(n,) numbers among `labels`."""
    person: NDArray[np.str_]
    recording: NDArray[np.str_]
    seconds: Array
    """(n,) where the hop begins."""

    def __len__(self) -> int:
        return len(self.truth)

    def with_evidence(self, evidence: Evidence) -> Hops:
        """The same hops with other inputs and outputs of the head."""
        return replace(self, evidence=evidence)

    def rows(self, picked: Picked) -> Hops:
        """Some of the hops."""
        return Hops(
            self.labels,
            self.evidence.rows(picked),
            self.truth[picked],
            self.person[picked],
            self.recording[picked],
            self.seconds[picked],
        )


def joined(parts: Sequence[Hops]) -> Hops:
    """All hops of several recordings."""
    every = [part.evidence for part in parts]
    modalities = every[0].modalities
    evidence = Evidence(
        np.concatenate([one.logits for one in every]),
        {m: np.concatenate([one.alone[m] for one in every]) for m in modalities},
        {m: np.concatenate([one.embeddings[m] for one in every]) for m in modalities},
        {m: np.concatenate([one.present[m] for one in every]) for m in modalities},
    )
    return Hops(
        parts[0].labels,
        evidence,
        np.concatenate([part.truth for part in parts]),
        np.concatenate([part.person for part in parts]),
        np.concatenate([part.recording for part in parts]),
        np.concatenate([part.seconds for part in parts]),
    )


def frame_weights(steps: int, frame_hz: int) -> NDArray[np.float32]:
    """(steps,) the weights with which the frames of a window count, oldest first; see `HALF_LIFE_S`."""
    ages = np.arange(steps)[::-1] / frame_hz
    return np.asarray(0.5 ** np.minimum(ages / HALF_LIFE_S, 12.0), np.float32)


def pooled(sequence: NDArray[np.float32], mask: Mask, weights: NDArray[np.float32]) -> Array:
    """Weighted means (N, D) of sequences (N, T, D) under a mask (N, T); zeros where nothing is present."""
    weighed = (mask * weights).astype(np.float64)
    total = np.einsum("nt,ntd->nd", weighed, sequence)
    return np.asarray(total / np.maximum(weighed.sum(1), 1e-6)[:, None])
