"""Which entries of a cache are deleted when it grows too large, and how a file is deleted."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Protocol, TypeVar


class CacheEntry(Protocol):
    """An entry of a cache."""

    @property
    def bytes(self) -> int:
        """Its size."""
        ...

    @property
    def last_used(self) -> datetime:
        """When it was created or last used."""
        ...


Entry = TypeVar("Entry", bound=CacheEntry)


def least_recently_used(entries: Iterable[Entry], limit_bytes: int) -> list[Entry]:
    """The least recently used of `entries`: without them the rest has at most `limit_bytes`."""
    total, surplus = 0, []
    for entry in sorted(entries, key=lambda entry: entry.last_used, reverse=True):
        total += entry.bytes
        if total > limit_bytes:
            surplus.append(entry)
    return surplus


def delete_file(path: Path) -> int:
    """Delete a file and return how many bytes that freed: 0 when it does not exist."""
    try:
        size = path.stat().st_size
        path.unlink()
    except FileNotFoundError:
        return 0
    return size
