"""Where a recording lies, as seen from a file about it."""

from __future__ import annotations

import os
from pathlib import Path


def relative_path(recording: Path, beside: Path) -> str | None:
    """The path of `recording` from the folder of `beside`, with ``/``; None if there is no such file."""
    if not recording.is_file():
        return None
    try:
        found = os.path.relpath(recording.absolute(), beside.absolute().parent)
    except ValueError:  # another drive
        return None
    return found.replace(os.sep, "/")
