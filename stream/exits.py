"""Exit codes, the same for every command."""

from __future__ import annotations

import signal

DONE = 0
"""Success. A recording without a face is a success too."""
USAGE = 2
"""The command line or an option is wrong."""
PARTLY = 3
"""Some input failed or ended early; a check of `doctor` failed."""
NOTHING = 4
"""Nothing could be scored."""
INTERRUPTED = 130
"""Ctrl-C. SIGTERM ends a live session or a server with `DONE`."""


def describe_status(status: int) -> str:
    """How a process ended, for people; `status` as of `subprocess`: negative for a signal."""
    if status >= 0:
        return f"exit status {status}"
    names = {int(one): one.name for one in signal.Signals}
    return f"signal {-status}, {names.get(-status, 'unknown')}"
