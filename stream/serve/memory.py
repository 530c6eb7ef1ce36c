"""Memory back to the system when a session has ended.

Each WebRTC session brings threads of its own, for which glibc keeps heaps, and what they held stays with
the process in pieces: sessions that come and go made it grow by a third. Elsewhere nothing is done.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import sys
from functools import cache

_ARENA_MAX = -8
"""`M_ARENA_MAX` of glibc's malloc.h."""
_ARENAS = 2


@cache
def _glibc() -> ctypes.CDLL | None:
    if not sys.platform.startswith("linux"):
        return None
    library = ctypes.CDLL(ctypes.util.find_library("c"))
    return library if hasattr(library, "malloc_trim") else None


def share_heaps() -> None:
    """Have all threads that are still to come share few heaps. Once, before they start."""
    if (library := _glibc()) is not None:
        library.mallopt(_ARENA_MAX, _ARENAS)


def give_back() -> None:
    """Give free memory back. Takes milliseconds, on any thread."""
    if (library := _glibc()) is not None:
        library.malloc_trim(0)
