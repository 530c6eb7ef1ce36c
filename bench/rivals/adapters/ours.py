"""Affectstream: what every rival is compared with."""

from __future__ import annotations

from collections.abc import Callable

NAME = "affectstream"
COMPUTES = "emotion of faces, voice and both together, attention, tracks, segments"
REQUIREMENTS: tuple[str, ...] = ()


def open_score(clip: str, bundle: str) -> Callable[[], dict[str, int]]:
    """Score `clip` as `affectstream score` does, on the processor, without writing results."""
    from affectstream.bench.rivals.our_score import open_our_score

    return open_our_score(clip, bundle)
