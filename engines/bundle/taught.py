"""`taught.json`: with which coded recordings a bundle was taught.

`affectstream teach` writes it beside `bundle.json`, with the SHA-256 of the recordings' files. A bundle that
was put together from several taught ones has the documents of all of them, under ``merged``.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from affectstream.engines.errors import BundleError
from affectstream.engines.manifest import Count, Sha256

TAUGHT = "taught.json"


@dataclass(frozen=True, slots=True)
class TaughtWith:
    """Coded recordings."""

    files: frozenset[str] = frozenset()
    """SHA-256 of their files."""
    unknown: int = 0
    """How many others there were: earlier versions did not keep what identifies them."""

    @property
    def count(self) -> int:
        """How many recordings; 0: the bundle was not taught."""
        return len(self.files) + self.unknown

    def __or__(self, other: TaughtWith) -> TaughtWith:
        return TaughtWith(self.files | other.files, self.unknown + other.unknown)


class _Lesson(Struct, frozen=True):
    recordings: Count
    recordings_sha256: tuple[Sha256, ...] = ()


class _Base(Struct, frozen=True):
    taught_with: Count = 0
    recordings_sha256: tuple[Sha256, ...] = ()


class _Taught(Struct, frozen=True):
    """What is read of a `taught.json`; its other keys are for people."""

    lesson: _Lesson | None = None
    base: _Base = _Base()
    merged: tuple[_Taught, ...] = ()

    def recordings(self) -> TaughtWith:
        found = _known(self.base.recordings_sha256, self.base.taught_with)
        if self.lesson is not None:
            found |= _known(self.lesson.recordings_sha256, self.lesson.recordings)
        for one in self.merged:
            found |= one.recordings()
        return found


def _known(files: tuple[str, ...], count: int) -> TaughtWith:
    return TaughtWith(frozenset(files), max(0, count - len(files)))


def taught_with(folder: Path) -> TaughtWith:
    """With which coded recordings the bundle in `folder`, and those before it, were taught; its members not.

    Raises `BundleError` for a `taught.json` that cannot be read.
    """
    path = folder / TAUGHT
    return _read(path).recordings() if path.is_file() else TaughtWith()


def _read(path: Path) -> _Taught:
    try:
        found = msgspec.json.decode(path.read_bytes(), type=_Taught)
        if found.lesson is None and not found.merged:
            raise msgspec.DecodeError("expected 'lesson' or 'merged'")
    except (OSError, msgspec.DecodeError) as error:
        raise BundleError(f"{path} cannot be read: {error}; restore it, or delete it") from error
    return found


def copy_taught(source: Path, folder: Path) -> None:
    """Copy the `taught.json` of the bundle in `source`, if it has one, to that in `folder`, beside what this
    says of others. Raises `BundleError` for one that cannot be read, `OSError` if the disk refuses."""
    documents = [one for place in (folder, source) for one in _documents(place / TAUGHT)]
    every = [one for number, one in enumerate(documents) if one not in documents[:number]]
    if every:
        whole = every[0] if len(every) == 1 else {"merged": every}
        text = msgspec.json.format(msgspec.json.encode(whole), indent=2)
        (folder / TAUGHT).write_bytes(text + b"\n")


def _documents(path: Path) -> list[dict[str, Any]]:
    """The document in a `taught.json`, or those that were merged in it."""
    if not path.is_file():
        return []
    _read(path)
    document: dict[str, Any] = msgspec.json.decode(path.read_bytes())
    return document.get("merged") or [document]
