"""Occlusion of words: the score with one word of the utterance left out."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from affectstream.stream.explain.model import Given, HopModel, without
from affectstream.stream.media.types import Cue

_MOST = 64
"""Words of an utterance that are left out one by one; encoders take about as many tokens."""


@dataclass(frozen=True, slots=True)
class WordEffect:
    """The effect of one word; of an earlier utterance as a whole where the encoder takes those too."""

    text: str
    change: float | None
    """How far the explained number falls without it; None where nothing else would be left."""
    earlier: bool = False


def word_effects(model: HopModel) -> list[WordEffect]:
    """The effect of the earlier utterances, then of each word of the current one."""
    found = model.found
    utterances = next(
        (own[found.place].utterances for own in found.hop.inputs if own[found.place].utterances), ()
    )
    if not utterances:
        return []
    *earlier, current = utterances
    effects = [WordEffect(cue.text, _change(model, leave=cue), earlier=True) for cue in earlier]
    words = re.findall(r"\S+", current.text)
    for n, word in enumerate(words[:_MOST]):
        rest = " ".join(words[:n] + words[n + 1 :])
        effects.append(WordEffect(word, _change(model, instead=replace(current, text=rest))))
    return effects


def _change(
    model: HopModel, *, leave: Cue | None = None, instead: Cue | None = None
) -> float | None:
    """How far the explained number falls without an earlier utterance, or with another current one."""
    changed = _changed(model, leave, instead)
    return None if changed is None else float(model.changes([changed])[0])


def _changed(model: HopModel, leave: Cue | None, instead: Cue | None) -> Given | None:
    changed = list(model.given)
    found = model.found
    for number, (member, own) in enumerate(zip(found.fuser.members, found.hop.inputs, strict=True)):
        feeds, utterances = model.given[number], own[found.place].utterances
        if member.text is None or feeds is None or not utterances:
            continue
        kept = [cue for cue in utterances if cue is not leave]
        if instead is not None:
            kept[-1] = instead
        if not kept[-1].text:
            masked = without((feeds,), ["text"])
            changed[number] = None if masked is None else masked[0]
            continue
        text, mask = member.text.encode(tuple(kept))
        rows, known = feeds["text"] * 0, feeds["text_mask"] & False
        rows[:], known[:] = text, mask
        changed[number] = {**feeds, "text": rows, "text_mask": known}
    return tuple(changed) if any(feeds is not None for feeds in changed) else None
