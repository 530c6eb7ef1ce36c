"""What goes first from a cache that has grown too large."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Protocol, TypeVar


class CacheEntry(Protocol):
    """Something that a cache keeps."""

    @property
    def bytes(self) -> int:
        """How much room it takes."""
        ...

    @property
    def last_used(self) -> datetime:
        """When it was made or last asked for."""
        ...


Any = TypeVar("Any", bound=CacheEntry)


def least_recently_used(kept: Iterable[Any], limit_bytes: int) -> list[Any]:
    """Those not used for longest, so that the rest has at most `limit_bytes`."""
    total, going = 0, []
    for one in sorted(kept, key=lambda one: one.last_used, reverse=True):
        total += one.bytes
        if total > limit_bytes:
            going.append(one)
    return going
