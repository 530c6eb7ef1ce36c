"""Where plans, derived graphs and fetched models are kept."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs

VARIABLE = "AFFECTSTREAM_HOME"


def home() -> Path:
    """The folder of everything that can be made or fetched again: ``$AFFECTSTREAM_HOME``, or the
    cache folder that this system gives to applications. It need not exist yet."""
    given = os.environ.get(VARIABLE)
    return Path(given).expanduser() if given else Path(platformdirs.user_cache_path("affectstream"))
