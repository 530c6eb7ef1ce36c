"""MediaPipe's face mesh: 478 landmarks with irises, of up to four faces."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

NAME = "mediapipe face mesh"
COMPUTES = "478 landmarks of faces, no emotion, from pictures only"
REQUIREMENTS = ("mediapipe==0.10.21",)  # the last with the graphs that need no download


def open_look(bundle: str) -> Callable[[Any], int]:
    """A mesh that follows faces from one picture to the next; `bundle` is not used."""
    cv2, solutions = import_module("cv2"), import_module("mediapipe.python.solutions.face_mesh")
    mesh = solutions.FaceMesh(max_num_faces=4, refine_landmarks=True)

    def look(picture: Any) -> int:
        found = mesh.process(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)).multi_face_landmarks
        return len(found or ())

    return look
