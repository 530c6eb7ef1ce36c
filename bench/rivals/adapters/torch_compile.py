"""As `torch_eager`, compiled with `torch.compile`, which needs a C++ compiler."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

NAME = "naive loop, torch.compile"
COMPUTES = "embeddings of faces (random weights), from pictures only"
REQUIREMENTS: tuple[str, ...] = ()


def open_look(bundle: str) -> Callable[[Any], int]:
    """The engines of `bundle` on one picture, its face encoder replaced."""
    from affectstream.bench.rivals.torch_encoder import open_torch_look

    return open_torch_look(bundle, compiled=True)
