"""Which coding of one side belongs to which of the other."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

from affectstream.stream.errors import OptionError
from affectstream.train.annotations.annotations import Annotations, Coding, Rating
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
    ours, theirs = _by_name(first), _by_name(second)
    pairs = [(one, theirs[name]) for name, one in ours.items() if name in theirs]
    pairs += _beside_coders(
        {name: one for name, one in ours.items() if name not in theirs},
        {name: one for name, one in theirs.items() if name not in ours},
    )
    if not pairs:
        found = [", ".join(sorted(names)[:5]) for names in (ours, theirs)]
        raise DataError(
            f"no recording is on both sides: {found[0]} on one, {found[1]} on the other; expected files "
            "or folders named after the recordings"
        )
    return sorted(pairs, key=lambda pair: pair[0].recording)


def _by_name(side: Sequence[Annotations]) -> dict[str, Annotations]:
    found: dict[str, Annotations] = {}
    for one in side:
        if one.recording in found:
            raise DataError(
                f"{one.path} and {found[one.recording].path} are both about {one.recording!r}: give one"
            )
        found[one.recording] = one
    return found


def _beside_coders(
    first: Mapping[str, Annotations], second: Mapping[str, Annotations]
) -> Iterator[tuple[Annotations, Annotations]]:
    """Pairs of those without the same name, where one or both name a coder behind a dot."""
    found = [
        (one, other, max(common, key=len))
        for name, one in first.items()
        for their_name, other in second.items()
        if (common := _bases(name) & _bases(their_name))
    ]
    for side in ([one for one, _, _ in found], [other for _, other, _ in found]):
        names = [one.recording for one in side]
        doubled = [one for one in side if names.count(one.recording) > 1]
        if doubled:
            raise DataError(
                f"{doubled[0].path} may belong to several files of the other side: give one of them, or name "
                "the files alike"
            )
    for one, other, recording in found:
        yield replace(one, recording=recording), replace(other, recording=recording)


def _bases(name: str) -> set[str]:
    """The name, and without its last part behind a dot."""
    return {name, name.rpartition(".")[0] or name}


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
