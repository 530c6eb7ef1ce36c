"""The face encoder of the recipe `face_resnet` in torch, at random weights, inside the naive loop."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from affectstream.bench.gpu.networks import POCKET
from affectstream.bench.rivals.faces_of_bundle import FacesOfBundle, Picture


class _TorchFaces(FacesOfBundle):
    def __init__(self, bundle: str, compiled: bool) -> None:
        super().__init__(bundle, threads=os.cpu_count() or 1)
        module = POCKET["face_resnet-face"]().module
        self._module: Any = torch.compile(module) if compiled else module
        size = self._encoder.crop.size
        with torch.inference_mode():
            self._module(torch.zeros(1, size, size, 3, dtype=torch.uint8))  # compiles it

    def encode(self, crops: list[Picture]) -> list[NDArray[np.float32]]:
        with torch.inference_mode():
            return [self._vector(self._module(torch.from_numpy(crop)[None])) for crop in crops]

    @staticmethod
    def _vector(outputs: Any) -> NDArray[np.float32]:
        first = outputs[0] if isinstance(outputs, tuple) else outputs
        return np.asarray(first.numpy()[0], np.float32)


def open_torch_look(bundle: str, *, compiled: bool) -> Callable[[Any], int]:
    """Its `look`. Raises `RuntimeError` if torch cannot compile it."""
    return _TorchFaces(bundle, compiled).look
