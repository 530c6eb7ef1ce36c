"""Affectstream on the same recording without its sound: what the rivals have to work with."""

from __future__ import annotations

from collections.abc import Callable

NAME = "affectstream, no sound"
COMPUTES = "emotion of faces, attention, tracks, segments, from pictures only"
REQUIREMENTS: tuple[str, ...] = ()


def open_score(clip: str, bundle: str) -> Callable[[], dict[str, int]]:
    """As `ours` does, on a copy of the pictures."""
    from affectstream.bench.rivals.our_score import copy_pictures, open_our_score

    return open_our_score(copy_pictures(clip), bundle)
