"""Which coding of one side belongs to which of the other."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
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
    whole: str
    """The recording that this one is a part of, or else itself."""
    first: T
    second: T


def recordings(
    first: Sequence[Annotations], second: Sequence[Annotations]
) -> list[tuple[Annotations, Annotations]]:
    """Match by the name of the recording; two single files belong together whatever their names. Results of
    parts are also matched by the name of the whole recording. The other side is cut to the part.

    Raises `DataError` if nothing matches, or a name stands twice on one side.
    """
    if len(first) == len(second) == 1:
        return [_within_part(first[0], second[0])]
    ours, theirs = _by_name(first), _by_name(second)
    pairs = [(one, theirs[name]) for name, one in ours.items() if name in theirs]
    our_rest = {name: one for name, one in ours.items() if name not in theirs}
    their_rest = {name: one for name, one in theirs.items() if name not in ours}
    of_parts = _beside_parts(our_rest.values(), their_rest.values())
    pairs += [_named_after_part(*pair) for pair in of_parts]
    matched = {one.recording for pair in of_parts for one in pair}
    pairs += _beside_coders(
        {name: one for name, one in our_rest.items() if name not in matched},
        {name: one for name, one in their_rest.items() if name not in matched},
    )
    if not pairs:
        found = [", ".join(sorted(names)[:5]) for names in (ours, theirs)]
        raise DataError(
            f"no recording is on both sides: {found[0]} on one, {found[1]} on the other; expected files "
            "or folders named after the recordings"
        )
    cut = [_within_part(*pair) for pair in pairs]
    return sorted(cut, key=lambda pair: pair[0].recording)


def _by_name(side: Sequence[Annotations]) -> dict[str, Annotations]:
    found: dict[str, Annotations] = {}
    for one in side:
        if one.recording in found:
            raise DataError(
                f"{one.path} and {found[one.recording].path} are both about {one.recording!r}: give one"
            )
        found[one.recording] = one
    return found


def _beside_parts(
    first: Collection[Annotations], second: Collection[Annotations]
) -> list[tuple[Annotations, Annotations]]:
    """Pairs of which one is a part, and the other the same part or the whole recording."""
    found = [(one, other) for one in first for other in second if _has_part(one, other)]
    for pairs in (found, [(other, one) for one, other in found]):
        partners: dict[str, Annotations] = {}
        sources: dict[str, str] = {}
        for one, other in pairs:
            if one.part is None:
                continue
            if (before := partners.setdefault(one.recording, other)) is not other:
                raise DataError(
                    f"{one.path} is a part of {one.whole!r}, of which the other side has {before.path} and "
                    f"{other.path}: give one of them"
                )
            if sources.setdefault(other.recording, one.part.source) != one.part.source:
                raise DataError(
                    f"{other.path} may be of {sources[other.recording]} or of {one.part.source}, of which "
                    "parts are on the other side: give the results of one of them"
                )
    return found


def _has_part(one: Annotations, other: Annotations) -> bool:
    if one.part is not None and other.part is not None:
        return one.part == other.part
    if one.part is None and other.part is None:
        return False
    part, whole = (one, other) if one.part is not None else (other, one)
    return part.whole in _bases(whole.recording)


def _named_after_part(one: Annotations, other: Annotations) -> tuple[Annotations, Annotations]:
    name = (other if one.part is None else one).recording
    return replace(one, recording=name), replace(other, recording=name)


def _within_part(one: Annotations, other: Annotations) -> tuple[Annotations, Annotations]:
    """Both; where one alone is a part, the other cut to it."""
    parts = [side.part for side in (one, other) if side.part is not None]
    if len(parts) != 1:
        return one, other
    part = parts[0]
    cut_one, cut_other = (
        replace(
            side,
            part=part,
            codings=tuple(cut for c in side.codings if (cut := part.cut(c)).stretches),
        )
        for side in (one, other)
    )
    return cut_one, cut_other


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
    about: Annotations, first: Sequence[T], second: Sequence[T], persons: Mapping[str, str]
) -> list[Pair[T]]:
    """Pairs of one kind in the recording of `about`: by `persons` (first's name to second's), by equal names,
    or the only ones.

    Raises `OptionError` where it stays open who is who.
    """
    if not first or not second:
        return []
    theirs = {_key(one.person): one for one in second}
    renamed = {_key(name): _key(other) for name, other in persons.items()}
    pairs = [
        Pair(about.recording, about.whole, one, theirs[name])
        for one in first
        if (name := renamed.get(own := _key(one.person), own)) in theirs
    ]
    if pairs:
        return pairs
    if len(first) == len(second) == 1:
        return [Pair(about.recording, about.whole, first[0], second[0])]
    raise OptionError(
        f"{about.recording}: {first[0].kind} of {_names(first)} on one side, of {_names(second)} on the "
        "other: say who is who with --person FIRST=SECOND"
    )


def _key(person: str | None) -> str | None:
    """A name as it is compared: the tier ``person 2`` of ELAN is track 2 of results, ``recording`` nobody."""
    if person is None or person.casefold() == "recording":
        return None
    track = _TRACK.fullmatch(person)
    return track[1] if track else person


def _names(side: Sequence[Coding | Rating]) -> str:
    return ", ".join("the recording" if one.person is None else one.person for one in side)
