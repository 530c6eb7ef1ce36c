"""Finds the hop and the person to explain, by scoring the recording up to there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from affectstream.stream.errors import OptionError
from affectstream.stream.events import Emotion
from affectstream.stream.fusion.fuse import FusedHop, Fuser
from affectstream.stream.fusion.reading import Reading
from affectstream.stream.loaded import LoadedBundle
from affectstream.stream.offline.session import Session
from affectstream.stream.options import SourceOptions
from affectstream.stream.results.interpret import HopResult


@dataclass(frozen=True, slots=True, eq=False)
class FoundHop:
    """A reading with everything that it was computed from."""

    stream: str
    """The name of the recording in events."""
    fuser: Fuser
    hop: FusedHop
    place: int
    """The place of the reading among those of the hop."""
    reading: Reading
    event: Emotion
    others: tuple[int | None, ...]
    """The tracks of the hop's other readings with a result; None: the recording itself."""


def find_hop(
    loaded: LoadedBundle, path: Path, options: SourceOptions, at_us: int, track: int | None = None
) -> FoundHop:
    """The reading of the hop that covers `at_us`, in the person `track` (0: the recording itself).

    Without `track`: the first person who has a result, or else the recording itself. Raises `OptionError`
    where there is no such reading, and `SourceError` as scoring does.
    """
    return find_hops(loaded, path, options, at_us, at_us + 1, track)[0]


def find_hops(
    loaded: LoadedBundle,
    path: Path,
    options: SourceOptions,
    from_us: int,
    to_us: int,
    track: int | None = None,
) -> list[FoundHop]:
    """The readings of one person in all hops between `from_us` and `to_us` that have one; see `find_hop`."""
    if from_us < (options.start_us or 0):
        raise OptionError(
            f"{from_us / 1e6:g} s lies before --start {(options.start_us or 0) / 1e6:g} s"
        )
    found: list[FoundHop] = []
    missing: OptionError | None = None
    with Session(loaded.bundle, path, options, loaded.threads) as session:
        for result in session:
            readings = [reading for reading, _ in result.readings]
            if not readings or readings[0].end_us <= from_us:
                continue
            if readings[0].start_us >= to_us:
                break
            try:
                place = _choose(readings, track, max(from_us, readings[0].start_us))
            except OptionError as error:
                missing = missing or error
                continue
            track = readings[place].track or 0
            found.append(_found(loaded, session, result, place))
        end_s = session.end_us / 1e6
    if found:
        return found
    where = f"{from_us / 1e6:g} s"
    raise missing or OptionError(
        f"{path}: no result covers {where}; the recording ends at {end_s:g} s"
        if from_us / 1e6 >= end_s
        else f"{path}: no result covers {where}, where neither pictures nor sound come"
    )


def _found(loaded: LoadedBundle, session: Session, result: HopResult, place: int) -> FoundHop:
    readings = [reading for reading, _ in result.readings]
    events = [event for event in result.events if isinstance(event, Emotion)]
    if len(events) != len(readings):
        name = loaded.bundle.manifest.name
        raise OptionError(f"bundle {name!r} predicts no emotion: there is nothing to explain")
    assert session.fuser.newest is not None
    others = [one.track for n, one in enumerate(readings) if n != place and one.modalities]
    return FoundHop(
        session.name,
        session.fuser,
        session.fuser.newest,
        place,
        readings[place],
        events[place],
        tuple(others),
    )


def _choose(readings: Sequence[Reading], track: int | None, at_us: int) -> int:
    usable = [n for n, one in enumerate(readings) if one.modalities]
    if track is None and usable:
        return usable[0]
    for n in usable:
        if (readings[n].track or 0) == track:
            return n
    found = ", ".join(person_name(readings[n].track) for n in usable) or "nobody"
    wanted = "" if track is None else f" of {person_name(track or None)}"
    reasons = sorted({str(one.abstain) for one in readings if one.abstain} or {"no input"})
    advice = (
        "choose one of these with --track (0: the recording itself)"
        if usable
        else f"nothing was used there ({', '.join(reasons)})"
    )
    raise OptionError(f"{at_us / 1e6:g} s: no result{wanted} to explain; found {found}: {advice}")


def person_name(track: int | None) -> str:
    """A track in a message; None is the recording itself."""
    return "the recording itself (0)" if track is None else f"person {track}"
