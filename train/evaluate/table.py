"""Tables for a terminal."""

from __future__ import annotations

from collections.abc import Sequence


def aligned(table: Sequence[Sequence[str]]) -> list[str]:
    """Rows as lines of text: the first column aligned left, the others right."""
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    formats = [f"{{:<{widths[0]}}}", *(f"{{:>{width}}}" for width in widths[1:])]
    return ["  ".join(formats).format(*row).rstrip() for row in table]
