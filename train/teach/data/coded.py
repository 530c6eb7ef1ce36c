"""Which annotations belong to which recording, and which of a recording's tracks they are about."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from affectstream.stream.errors import OptionError
from affectstream.stream.fusion.reading import Reading
from affectstream.train.annotations.annotations import Annotations, Coding, Stretch
from affectstream.train.annotations.names import KINDS, name_among, recording_name
from affectstream.train.errors import DataError

KIND = "emotion"
HOW_TO_NAME = (
    f"If its labels are emotions, name the category {KIND!r} in the file, or leave the category empty; a "
    f"tier that names no kind counts as {KIND}"
)
_TRACK = re.compile(r"(?:person\s*|track\s*)?(\d{1,6})\Z", re.I)
_NOBODY = ("recording",)
"""Names of tiers that are about the recording rather than a person."""


@dataclass(frozen=True, slots=True)
class People:
    """Who is who, as the user states it."""

    tracks: Mapping[str, int] = field(default_factory=dict)
    """Tracks of people by the name that the annotations give them, in every recording."""
    by_recording: Mapping[tuple[str, int | None], str] = field(default_factory=dict)
    """Names by recording and track; with the track None, of the only person in a recording."""

    def name(self, recording: str, track: int | None) -> str | None:
        """The person of a track, or of a whole recording; None if it is not stated."""
        own = self.by_recording.get((recording, track))
        return self.by_recording.get((recording, None)) if own is None else own


@dataclass(frozen=True, slots=True)
class CodedPerson:
    """The coding of one person in one recording."""

    coding: Coding
    track: int | None
    """None: whoever is alone in view, or alone heard."""
    speaker: str | None
    """The name by which a transcript may know the person."""
    person: str
    """The same in all recordings of one person, as far as it is stated."""
    is_named: bool
    """Whether it is stated who it is."""

    def is_about(self, reading: Reading, readings: Sequence[Reading]) -> bool:
        """Whether a reading among the `readings` of one hop that had any input is of this person."""
        if self.track is not None:
            return reading.track == self.track
        if self.speaker is not None and reading.speaker is not None:
            return reading.speaker.casefold() == self.speaker.casefold()
        seen = [one for one in readings if one.track is not None] or list(readings)
        return len(seen) == 1 and reading is seen[0]


@dataclass(frozen=True, slots=True)
class CodedRecording:
    """A recording with all that was coded of it."""

    path: Path
    name: str
    people: tuple[CodedPerson, ...]
    source: Path
    """The file of annotations."""

    @property
    def end_s(self) -> float:
        """Where the last coded stretch ends."""
        return max(one.coding.stretches[-1].end for one in self.people)


def match(
    recordings: Sequence[Path],
    annotations: Sequence[Annotations],
    people: People,
    reviewed: tuple[float, float],
) -> list[CodedRecording]:
    """The recordings that have annotations, with the people in them.

    `reviewed` are the seconds that a person has reviewed: stretches outside are left out. Raises `DataError`
    if nothing matches, names are ambiguous, or annotations are results of a part of a recording.
    """
    files = _by_name(recordings)
    found: list[CodedRecording] = []
    for one in annotations:
        if one.part is not None:
            raise DataError(
                f"{one.path}: results of a part of {one.part.source}, whose tracks have other numbers than "
                "in the whole recording, which is scored here: expected what was coded of the whole "
                f"recording, in one file such as {one.whole}.csv"
            )
        name = name_among(one.recording, files)
        if name is None and len(recordings) == len(annotations) == 1:
            name = next(iter(files))
        codings = [c for c in one.codings if c.kind == KIND]
        codings = [c for c in (_within(c, reviewed) for c in codings) if c is not None]
        if name is None or not codings:
            continue
        if any(other.name == name for other in found):
            raise DataError(f"{one.path}: a second file about {name!r}: give one file a recording")
        coded = tuple(_person(name, coding, people, len(codings)) for coding in codings)
        found.append(CodedRecording(files[name], name, coded, one.path))
    if not found:
        raise DataError(_why_nothing(files, annotations))
    return sorted(found, key=lambda one: one.name)


def _by_name(recordings: Sequence[Path]) -> dict[str, Path]:
    files: dict[str, Path] = {}
    for path in recordings:
        name = recording_name(path)
        if name in files:
            raise DataError(f"{path} and {files[name]} have the same name: teach them one by one")
        files[name] = path
    return files


def _within(coding: Coding, reviewed: tuple[float, float]) -> Coding | None:
    first, last = reviewed
    cut = [
        Stretch(max(start, first), min(end, last), label)
        for start, end, label in coding.stretches
        if end > first and start < last
    ]
    return Coding(coding.person, coding.kind, tuple(cut)) if cut else None


def _why_nothing(files: Mapping[str, Path], annotations: Sequence[Annotations]) -> str:
    kinds = sorted({kind for one in annotations for kind in one.kinds})
    if KIND not in kinds:
        found = own_categories(annotations) or ", ".join(kinds) or "nothing"
        return f"the annotations are of {found}: expected some of {KIND}. {HOW_TO_NAME}"
    names = ", ".join(sorted({one.recording for one in annotations})[:5])
    return (
        f"no recording has coded stretches: the annotations are about {names}; the recordings are "
        f"{', '.join(sorted(files)[:5])}: expected files of the same name, and stretches within --start "
        "and --end"
    )


def own_categories(annotations: Iterable[Annotations]) -> str:
    """The kinds that are a coder's own, such as the category ``Face``, each with its number of stretches.
    They may hold emotions all the same. Empty without any."""
    counts: dict[str, int] = {}
    for coding in (coding for one in annotations for coding in one.codings):
        if coding.kind not in KINDS:
            counts[coding.kind] = counts.get(coding.kind, 0) + len(coding.stretches)
    return in_stretches(counts)


def in_stretches(counts: Mapping[str, int]) -> str:
    """Kinds or labels, each with its number of stretches, such as ``'face' (2 stretches)``."""
    return ", ".join(
        f"{name!r} ({count} {'stretch' if count == 1 else 'stretches'})"
        for name, count in sorted(counts.items())
    )


def _person(recording: str, coding: Coding, people: People, count: int) -> CodedPerson:
    """Whom a coding is about; one of `count` in a recording."""
    name = None if coding.person in (None, *_NOBODY) else coding.person
    number = None if name is None else _TRACK.match(name)
    track = int(number[1]) if number else people.tracks.get(name or "")
    if name is None or number is not None:
        known = people.name(recording, track)
        own = recording if track is None else f"{recording}, person {track}"
        return CodedPerson(coding, track, None, known or own, known is not None)
    if track is None:
        listed = [
            t for (r, t), person in people.by_recording.items() if (r, person) == (recording, name)
        ]
        track = next((t for t in listed if t is not None), None)
    if track is None and count > 1:
        raise OptionError(
            f"{recording}: {count} people are coded, and nothing says which track {name!r} is: name the "
            f"track as in the results, with --person '{name}=1'"
        )
    return CodedPerson(coding, track, name, people.name(recording, track) or name, True)


def read_people(path: Path) -> dict[tuple[str, int | None], str]:
    """A table ``recording,person``, with ``track`` where several people are in a recording.

    Raises `DataError` for a table without these columns, or with two names for one person.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = [
                {(k or "").strip(): (v or "").strip() for k, v in row.items()}
                for row in csv.DictReader(file)
            ]
    except (OSError, UnicodeError, AttributeError) as error:
        raise DataError(f"--people {path} cannot be read: {error}") from error
    found: dict[tuple[str, int | None], str] = {}
    for number, row in enumerate(rows, 2):
        name, person, track = (row.get(key, "") for key in ("recording", "person", "track"))
        if not name or not person or not (track.isdecimal() or not track):
            raise DataError(
                f"--people {path}, line {number}: {dict(row)}; expected columns recording and person, and "
                "track where several people are in one recording"
            )
        key = recording_name(Path(name)), int(track) if track else None
        if found.setdefault(key, person) != person:
            raise DataError(f"--people {path}, line {number}: {name} already has {found[key]!r}")
    return found


def labels_in(coded: Iterable[CodedRecording]) -> dict[str, int]:
    """How many stretches have each label."""
    counts: dict[str, int] = {}
    for recording in coded:
        for one in recording.people:
            for stretch in one.coding.stretches:
                counts[stretch.label] = counts.get(stretch.label, 0) + 1
    return counts
