"""A reading: what the head predicted of one subject in one hop, with calibrated probabilities."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from affectstream.engines.labels import Modality
from affectstream.engines.manifest import Manifest
from affectstream.engines.spec import Array
from affectstream.stream.events import AssignedBy, Reason
from affectstream.stream.fusion.affect import derivable, derive
from affectstream.stream.fusion.conflict import contradict
from affectstream.stream.windowing.windows import TrackSample

SCORE_DECIMALS = 4


@dataclass(frozen=True, slots=True, eq=False)
class Reading:
    """The prediction for one track, or for the recording (`track` None), in one hop.

    `modalities` are those that were used. `scores` are probabilities in the order of the bundle's
    labels, rounded to 4 decimals; None where there was no input, or the bundle has no such output.
    `label` is None when abstaining, and `abstain` then gives the reason. `track_sample` is the newest
    face of the hop, and `voiced` in [0, 1] how much of the window is speech. `valence` and `arousal` are in
    [-1, 1], and `derived` says whether they follow from the scores; `engagement`, `intensity` and
    `attention` are in [0, 1]. `intensities` are in the order of the labels, and `sentiment` in that of
    `engines.labels.SENTIMENTS`.
    """

    hop: int
    start_us: int
    end_us: int
    track: int | None
    modalities: tuple[Modality, ...]
    scores: tuple[float, ...] | None
    label: str | None
    confidence: float | None
    abstain: Reason | None
    assigned_by: AssignedBy | None
    track_sample: TrackSample | None
    voiced: float
    speaker: str | None = None
    valence: float | None = None
    arousal: float | None = None
    derived: bool | None = None
    engagement: float | None = None
    sentiment: tuple[float, ...] | None = None
    intensity: float | None = None
    intensities: tuple[float, ...] | None = None
    attention: float | None = None


class OutputDecoder:
    """Fills in readings from head outputs, with the calibration of a bundle."""

    def __init__(self, manifest: Manifest, min_confidence: float | None = None) -> None:
        """A label needs `min_confidence`; None: what the calibration demands."""
        self._labels, self._min_confidence = manifest.labels, min_confidence
        self._calibration = manifest.calibration
        self._log_prior = np.log(np.asarray(manifest.calibration.prior, np.float64))

    @property
    def finds_conflicts(self) -> bool:
        """Whether the bundle says when modalities contradict each other."""
        return bool(self._calibration.conflict)

    def fill(
        self,
        reading: Reading,
        outputs: Mapping[str, Array],
        alone: Mapping[Modality, Mapping[str, Array]],
        shifts: Mapping[Modality, NDArray[np.float64]],
    ) -> Reading:
        """`reading` with the values of the head's `outputs`; `alone` are those of each modality alone, and
        `shifts` what to subtract from their logits (`NeutralBaselines`)."""
        reading = replace(
            reading,
            valence=_scalar(outputs, "valence", -1.0),
            arousal=_scalar(outputs, "arousal", -1.0),
            derived=False if {"valence", "arousal"} & set(outputs) else None,
            engagement=_scalar(outputs, "engagement"),
            sentiment=_vector(outputs, "sentiment"),
            intensity=_scalar(outputs, "intensity"),
            intensities=_vector(outputs, "intensities"),
            attention=_scalar(outputs, "attention"),
        )
        if "logits" not in outputs:
            return reading
        nothing = np.zeros(len(self._labels))
        shift = sum((shifts.get(m, nothing) for m in reading.modalities), nothing)
        scores = self.probabilities(outputs["logits"] - shift, reading.modalities)
        apart = {
            m: of["logits"] - shifts.get(m, nothing)
            for m, of in alone.items()
            if self.finds_conflicts
        }
        pairs = {
            "+".join(pair): (
                self.distribution(apart[pair[0]], pair),
                self.distribution(apart[pair[1]], pair),
            )
            for pair in combinations(apart, 2)
        }
        best = int(np.argmax(scores))
        own = self._calibration.min_confidence.get("+".join(reading.modalities), 0.0)
        # Scores do not depend on what the user asks for, so neither do contradictions.
        if contradict(pairs, self._calibration.conflict, labeled=scores[best] >= own):
            # What each says, side by side.
            both = np.mean([self.distribution(of, (m,)) for m, of in apart.items()], axis=0)
            scores = tuple(round(float(p), SCORE_DECIMALS) for p in both)
            found = replace(reading, scores=scores, confidence=max(scores), abstain="conflict")
            return self._with_affect(found, outputs)
        least = own if self._min_confidence is None else self._min_confidence
        confident = scores[best] >= least
        found = replace(
            reading,
            scores=scores,
            label=self._labels[best] if confident else None,
            confidence=scores[best],
            abstain=None if confident else "low_confidence",
        )
        return self._with_affect(found, outputs)

    def _with_affect(self, reading: Reading, outputs: Mapping[str, Array]) -> Reading:
        """`reading` with valence and arousal from its scores, where the head predicts neither."""
        if reading.scores is None or not derivable(self._labels, set(outputs)):
            return reading
        valence, arousal = derive(self._labels, reading.scores)
        return replace(
            reading,
            valence=_bounded(valence, -1.0),
            arousal=_bounded(arousal, -1.0),
            derived=True,
        )

    def probabilities(self, logits: Array, modalities: Sequence[Modality]) -> tuple[float, ...]:
        """Calibrated probabilities of one row of logits (C,), rounded."""
        exact = self.distribution(logits, modalities)
        return tuple(round(float(p), SCORE_DECIMALS) for p in exact)

    def distribution(self, logits: Array, modalities: Sequence[Modality]) -> NDArray[np.float64]:
        """Calibrated probabilities (C,) of one row of logits (C,)."""
        temperature = self._calibration.temperature.get("+".join(modalities), 1.0)
        scaled = logits.astype(np.float64) / temperature + self._log_prior
        weights = np.exp(scaled - scaled.max())
        return np.asarray(weights / weights.sum(), np.float64)


def _scalar(outputs: Mapping[str, Array], name: str, low: float = 0.0) -> float | None:
    return _bounded(outputs[name].item(), low) if name in outputs else None


def _vector(outputs: Mapping[str, Array], name: str) -> tuple[float, ...] | None:
    return tuple(_bounded(v) for v in outputs[name].tolist()) if name in outputs else None


def _bounded(value: float, low: float = 0.0) -> float:
    """`value` in [low, 1], rounded. FP16 may exceed a bound slightly, and the event schema refuses that."""
    return round(min(max(value, low), 1.0), SCORE_DECIMALS)
