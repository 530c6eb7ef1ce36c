"""Answers of a face mesh that were made up: a pinhole picture of a rigid head, drawn as dots."""

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from affectstream.engines.landmarks import LANDMARKS, MESH_POINTS

PLACES = {
    "right_eye_outer": (-0.30, -0.20),
    "right_eye_inner": (-0.12, -0.20),
    "right_lid_upper": (-0.21, -0.23),
    "right_lid_lower": (-0.21, -0.17),
    "right_iris": (-0.21, -0.20),
    "right_brow_outer": (-0.34, -0.30),
    "right_brow_middle": (-0.23, -0.34),
    "right_brow_inner": (-0.10, -0.32),
    "nose_bridge": (0.0, -0.18),
    "nose_tip": (0.0, 0.05),
    "right_nostril": (-0.07, 0.08),
    "mouth_right": (-0.15, 0.24),
    "lip_upper": (0.0, 0.20),
    "lip_lower": (0.0, 0.31),
    "lip_upper_inner": (0.0, 0.23),
    "lip_lower_inner": (0.0, 0.27),
    "forehead": (0.0, -0.50),
    "chin": (0.0, 0.50),
    "right_jaw": (-0.28, 0.30),
    "right_temple": (-0.40, -0.15),
}
"""Of a face of height 1 around its center; those of the left side mirror the right ones."""


def landmarks(center: tuple[float, float], height: float) -> NDArray[np.float32]:
    """The landmarks (32, 2) of an upright face, in the order of `LANDMARKS`."""
    points = []
    for name in LANDMARKS:
        if name in PLACES:
            x, y = PLACES[name]
        else:
            x, y = PLACES[name.replace("left", "right")]
            x = -x
        points.append((center[0] + x * height, center[1] + y * height))
    return np.asarray(points, np.float32)


def write_answers(path: Path, names: list[str], side: int = 96) -> None:
    """A file as ``train/data/teachers/face_mesh.py`` writes it, with one face in each picture.

    Heads look to the right of the picture by 0, 20 or 40 degrees in turn.
    """
    rng = np.random.default_rng(0)
    blobs, meshes, rotations = [], [], []
    for number in range(len(names)):
        yaw = np.deg2rad(20.0 * (number % 3))
        points = landmarks((side / 2, side / 2), side * rng.uniform(0.45, 0.6))
        picture = rng.integers(90, 130, (side, side), np.uint8)
        for x, y in points:
            cv2.circle(picture, (int(x), int(y)), 2, (int(255 * number % 3 / 2),), -1)
        blobs.append(cv2.imencode(".png", picture)[1].ravel())
        mesh = np.zeros((478, 2), np.float32)
        mesh[list(MESH_POINTS.values())] = points
        meshes.append(mesh)
        rotations.append(cv2.Rodrigues(np.array([0.0, -yaw, 0.0]))[0])
    stacked = np.asarray(rotations, np.float32)
    np.savez(
        path,
        name=np.array(names),
        picture=np.arange(len(names)),
        landmarks=np.stack(meshes),
        rotation=stacked,
        pose=np.array([(20.0 * (k % 3), 0.0, 0.0) for k in range(len(names))], np.float32),
        gaze=-stacked[:, :, 2],
        gaze_angles=np.zeros((len(names), 2), np.float32),
        eyes=np.full((len(names), 2), 0.3, np.float32),
        mouth=np.full(len(names), 0.1, np.float32),
        files=np.concatenate(blobs),
        ends=np.cumsum([len(blob) for blob in blobs]),
    )
