"""What each modality contributes: the score without it, and what it says alone."""

from __future__ import annotations

from dataclasses import dataclass

from affectstream.stream.explain.model import Answer, HopModel, used_modalities, without


@dataclass(frozen=True, slots=True)
class ModalityEffect:
    """The effect of one modality (or of ``metadata``: what is known about the speaker)."""

    modality: str
    alone: Answer | None
    """With every other modality masked; None for metadata."""
    without: Answer | None
    """With this one masked; None if it is the only one."""
    change: float | None
    """How far the explained number falls without it."""


def modality_effects(model: HopModel) -> list[ModalityEffect]:
    """The effect of each modality that the reading uses."""
    used: list[str] = list(used_modalities(model.given))
    has_metadata = any(
        feeds is not None and "metadata_mask" in feeds and feeds["metadata_mask"].any()
        for feeds in model.given
    )
    effects = []
    for name in used + ["metadata"] * has_metadata:
        alone = None
        if name != "metadata":
            only = without(model.given, [one for one in used if one != name])
            alone = None if only is None else model.answers([only])[0]
        rest = without(model.given, [name])
        answer = None if rest is None else model.answers([rest])[0]
        change = None if answer is None else model.full.value - answer.value
        effects.append(ModalityEffect(name, alone, answer, change))
    return effects
