"""Tiers: what annotation programs show as rows, one row for each person and kind of annotation."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import pyarrow as pa

from affectstream.stream.events import Event, Segment
from affectstream.stream.media.types import Cue
from affectstream.stream.results.origin import STATED_USE
from affectstream.stream.results.scored import ScoredRecording

TierKind = Literal["emotion", "attention", "speech", "words"]
KINDS: tuple[TierKind, ...] = ("emotion", "attention", "speech", "words")


@dataclass(frozen=True, slots=True)
class Annotation:
    """`text` holds from `start_s` to `end_s`; `mean` and `peak` are the strength of a state, 0 to 1."""

    start_s: float
    end_s: float
    text: str
    mean: float | None = None
    peak: float | None = None


@dataclass(frozen=True, slots=True)
class Tier:
    """The annotations of one kind about one person, sorted and without overlap."""

    kind: TierKind
    track: int | None
    """None: the recording itself."""
    annotations: tuple[Annotation, ...]
    speaker: str | None = None
    """Who says the words, where the transcript names somebody who is not known to be a track."""

    @property
    def person(self) -> str:
        """``person 1``, the name of a speaker, or ``recording``."""
        return self.speaker or person_name(self.track)

    @property
    def name(self) -> str:
        """``person 1 emotion``."""
        return f"{self.person} {self.kind}"


def person_name(track: int | None) -> str:
    """What files call a track."""
    return "recording" if track is None else f"person {track}"


def recording_tiers(recording: ScoredRecording) -> list[Tier]:
    """The tiers of a scored recording."""
    names: Mapping[str, int] = recording.options.get("names", {})
    return tiers(recording.events, recording.readings, recording.words, names)


def stated_use(recording: ScoredRecording) -> dict[str, str]:
    """`purpose` and `consent`, as far as they were stated."""
    given = {name: recording.run.get(name) for name in STATED_USE}
    return {name: text for name, text in given.items() if text is not None}


def end_seconds(recording: ScoredRecording) -> float:
    """Where the recording ends."""
    return max(event.t_end for event in recording.events)


def tiers(
    events: Iterable[Event],
    readings: pa.Table,
    words: Sequence[Cue] = (),
    names: Mapping[str, int] | None = None,
) -> list[Tier]:
    """The tiers of one recording, by person (the recording last) and kind; empty ones are left out.

    `names` maps speakers of the transcript to tracks; others have a tier of words by their name.
    """
    found: dict[tuple[int | None, TierKind, str], list[Annotation]] = {}
    for event in events:
        if isinstance(event, Segment):
            state = Annotation(event.t_start, event.t_end, event.state, event.mean, event.peak)
            found.setdefault((event.track, event.of, ""), []).append(state)
    for track, spans in speech(readings).items():
        found[track, "speech", ""] = spans
    for cue in words:
        annotation = Annotation(cue.start_us / 1e6, cue.end_us / 1e6, cue.text)
        known = (names or {}).get(cue.speaker or "")
        speaker = (cue.speaker or "") if known is None else ""
        found.setdefault((known, "words", speaker), []).append(annotation)
    ordered = sorted(found, key=lambda k: (k[0] is None, k[0] or 0, KINDS.index(k[1]), k[2]))
    made = [Tier(k[1], k[0], _apart(found[k]), k[2] or None) for k in ordered]
    return [tier for tier in made if tier.annotations]


def speech(readings: pa.Table) -> dict[int | None, list[Annotation]]:
    """The stretches in which each person speaks, by track: those whose readings use their voice.

    Those of None are all speech of the recording, whoever speaks.
    """
    spans: dict[int | None, list[Annotation]] = {}
    columns = (readings[name].to_pylist() for name in ("track", "t_start", "t_end", "modalities"))
    for track, start_s, end_s, modalities in zip(*columns, strict=True):
        if "voice" not in modalities.split("+"):
            continue
        for one in {None, track}:
            own = spans.setdefault(one, [])
            if own and start_s <= own[-1].end_s:
                own[-1] = replace(own[-1], end_s=max(end_s, own[-1].end_s))
            else:
                own.append(Annotation(start_s, end_s, "speech"))
    return spans


def _apart(annotations: Iterable[Annotation]) -> tuple[Annotation, ...]:
    """Sorted, each cut where the next begins: a tier holds one annotation at a time.

    The texts of two that begin together are joined.
    """
    apart: list[Annotation] = []
    for one in sorted(annotations, key=lambda one: (one.start_s, one.end_s)):
        if apart and one.start_s == apart[-1].start_s:
            one = replace(one, text=f"{apart.pop().text} / {one.text}")
        elif apart:
            apart[-1] = replace(apart[-1], end_s=min(apart[-1].end_s, one.start_s))
        apart.append(one)
    return tuple(one for one in apart if one.end_s > one.start_s)
