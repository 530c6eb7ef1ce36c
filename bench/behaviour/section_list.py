"""The sections of `affectstream bench behaviour`, in the order in which they are printed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from affectstream.bench.behaviour.report import Report
from affectstream.bench.behaviour.sections import (
    attention,
    coverage,
    nonspeech,
    people,
    pose,
    reaction,
    roll,
    segments,
    speaker,
    steadiness,
    voice_reaction,
    voices,
)
from affectstream.bench.behaviour.workbench import Workbench


@dataclass(frozen=True, slots=True)
class Section:
    """What is measured, and the question that it answers."""

    question: str
    measure: Callable[[Workbench], Report]


SECTIONS = {
    "roll": Section("does roll follow a portrait that is turned?", roll.measure),
    "pose": Section("does the head's pose agree with the face mesh's?", pose.measure),
    "steadiness": Section("is a still face still?", steadiness.measure),
    "attention": Section("does attention know where the eyes look?", attention.measure),
    "reaction": Section("how soon does the label follow the face?", reaction.measure),
    "voice_reaction": Section("how soon does the label follow the voice?", voice_reaction.measure),
    "people": Section("is one person one number?", people.measure),
    "speaker": Section("whose voice is it?", speaker.measure),
    "voices": Section("whose voice is it, where nobody is seen?", voices.measure),
    "coverage": Section("does another modality take labels away?", coverage.measure),
    "segments": Section("do segments say what their hops say?", segments.measure),
    "nonspeech": Section("does sound that is no speech get an emotion?", nonspeech.measure),
}
