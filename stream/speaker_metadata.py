"""Metadata of speakers and listeners, and the speaker features that a head takes as input.

A user gives them in a JSON file. Every part of it is optional:

    {"recording": {"age": 34, "gender": "female"},
     "tracks": {"1": {"age": 52, "listener": {"gender": "male"}}}}

``tracks`` holds the metadata of tracks by number. ``recording`` is for all other tracks, and for voice
and words that are assigned to no track.
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
_MAX_BYTES = 2**20
_EXAMPLE = '{"recording": {"age": 34, "gender": "female"}, "tracks": {"1": {"age": 52}}}'


class Listener(Struct, frozen=True, forbid_unknown_fields=True):
    """The person who is spoken to. `age` is in years."""

    age: Annotated[float, Meta(ge=0, le=130)] | None = None
    gender: Gender | None = None


class Speaker(Listener, frozen=True, forbid_unknown_fields=True):
    """The person who speaks."""

    listener: Listener | None = None


class Speakers(Struct, frozen=True, forbid_unknown_fields=True):
    """The metadata of one recording."""

    recording: Speaker | None = None
    tracks: dict[Annotated[str, Meta(pattern=f"^{_NUMBER.pattern}$")], Speaker] = {}

    def find(self, track: int | None) -> Speaker | None:
        """The speaker of a track, or (`track` None) of the recording; None where nothing is known."""
        return self.tracks.get(str(track), self.recording)

    def features(
        self, names: Sequence[SpeakerFeature], track: int | None
    ) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Values (D,) float32 of the features `names`, and a mask (D,) bool; unknown values are 0.

        Ages are in centuries, genders 0 or 1.
        """
        known = _known(self.find(track))
        values = np.asarray([known.get(name, 0.0) for name in names], np.float32)
        return values, np.asarray([name in known for name in names], np.bool_)


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
    """Read a metadata file. Raises `OptionError` if it is missing or malformed."""
    path = Path(path)
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise OptionError(f"{path}: is too large for metadata of speakers")
        raw = path.read_bytes()
    except OSError as error:
        reason = error.strerror or str(error)
        raise OptionError(
            f"{path}: the metadata of the speakers cannot be read: {reason}"
        ) from error
    try:
        return msgspec.json.decode(raw, type=Speakers)
    except msgspec.DecodeError as error:
        raise OptionError(
            f"{path}: {_fault(raw) or error}; expected for example {_EXAMPLE}, where a gender is one of "
            f"{', '.join(get_args(Gender))}"
        ) from error


def _fault(raw: bytes) -> str | None:
    """The first wrong entry and the value found there; None where no entry is wrong.

    msgspec's own message does not name the track.
    """
    try:
        data = msgspec.json.decode(raw, type=dict[str, Any])
    except msgspec.DecodeError:
        return None
    tracks = data.get("tracks")
    tracks = tracks if isinstance(tracks, dict) else {}
    for name in tracks:
        if not _NUMBER.fullmatch(name):
            return f"track {name!r}: expected the number of a track, from 1 on"
    entries: dict[str, Any] = {f"track {name}": entry for name, entry in tracks.items()}
    entries["recording"] = data.get("recording")
    for who, entry in entries.items():
        try:
            msgspec.convert(entry, Speaker | None)
        except msgspec.ValidationError as error:
            reason, _, place = str(error).partition(" - at `$")
            names = place.strip("`").split(".")[1:]
            for name in names:
                entry = entry[name]
            what = " ".join(names) or "the entry"
            return f"{who}: {what} is {msgspec.json.encode(entry).decode()}: {reason}"
    return None
