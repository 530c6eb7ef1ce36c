"""Reads and writes sizes such as ``512MiB``."""

from __future__ import annotations

import re

from affectstream.engines.errors import UsageError

_UNITS = {"": 1, "kib": 1 << 10, "mib": 1 << 20, "gib": 1 << 30}


def parse_size(text: str) -> int:
    """The bytes of a text such as ``1GiB``, ``512 MiB`` or ``4096``. Raises `UsageError`."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kmg]ib|)", text.strip().lower())
    size = int(float(match[1]) * _UNITS[match[2]]) if match else 0
    if size < 1:
        raise UsageError(f"size {text!r} is not understood: expected such as 512MiB or 1GiB")
    return size


def format_size(size: int) -> str:
    """A text such as ``6.8 MiB``."""
    for unit in ("GiB", "MiB", "KiB"):
        if size >= _UNITS[unit.lower()]:
            return f"{size / _UNITS[unit.lower()]:.1f} {unit}"
    return f"{size} B"
