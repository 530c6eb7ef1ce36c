"""Exit codes, the same for every command."""

from __future__ import annotations

DONE = 0
"""Done. A recording without a face is a result."""
USAGE = 2
"""The command line itself was wrong."""
PARTLY = 3
"""Some input failed or ended early."""
NOTHING = 4
"""Nothing could be scored."""
INTERRUPTED = 130
"""Ctrl-C. SIGTERM, which ends a live session or a server in order, gives `DONE`."""
