"""The loop that most programs begin with: one picture after another through the engines of a bundle.

OpenCV decodes, ONNX Runtime computes one picture at a time with all cores; nothing overlaps, nothing is
shared between pictures, sound is left out.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

NAME = "naive loop"
COMPUTES = "emotion of faces, from pictures only"
REQUIREMENTS: tuple[str, ...] = ()


def open_look(bundle: str) -> Callable[[Any], int]:
    """The engines of `bundle` on one picture."""
    from affectstream.bench.rivals.faces_of_bundle import FacesOfBundle

    return FacesOfBundle(bundle, threads=os.cpu_count() or 1).look
