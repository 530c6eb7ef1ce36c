"""From a window to readings: who gets which modality, the heads, and calibrated probabilities."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from affectstream.engines.bundle.bundle import MODALITIES, Bundle
from affectstream.engines.spec import Array
from affectstream.stream.faces.encode import FaceEncoders
from affectstream.stream.fusion.encoders import Encoders
from affectstream.stream.fusion.member import (
    BundleMember,
    HeadOutputs,
    MemberContext,
    MemberInputs,
    Subject,
    is_recent,
    run_head,
)
from affectstream.stream.media.types import Cue
from affectstream.stream.options import Assignment
from affectstream.stream.speaker_metadata import Speakers
from affectstream.stream.windowing.windows import TrackSample, Window, WindowShape

SCORE_DECIMALS = 4


@dataclass(frozen=True, slots=True, eq=False)
class Reading:
    """What the head said of one track, or of the recording (`track` None), at one hop.

    `scores` are probabilities in the order of the bundle's labels, rounded to 4 decimals, None where
    there was nothing to read, or the bundle gives none; `label` is None when abstaining, and `abstain`
    then says why. `track_sample` is the newest face of the hop. `intensities` are in the order of the labels,
    `sentiment` in that of `engines.shapes.SENTIMENTS`.
    """

    hop: int
    start_us: int
    end_us: int
    track: int | None
    modalities: tuple[str, ...]
    scores: tuple[float, ...] | None
    label: str | None
    confidence: float | None
    abstain: str | None
    assigned_by: str | None
    track_sample: TrackSample | None
    voiced: float
    valence: float | None = None
    engagement: float | None = None
    sentiment: tuple[float, ...] | None = None
    intensity: float | None = None
    intensities: tuple[float, ...] | None = None
    attention: float | None = None


class Fuser:
    """The heads of a bundle over the windows of one source."""

    def __init__(
        self,
        bundle: Bundle,
        *,
        assignment: Assignment,
        language: str | None = None,
        sources: Sequence[str] = MODALITIES,
        speakers: Speakers | None = None,
    ) -> None:
        """`sources` are the modalities that the recording can give at all."""
        manifest = bundle.manifest
        self._labels = manifest.labels
        self._shape = WindowShape(manifest.window_us, manifest.hop_us, manifest.frame_hz)
        self._calibration = manifest.calibration
        self._log_prior = np.log(np.asarray(manifest.calibration.prior, np.float64))
        shared = MemberContext(
            manifest.frame_hz,
            FaceEncoders.from_bundle(bundle),
            speakers or Speakers(),
            language,
            Encoders(),
        )
        self._experts = [BundleMember(expert, shared) for expert in bundle.experts]
        self._joint = bundle.engines["fusion"] if bundle.members else None
        self._assignment = assignment
        self._sources = tuple(sources)
        self._sides = (assignment.channels or ()) if "voice" in sources else ()

    def push(self, window: Window) -> list[Reading]:
        """Readings of one hop: each track's in order of its number, then the recording's.

        The tracks are those in view, and whoever has a side of the sound, in view or not.
        """
        rows = self._rows(window)
        evidence = [[e.gather(window, row) for row in rows] for e in self._experts]
        used = [_union(of_row) for of_row in zip(*evidence, strict=True)]
        if rows[:-1] and not used[-1]:  # nothing is left for the recording itself
            rows, used = rows[:-1], used[:-1]
        given = zip(self._experts, evidence, strict=True)
        answers = [expert.predict(window, rows, of[: len(rows)]) for expert, of in given]
        told = self._joined(answers) if self._joint is not None else answers[0]
        return [
            self._reading(window, row, modalities, answer)
            for row, modalities, answer in zip(rows, used, told, strict=True)
        ]

    def _rows(self, window: Window) -> list[Subject]:
        """One for each track, and last the recording's."""
        looks = window.tracks if any(e.uses_faces for e in self._experts) else {}
        rows = {
            track: Subject(track, looks.get(track, ())) for track in sorted({*looks, *self._sides})
        }
        alone = [track for track in looks if is_recent(looks[track], window.end_us)]
        recording = Subject(None)

        def owner(cue: Cue | None, channel: int | None) -> tuple[Subject, str | None]:
            track, by = self._owner(cue, channel, alone)
            return (rows[track], by) if track in rows else (recording, None)

        for channel in range(len(window.voiced_us)):
            if any(e.has_speech(window, channel) for e in self._experts):
                row, by = owner(window.cue, channel if self._assignment.channels else None)
                row.channel, row.assigned_by = channel, by
        if window.cue is not None and any(e.uses_text for e in self._experts):
            row, by = owner(window.cue, None)
            row.cue, row.assigned_by = window.cue, by or row.assigned_by
        if window.frames:  # the picture as a whole says something of the only one in it
            (rows[alone[0]] if len(alone) == 1 else recording).frames = window.frames
        return [*rows.values(), recording]

    def _owner(
        self, cue: Cue | None, channel: int | None, alone: Sequence[int]
    ) -> tuple[int | None, str | None]:
        if self._assignment.everything is not None:
            return self._assignment.everything, "option"
        if channel is not None and self._assignment.channels is not None:
            return self._assignment.channels[channel], "channel"
        if cue is not None and cue.speaker is not None and cue.speaker in self._assignment.names:
            return self._assignment.names[cue.speaker], "transcript"
        if len(alone) == 1 and not self._assignment.names and not self._assignment.channels:
            return alone[0], "only_track"
        return None, None

    def _joined(self, answers: Sequence[Sequence[HeadOutputs | None]]) -> list[HeadOutputs | None]:
        """The fused logits of each row, from those of the members that have something to go by."""
        assert self._joint is not None
        rows = list(zip(*answers, strict=True))
        used = [row for row in rows if any(answer is not None for answer in row)]
        logits = np.zeros((len(used), len(answers), len(self._labels)), np.float32)
        mask = np.zeros((len(used), len(answers)), np.bool_)
        for number, row in enumerate(used):
            for member, answer in enumerate(row):
                if answer is not None:
                    logits[number, member], mask[number, member] = answer["logits"], True
        fused = iter(run_head(self._joint, {"members": logits, "mask": mask}, len(used)))
        return [next(fused) if any(a is not None for a in row) else None for row in rows]

    def _fault(self, row: Subject, end_us: int) -> str:
        """Why there is nothing to read of a row."""
        if is_recent(row.samples, end_us):
            return row.samples[-1].face.quality.reason
        if "video" in self._sources:
            return "no_face" if any(e.uses_faces for e in self._experts) else "no_picture"
        if "voice" in self._sources:
            return "no_speech"
        return "no_words" if any(e.uses_text for e in self._experts) else "language"

    def _reading(
        self, window: Window, row: Subject, modalities: tuple[str, ...], answer: HeadOutputs | None
    ) -> Reading:
        now = [
            look for look in row.samples if look.point >= window.hop * self._shape.points_per_hop
        ]
        reading = Reading(
            hop=window.hop,
            start_us=window.start_us,
            end_us=window.end_us,
            track=row.track,
            modalities=modalities,
            scores=None,
            label=None,
            confidence=None,
            abstain=self._fault(row, window.end_us) if answer is None else None,
            assigned_by=row.assigned_by,
            track_sample=now[-1] if now else None,
            voiced=self._voiced_us(window, row) / self._shape.window_us,
        )
        if answer is None:
            return reading
        reading = replace(
            reading,
            valence=_scalar(answer, "valence", -1.0),
            engagement=_scalar(answer, "engagement"),
            sentiment=_several(answer, "sentiment"),
            intensity=_scalar(answer, "intensity"),
            intensities=_several(answer, "intensities"),
            attention=_scalar(answer, "attention"),
        )
        return self._labelled(reading, answer["logits"]) if "logits" in answer else reading

    def _labelled(self, reading: Reading, logits: Array) -> Reading:
        scores = self.probabilities(logits, reading.modalities)
        best = int(np.argmax(scores))
        least = self._calibration.min_confidence.get("+".join(reading.modalities), 0.0)
        sure = scores[best] >= least
        return replace(
            reading,
            scores=scores,
            label=self._labels[best] if sure else None,
            confidence=scores[best],
            abstain=None if sure else "low_confidence",
        )

    def _voiced_us(self, window: Window, row: Subject) -> int:
        """How much speech there is on the side of the one that a reading is about, or at all."""
        if row.channel is not None:
            return window.voiced_us[row.channel]
        sides = self._assignment.channels or ()
        own = [us for us, track in zip(window.voiced_us, sides, strict=False) if track == row.track]
        return max(own or window.voiced_us, default=0)

    def probabilities(self, logits: Array, modalities: Sequence[str]) -> tuple[float, ...]:
        """Calibrated probabilities of one row of logits (C,), rounded."""
        temperature = self._calibration.temperature.get("+".join(modalities), 1.0)
        scaled = logits.astype(np.float64) / temperature + self._log_prior
        weights = np.exp(scaled - scaled.max())
        return tuple(round(float(p), SCORE_DECIMALS) for p in weights / weights.sum())


def _union(evidence: Sequence[MemberInputs]) -> tuple[str, ...]:
    return tuple(m for m in MODALITIES if any(m in given.modalities for given in evidence))


def _scalar(answer: HeadOutputs, name: str, least: float = 0.0) -> float | None:
    return _bounded(answer[name].item(), least) if name in answer else None


def _several(answer: HeadOutputs, name: str) -> tuple[float, ...] | None:
    return tuple(_bounded(v) for v in answer[name].tolist()) if name in answer else None


def _bounded(value: float, least: float = 0.0) -> float:
    """Rounded; FP16 may miss the end of a range by a hair, which readers of events would refuse."""
    return round(min(max(value, least), 1.0), SCORE_DECIMALS)
