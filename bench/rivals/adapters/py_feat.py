"""py-feat: landmarks, action units, pose and emotions. Written from its documentation, and never run here."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module

NAME = "py-feat"
COMPUTES = "landmarks, 20 action units, pose and seven emotions of faces, from pictures only"
REQUIREMENTS = ("py-feat==2.1.5",)
NEEDS = "its weights, which it downloads from a hub when it is first used"


def open_score(clip: str, bundle: str) -> Callable[[], dict[str, int]]:
    """Its detector with its defaults, on every picture; `bundle` is not used."""
    detector = import_module("feat").Detector(device="cpu")

    def score() -> dict[str, int]:
        found = detector.detect(clip, data_type="video")
        looks = int(found["frame"].nunique())
        return {"frames": looks, "looks": looks, "faces": int(found["FaceScore"].notna().sum())}

    return score
