"""The naive loop with the face encoder in torch: the recipe's network, at random weights.

The detector and `face_geometry` stay in ONNX Runtime, so that both find the same faces.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

NAME = "naive loop, torch eager"
COMPUTES = "embeddings of faces (random weights), from pictures only"
REQUIREMENTS: tuple[str, ...] = ()


def open_look(bundle: str) -> Callable[[Any], int]:
    """The engines of `bundle` on one picture, its face encoder replaced."""
    from affectstream.bench.rivals.torch_encoder import open_torch_look

    return open_torch_look(bundle, compiled=False)
