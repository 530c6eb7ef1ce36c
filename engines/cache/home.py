"""The folder of the caches: plans, FP16 graphs and pulled models."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs

VARIABLE = "AFFECTSTREAM_HOME"


def home() -> Path:
    """``$AFFECTSTREAM_HOME``, or the system's cache folder for this application. It may not exist yet.

    Everything in it can be built or fetched again.
    """
    folder = os.environ.get(VARIABLE)
    return (
        Path(folder).expanduser() if folder else Path(platformdirs.user_cache_path("affectstream"))
    )
