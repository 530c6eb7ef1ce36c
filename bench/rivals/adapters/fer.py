"""`fer` with its defaults: OpenCV's cascade finds faces, a network of TensorFlow Lite names emotions."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

NAME = "fer"
COMPUTES = "boxes and seven emotions of faces, from pictures only"
REQUIREMENTS = ("fer==25.10.3", "setuptools<81")  # it reads its files through pkg_resources


def open_look(bundle: str) -> Callable[[Any], int]:
    """Its detector and classifier with their defaults; `bundle` is not used."""
    detector = import_module("fer.fer").FER()

    def look(picture: Any) -> int:
        return len(detector.detect_emotions(picture))

    return look
