"""Exit codes, the same for every command."""

from __future__ import annotations

import os
import sys

DONE = 0
"""Done. A recording without a face is a result."""
USAGE = 2
"""The command line itself was wrong."""
PARTLY = 3
"""Some input failed or ended early."""
NOTHING = 4
"""Nothing could be scored."""
INTERRUPTED = 130
"""Ctrl-C."""


def close_quietly() -> None:
    """Leave after the reader of a pipe went away, without Python complaining at shutdown."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    raise SystemExit(DONE)
