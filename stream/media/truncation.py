"""Recordings that end before their time: how that is seen and told, the same in `score` and `live`."""

from __future__ import annotations

from pathlib import Path

from affectstream.stream.media.opening import fraction_present

STATES_DURATION = frozenset({"mov", "mp4", "matroska", "avi", "wav", "w64", "flac", "asf", "ogg"})
"""Formats whose header or index tells the duration; elsewhere FFmpeg guesses it from the bit rate,
or takes it from the last packet that is there."""


def declared_us(path: Path, reached_us: int, stated_us: int) -> int:
    """How long a file that ended at `reached_us` says it is, where FFmpeg was told `stated_us`."""
    return max(stated_us, round(reached_us / fraction_present(path)))


def is_truncated(reached_us: int, wanted_us: int) -> bool:
    """Whether what ended at `reached_us` lacks more than a second and a fiftieth of `wanted_us`."""
    return reached_us < wanted_us - max(1_000_000, wanted_us // 50)


def describe_truncation(reached_us: int, stated_us: int | None) -> str:
    """How a person is told."""
    of = "" if stated_us is None else f" of {stated_us / 1e6:.1f} s"
    return f"ended at {reached_us / 1e6:.1f} s{of}: the file is cut off or damaged there"
