"""From a window to readings: the heads of all members, fused where there are several."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from affectstream.engines.bundle.bundle import Bundle
from affectstream.engines.graphs.batching import run_in_batches
from affectstream.engines.labels import MODALITIES, Modality
from affectstream.engines.spans import span
from affectstream.engines.spec import Engine
from affectstream.stream.events import Reason
from affectstream.stream.faces.encode import FaceEncoders
from affectstream.stream.fusion.member import (
    BundleMember,
    HeadOutputs,
    MemberContext,
    MemberInputs,
)
from affectstream.stream.fusion.neutral import NeutralBaselines
from affectstream.stream.fusion.reading import OutputDecoder, Reading
from affectstream.stream.fusion.subjects import Subject, SubjectAssigner, is_recent
from affectstream.stream.options import Assignment
from affectstream.stream.speaker_metadata import Speakers
from affectstream.stream.voices.turns import VoiceTurns
from affectstream.stream.windowing.windows import Window, WindowShape


@dataclass(frozen=True, slots=True, eq=False)
class FusedHop:
    """What the readings of one hop were computed from, so that a reading can be explained."""

    window: Window
    subjects: tuple[Subject, ...]
    """One for each reading, in their order."""
    inputs: tuple[tuple[MemberInputs, ...], ...]
    """For each member, what it used of each subject."""
    shifts: tuple[Mapping[Modality, NDArray[np.float64]], ...]
    """For each subject, what was subtracted from the logits (`NeutralBaselines`)."""


class Fuser:
    """The heads of a bundle over the windows of one source."""

    def __init__(
        self,
        bundle: Bundle,
        *,
        assignment: Assignment,
        language: str | None = None,
        modalities: Sequence[Modality] = MODALITIES,
        speakers: Speakers | None = None,
        min_confidence: float | None = None,
        neutral_us: int = 0,
        turns: VoiceTurns | None = None,
    ) -> None:
        """`modalities` are those that the source can give at all.

        Raises `OptionError` as `NeutralBaselines`.
        """
        manifest = bundle.manifest
        self._shape = WindowShape(manifest.window_us, manifest.hop_us, manifest.frame_hz)
        shared = MemberContext(
            manifest.frame_hz, FaceEncoders.from_bundle(bundle), speakers or Speakers(), language
        )
        self.members = [BundleMember(member, shared) for member in bundle.member_bundles]
        self._late_fusion = bundle.engines["fusion"] if bundle.members else None
        self._modalities = tuple(modalities)
        self._assigner = SubjectAssigner(
            assignment,
            manifest.frame_hz,
            self._shape.points_per_hop,
            has_voice="voice" in modalities,
            turns=turns,
        )
        self.decoder = OutputDecoder(manifest, min_confidence)
        self.newest: FusedHop | None = None
        """What the newest readings were computed from."""
        self._neutral = NeutralBaselines(manifest, neutral_us)

    def push(self, window: Window) -> list[Reading]:
        """Readings of one hop: those of the tracks in order of their numbers, then the recording's.

        The recording has a reading where something was assigned to it, or where there is no track.
        """
        subjects = self._assigner.assign(
            window,
            uses_faces=any(m.uses_faces for m in self.members),
            speech_channels=[
                channel
                for channel in range(len(window.voiced_us))
                if any(m.has_speech(window, channel) for m in self.members)
            ],
            uses_text=any(m.uses_text for m in self.members),
        )
        inputs = [[m.inputs(window, subject) for subject in subjects] for m in self.members]
        used = [_modalities_used(of_subject) for of_subject in zip(*inputs, strict=True)]
        if subjects[:-1] and not used[-1]:
            subjects, used = subjects[:-1], used[:-1]
        alone = self._alone(used)
        outputs = [
            member.predict(
                window,
                [
                    *own[: len(subjects)],
                    *(own[subject].only(modality) for subject, modality in alone),
                ],
            )
            for member, own in zip(self.members, inputs, strict=True)
        ]
        fused = self.fuse(outputs)
        by_modality: list[dict[Modality, HeadOutputs]] = [{} for _ in subjects]
        for (number, modality), output in zip(alone, fused[len(subjects) :], strict=True):
            if output is not None:
                by_modality[number][modality] = output
        readings, shifts = [], []
        for each in zip(subjects, used, fused[: len(subjects)], by_modality, strict=True):
            reading, shift = self._reading(window, *each)
            readings.append(reading)
            shifts.append(shift)
        of_subjects = tuple(tuple(own[: len(subjects)]) for own in inputs)
        self.newest = FusedHop(window, tuple(subjects), of_subjects, tuple(shifts))
        return readings

    def fuse(self, outputs: Sequence[Sequence[HeadOutputs | None]]) -> list[HeadOutputs | None]:
        """The outputs for each subject, from those of each member for it; None for one without any."""
        if self._late_fusion is None:
            return list(outputs[0])
        return _fuse(self._late_fusion, outputs)

    def _alone(self, used: Sequence[Sequence[Modality]]) -> list[tuple[int, Modality]]:
        """Each modality of each subject that has several, if it is to be known what they say alone."""
        if not (self.decoder.finds_conflicts or self._neutral.active):
            return []
        return [(n, modality) for n, of in enumerate(used) if len(of) > 1 for modality in of]

    def _reading(
        self,
        window: Window,
        subject: Subject,
        modalities: tuple[Modality, ...],
        outputs: HeadOutputs | None,
        alone: Mapping[Modality, HeadOutputs],
    ) -> tuple[Reading, Mapping[Modality, NDArray[np.float64]]]:
        first_point = window.hop * self._shape.points_per_hop
        in_hop = [sample for sample in subject.samples if sample.point >= first_point]
        voiced_us = self._assigner.voiced_us(window, subject)
        reading = Reading(
            hop=window.hop,
            start_us=window.start_us,
            end_us=window.end_us,
            track=subject.track,
            modalities=modalities,
            scores=None,
            label=None,
            confidence=None,
            abstain=self._why_nothing(subject, window.end_us) if outputs is None else None,
            assigned_by=subject.assigned_by,
            track_sample=in_hop[-1] if in_hop else None,
            voiced=voiced_us / self._shape.window_us,
            speaker=subject.speaker,
        )
        if outputs is None:
            return reading, {}
        if len(modalities) == 1:
            alone = {modalities[0]: outputs}
        logits = {m: of["logits"] for m, of in alone.items() if "logits" in of}
        shifts = self._neutral.push(subject.track, window.start_us, logits)
        return self.decoder.fill(reading, outputs, alone, shifts), shifts

    def _why_nothing(self, subject: Subject, end_us: int) -> Reason:
        """Why no modality of a subject can be used."""
        if is_recent(subject.samples, end_us):
            return subject.samples[-1].face.quality.reason
        if "video" in self._modalities:
            return "no_face" if any(m.uses_faces for m in self.members) else "no_picture"
        if "voice" in self._modalities:
            return "no_speech"
        return "no_words" if any(m.uses_text for m in self.members) else "language"


def _modalities_used(inputs: Sequence[MemberInputs]) -> tuple[Modality, ...]:
    """The modalities of a subject that at least one member uses."""
    return tuple(m for m in MODALITIES if any(m in each.modalities for each in inputs))


def _fuse(
    head: Engine, outputs: Sequence[Sequence[HeadOutputs | None]]
) -> list[HeadOutputs | None]:
    """Outputs of the late-fusion `head` for each subject, from the logits of the members.

    A member without outputs for a subject is masked; a subject without any outputs gives None.
    """
    by_subject = list(zip(*outputs, strict=True))
    used = [each for each in by_subject if any(out is not None for out in each)]
    labels = head.inputs["members"].shape[-1]
    logits = np.zeros((len(used), len(outputs), int(labels)), np.float32)
    mask = np.zeros((len(used), len(outputs)), np.bool_)
    for row, each in enumerate(used):
        for member, out in enumerate(each):
            if out is not None:
                logits[row, member], mask[row, member] = out["logits"], True
    with span("fuse", len(used)):
        fused = iter(run_in_batches(head, {"members": logits, "mask": mask}, len(used)))
    return [next(fused) if any(out is not None for out in each) else None for each in by_subject]
