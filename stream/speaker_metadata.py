"""What a person tells of those who speak and who are spoken to, as the numbers that a head takes.

A file of JSON, every part of which may be absent:

    {"recording": {"age": 34, "gender": "female"},
     "tracks": {"1": {"age": 52, "listener": {"gender": "male"}}}}

``tracks`` are people by their numbers; ``recording`` is for all others, and for voice and words that
belong to nobody in view.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import msgspec
import numpy as np
from msgspec import Meta, Struct
from numpy.typing import NDArray

from affectstream.engines.manifest import SpeakerFeature
from affectstream.stream.errors import OptionError

Gender = Literal["female", "male", "other"]
_NUMBER = re.compile("[1-9][0-9]*")
_MOST_BYTES = 2**20
_EXAMPLE = '{"recording": {"age": 34, "gender": "female"}, "tracks": {"1": {"age": 52}}}'


class Listener(Struct, frozen=True, forbid_unknown_fields=True):
    """The one who is spoken to. `age` is in years."""

    age: Annotated[float, Meta(ge=0, le=130)] | None = None
    gender: Gender | None = None


class Speaker(Listener, frozen=True, forbid_unknown_fields=True):
    """The one who speaks."""

    listener: Listener | None = None


class Speakers(Struct, frozen=True, forbid_unknown_fields=True):
    """Everyone that is known of."""

    recording: Speaker | None = None
    tracks: dict[Annotated[str, Meta(pattern=f"^{_NUMBER.pattern}$")], Speaker] = {}

    def find(self, track: int | None) -> Speaker | None:
        """The one of a track, or (`track` None) of the recording; None where nothing is known."""
        return self.tracks.get(str(track), self.recording)

    def features(
        self, names: Sequence[SpeakerFeature], track: int | None
    ) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Numbers (D,) float32 by `names`, and which of them are known (D,) bool; the others are 0."""
        known = _known(self.find(track))
        numbers = np.asarray([known.get(name, 0.0) for name in names], np.float32)
        return numbers, np.asarray([name in known for name in names], np.bool_)


def _known(speaker: Speaker | None) -> Mapping[str, float]:
    found: dict[str, float] = {}
    listener = None if speaker is None else speaker.listener
    for prefix, who in (("", speaker), ("listener_", listener)):
        if who is not None and who.age is not None:
            found[f"{prefix}age"] = who.age / 100.0
        if who is not None and who.gender is not None:
            found |= {f"{prefix}{gender}": who.gender == gender for gender in get_args(Gender)}
    return found


def read_speakers(path: str | Path) -> Speakers:
    """Read such a file. Raises `OptionError` where it is missing or says something else."""
    path = Path(path)
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise OptionError(f"{path}: is larger than what is told of speakers can be")
        raw = path.read_bytes()
    except OSError as error:
        reason = error.strerror or str(error)
        raise OptionError(
            f"{path}: what is told of the speakers cannot be read: {reason}"
        ) from error
    try:
        return msgspec.json.decode(raw, type=Speakers)
    except msgspec.DecodeError as error:
        raise OptionError(
            f"{path}: {_fault(raw) or error}; expected such as {_EXAMPLE}, where a gender is one of "
            f"{', '.join(get_args(Gender))}"
        ) from error


def _fault(raw: bytes) -> str | None:
    """Whose entry is wrong and what was found there, which msgspec does not say of what is inside
    ``tracks``; None where that is not where the fault is."""
    try:
        told = msgspec.json.decode(raw, type=dict[str, Any])
    except msgspec.DecodeError:
        return None
    tracks = told.get("tracks")
    tracks = tracks if isinstance(tracks, dict) else {}
    for name in tracks:
        if not _NUMBER.fullmatch(name):
            return f"track {name!r}: a person's number was expected, from 1 on"
    entries: dict[str, Any] = {f"track {name}": entry for name, entry in tracks.items()}
    entries["recording"] = told.get("recording")
    for who, entry in entries.items():
        try:
            msgspec.convert(entry, Speaker | None)
        except msgspec.ValidationError as error:
            reason, _, place = str(error).partition(" - at `$")
            names = place.strip("`").split(".")[1:]
            for name in names:
                entry = entry[name]
            what = " ".join(names) or "what is told"
            return f"{who}: {what} is {msgspec.json.encode(entry).decode()}: {reason}"
    return None
