"""Returns memory to the system when a session has ended.

Each WebRTC session starts threads, for which glibc creates heaps of their own. The freed memory in
these heaps stays with the process: without this, sessions that come and go made it grow by a third.
On systems without glibc nothing happens.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import sys
from functools import cache

_M_ARENA_MAX = -8
"""From glibc's malloc.h."""
_MAX_HEAPS = 2


@cache
def _glibc() -> ctypes.CDLL | None:
    if not sys.platform.startswith("linux"):
        return None
    library = ctypes.CDLL(ctypes.util.find_library("c"))
    return library if hasattr(library, "malloc_trim") else None


def limit_heaps() -> None:
    """Make all threads that start from now on share two heaps."""
    if (library := _glibc()) is not None:
        library.mallopt(_M_ARENA_MAX, _MAX_HEAPS)


def trim_heaps() -> None:
    """Return free memory to the system. Takes milliseconds; call it on any thread."""
    if (library := _glibc()) is not None:
        library.malloc_trim(0)
