"""The heads of a bundle as a function of what they were given for one reading.

A `Given` is one row of the head's input arrays for each member of the bundle. Explanations change it (hide a
frame, a stretch of sound, a word, a modality) and ask for the score again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from affectstream.engines.bundle.bundle import Bundle
from affectstream.engines.labels import MODALITIES, Modality
from affectstream.engines.spec import Array
from affectstream.stream.errors import OptionError
from affectstream.stream.explain.find import FoundHop
from affectstream.stream.fusion.affect import DERIVED, derivable
from affectstream.stream.fusion.member import HeadOutputs

Feeds = Mapping[str, Array]
"""One row of the inputs of a head, by name, without the axis of the batch."""
Given = tuple[Feeds | None, ...]
"""The feeds of each member; None for a member without any modality."""
_BATCH = 64
SCALARS = ("valence", "arousal", "engagement", "intensity", "attention")
"""Outputs of heads that are one number, and can be explained as a label can."""


@dataclass(frozen=True, slots=True, eq=False)
class Answer:
    """What the heads predict of a `Given`."""

    scores: tuple[float, ...] | None
    """Calibrated, in the order of the labels; None for a bundle without labels."""
    value: float
    """The number that is explained."""


class HopModel:
    """The heads for the reading `found`; `explained` is a label or an output of the head."""

    def __init__(self, bundle: Bundle, found: FoundHop, explained: str | None = None) -> None:
        """By default the label with the highest score is explained. Raises `OptionError` for a name that
        the bundle does not have."""
        self.bundle, self.found = bundle, found
        self._labels = bundle.manifest.labels
        self._members = found.fuser.members
        self._shifts = found.hop.shifts[found.place]
        self.given: Given = tuple(
            _row(member.feeds(found.hop.window, [own[found.place]]))
            if own[found.place].modalities
            else None
            for member, own in zip(self._members, found.hop.inputs, strict=True)
        )
        (outputs,) = self._outputs([self.given])
        assert outputs is not None
        known = [*self._labels] * ("logits" in outputs) + [n for n in SCALARS if n in outputs]
        if explained is not None and explained not in known:
            is_derived = explained in DERIVED and derivable(self._labels, set(outputs))
            hint = "; it derives valence and arousal from these scores: explain a label"
            raise OptionError(
                f"--of {explained!r}: bundle {bundle.manifest.name!r} predicts "
                f"{', '.join(known) or 'nothing that can be explained'}"
                f"{hint if is_derived else ''}"
            )
        if not known:
            raise OptionError(
                f"bundle {bundle.manifest.name!r} predicts nothing that can be explained"
            )
        if explained is None and "logits" in outputs:
            shares = found.fuser.decoder.distribution(
                outputs["logits"] - self._shift(self.modalities), self.modalities
            )
            explained = self._labels[int(np.argmax(shares))]
        self.explained = explained or known[0]
        self.full = self.answers([self.given])[0]

    @property
    def modalities(self) -> tuple[Modality, ...]:
        """Those that the reading uses."""
        return used_modalities(self.given)

    def answers(self, variants: Sequence[Given]) -> list[Answer]:
        """The answer to each of `variants`, each of which has at least one modality."""
        return [
            self._answer(given, outputs)
            for start in range(0, len(variants), _BATCH)
            for given, outputs in zip(
                variants[start : start + _BATCH],
                self._outputs(variants[start : start + _BATCH]),
                strict=True,
            )
        ]

    def changes(self, variants: Sequence[Given]) -> NDArray[np.float64]:
        """How far the explained number falls with each of `variants` (n,): positive where what was hidden
        speaks for it."""
        values = [one.value for one in self.answers(variants)]
        return np.array([self.full.value - value for value in values])

    def _answer(self, given: Given, outputs: HeadOutputs | None) -> Answer:
        assert outputs is not None, "a variant without any modality"
        scores = None
        if "logits" in outputs:
            used = used_modalities(given)
            exact = self.found.fuser.decoder.distribution(
                outputs["logits"] - self._shift(used), used
            )
            scores = tuple(map(float, exact))
        if self.explained in self._labels and scores is not None:
            return Answer(scores, scores[self._labels.index(self.explained)])
        return Answer(scores, float(outputs[self.explained].item()))

    def _shift(self, used: Sequence[Modality]) -> NDArray[np.float64]:
        nothing = np.zeros(len(self._labels))
        return sum((self._shifts.get(m, nothing) for m in used), nothing)

    def _outputs(self, variants: Sequence[Given]) -> list[HeadOutputs | None]:
        by_member: list[list[HeadOutputs | None]] = []
        for number, member in enumerate(self._members):
            rows = [feeds for given in variants if (feeds := given[number]) is not None]
            stacked = (
                {name: np.stack([row[name] for row in rows]) for name in rows[0]} if rows else {}
            )
            outputs = iter(member.run_head(stacked, len(rows)) if rows else ())
            by_member.append(
                [None if given[number] is None else next(outputs) for given in variants]
            )
        return self.found.fuser.fuse(by_member)


def _row(feeds: Feeds) -> Feeds:
    return {name: array[0] for name, array in feeds.items()}


def used_modalities(given: Given) -> tuple[Modality, ...]:
    """The modalities that at least one member has."""
    return tuple(
        m
        for m in MODALITIES
        if any(
            feeds is not None and f"{m}_mask" in feeds and feeds[f"{m}_mask"].any()
            for feeds in given
        )
    )


def without(given: Given, modalities: Sequence[str]) -> Given | None:
    """`given` with `modalities` (or ``metadata``) masked, as if they had not been there; None if nothing is
    left to judge by."""
    left: list[Feeds | None] = []
    for feeds in given:
        if feeds is None:
            left.append(None)
            continue
        masked = {
            name: np.zeros_like(array)
            if name in modalities or name.removesuffix("_mask") in modalities
            else array
            for name, array in feeds.items()
        }
        has_any = any(masked[f"{m}_mask"].any() for m in MODALITIES if f"{m}_mask" in masked)
        left.append(masked if has_any else None)
    return tuple(left) if any(feeds is not None for feeds in left) else None
