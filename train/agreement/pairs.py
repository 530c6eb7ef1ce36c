"""Which coding of one side belongs to which of the other."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

from affectstream.stream.errors import OptionError
from affectstream.train.annotations.annotations import Annotations, Coding, Rating
from affectstream.train.annotations.names import name_among
from affectstream.train.errors import DataError

_TRACK = re.compile(r"(?:person|track)\s*(\d+)", re.I)
T = TypeVar("T", Coding, Rating)


@dataclass(frozen=True, slots=True)
class Pair(Generic[T]):
    """The same person's annotations of one kind, by both sides."""

    recording: str
    first: T
    second: T


def recordings(
    first: Sequence[Annotations], second: Sequence[Annotations]
) -> list[tuple[Annotations, Annotations]]:
    """Match by the name of the recording; two single files belong together whatever their names.

    Raises `DataError` if nothing matches, or a name stands twice on one side.
    """
    if len(first) == len(second) == 1:
        return [(first[0], second[0])]
    names = [{one.recording for one in side} for side in (first, second)]
    by_name = [_by_name(first, names[1]), _by_name(second, names[0])]
    common = sorted(by_name[0].keys() & by_name[1].keys())
    if not common:
        found = [", ".join(sorted(names)[:5]) for names in by_name]
        raise DataError(
            f"no recording is on both sides: {found[0]} on one, {found[1]} on the other; expected files "
            "or folders named after the recordings"
        )
    return [(by_name[0][name], by_name[1][name]) for name in common]


def _by_name(side: Sequence[Annotations], others: Collection[str]) -> dict[str, Annotations]:
    """The annotations of a side by the recording, as one of the `others` is called where it can be."""
    found: dict[str, Annotations] = {}
    for one in side:
        name = name_among(one.recording, others) or one.recording
        if name in found:
            raise DataError(f"{one.path} and {found[name].path} are both about {name!r}: give one")
        found[name] = replace(one, recording=name)
    return found


def check_persons(
    matched: Sequence[tuple[Annotations, Annotations]], persons: Mapping[str, str]
) -> None:
    """Raise `OptionError` for a name in `persons` that its side gives nobody in any recording."""
    for number, names in enumerate((list(persons), list(persons.values()))):
        sides = [pair[number] for pair in matched]
        codings = {str(coding.person) for side in sides for coding in side.codings}
        known = codings | {str(rating.person) for side in sides for rating in side.ratings}
        keys = {_key(name) for name in known}
        for name in names:
            if _key(name) not in keys:
                raise OptionError(
                    f"--person: {'AB'[number]} has no {name!r}; expected A=B with one of "
                    f"{', '.join(sorted(known - {'None'})) or 'nobody: it names no person'}"
                )


def match_persons(
    recording: str, first: Sequence[T], second: Sequence[T], persons: Mapping[str, str]
) -> list[Pair[T]]:
    """Pairs of one kind: by `persons` (first's name to second's), by equal names, or the only ones.

    Raises `OptionError` where it stays open who is who.
    """
    if not first or not second:
        return []
    theirs = {_key(one.person): one for one in second}
    renamed = {_key(name): _key(other) for name, other in persons.items()}
    pairs = [
        Pair(recording, one, theirs[name])
        for one in first
        if (name := renamed.get(own := _key(one.person), own)) in theirs
    ]
    if pairs:
        return pairs
    if len(first) == len(second) == 1:
        return [Pair(recording, first[0], second[0])]
    raise OptionError(
        f"{recording}: {first[0].kind} of {_names(first)} on one side, of {_names(second)} on the other: "
        "say who is who with --person FIRST=SECOND"
    )


def _key(person: str | None) -> str | None:
    """A name as it is compared: the tier ``person 2`` of ELAN is track 2 of results, ``recording`` nobody."""
    if person is None or person.casefold() == "recording":
        return None
    track = _TRACK.fullmatch(person)
    return track[1] if track else person


def _names(side: Sequence[Coding | Rating]) -> str:
    return ", ".join("the recording" if one.person is None else one.person for one in side)
