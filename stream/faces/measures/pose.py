"""Head pose: where a head points, and the solution from five landmarks.

A bundle with `face_geometry` measures the pose; one without it solves it here. Five points of a face lie
nearly in a plane, so two poses explain them almost equally well. SQPNP (Terzakis and Lourakis, 2020) finds
every candidate. Each is refined, those behind the camera are dropped, and the one nearest to the track's
last pose is kept.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

FACE_MODEL_MM = np.array(
    [
        [-31.5, -34.5, 27.0],
        [31.5, -34.5, 27.0],
        [0.0, 0.0, 0.0],
        [-25.0, 27.5, 22.0],
        [25.0, 27.5, 22.0],
    ],
    np.float64,
)
"""Right eye, left eye, nose tip, mouth corners of an average adult in millimeters: x to the right of
the picture, y down, z away from the camera, the nose tip at the origin."""


@dataclass(frozen=True, slots=True)
class Pose:
    """Where a head points, in degrees. All angles are 0 for a face that looks straight into the camera.

    `yaw` in (-90, 90) is positive where the face points to the right of the picture, `pitch` in
    [-90, 90] where it points up, and `roll` in (-180, 180] where the head leans clockwise in the picture.
    """

    yaw: float
    pitch: float
    roll: float

    @property
    def angle(self) -> float:
        """Between the direction of the face and the camera's axis, in degrees."""
        return angle_from_axis(self.yaw, self.pitch)

    def turned(self, quarters: int) -> Pose:
        """The pose of the same head in the picture turned clockwise by so many quarters."""
        if quarters % 4 == 0:
            return self
        yaw, pitch = (math.radians(a) for a in (self.yaw, self.pitch))
        right, up = turned_right_up(math.sin(yaw) * math.cos(pitch), math.sin(pitch), quarters)
        away = math.cos(yaw) * math.cos(pitch)
        return Pose(
            math.degrees(math.atan2(right, away)),
            math.degrees(math.asin(min(1.0, max(-1.0, up)))),
            180.0 - (180.0 - self.roll - 90.0 * quarters) % 360.0,
        )

    @property
    def rotation(self) -> NDArray[np.float64]:
        """The rotation (3, 3) float64 from the axes of `FACE_MODEL_MM` to those of the camera (x right, y
        down, z away from the camera)."""
        yaw, pitch, roll = (math.radians(a) for a in (self.yaw, self.pitch, self.roll))
        away = np.array(
            [-math.sin(yaw) * math.cos(pitch), math.sin(pitch), math.cos(yaw) * math.cos(pitch)]
        )
        # The axis between the ears appears turned by the roll, and is perpendicular to the direction.
        x, y = math.cos(roll), math.sin(roll)
        across = np.array([x, y, -(x * away[0] + y * away[1]) / max(away[2], 1e-6)])
        across /= np.linalg.norm(across)
        return np.stack([across, np.cross(away, across), away], axis=1)


def solve_pose(
    landmarks: NDArray[np.float32],
    frame_size: tuple[int, int],
    previous: Pose | None = None,
    focal: float | None = None,
) -> Pose | None:
    """Pose of a face from its `landmarks` (5, 2) in pixels of a frame of `frame_size` (width, height).

    `previous` is the last pose of the track, and `focal` the focal length in pixels, the frame's width
    unless given. None where no pose in front of the camera explains the landmarks.
    """
    width, height = frame_size
    length = focal if focal is not None else float(width)
    camera = np.array([[length, 0, width / 2], [0, length, height / 2], [0, 0, 1.0]])
    points = landmarks.astype(np.float64)
    try:
        _, turns, shifts, _ = cv2.solvePnPGeneric(
            FACE_MODEL_MM, points, camera, None, flags=cv2.SOLVEPNP_SQPNP
        )
        refined = [
            cv2.solvePnPRefineVVS(FACE_MODEL_MM, points, camera, None, turn, shift)
            for turn, shift in zip(turns, shifts, strict=True)
        ]
    except cv2.error:
        return None  # coinciding or non-finite landmarks
    before = None if previous is None else previous.rotation
    best, lowest = None, math.inf
    for turn, shift in refined:
        if not (np.isfinite(turn).all() and shift[2, 0] > 0):
            continue
        rotation = np.asarray(cv2.Rodrigues(turn)[0], np.float64)
        if rotation[2, 2] <= 0:
            continue  # the back of the head
        if before is None:
            projected, _ = cv2.projectPoints(FACE_MODEL_MM, turn, shift, camera, None)
            cost = float(np.linalg.norm(projected.reshape(5, 2) - points))
        else:
            cost = _angle_between(rotation, before)
        if cost < lowest:
            best, lowest = rotation, cost
    return None if best is None else _pose(best)


def _pose(rotation: NDArray[np.float64]) -> Pose:
    normal = (-rotation[:, 2]).tolist()
    yaw = math.degrees(math.atan2(normal[0], -normal[2]))
    pitch = math.degrees(math.asin(min(1.0, max(-1.0, -normal[1]))))
    roll = math.degrees(math.atan2(rotation[1, 0], rotation[0, 0]))
    return Pose(yaw, pitch, roll)


def turned_right_up(right: float, up: float, quarters: int) -> tuple[float, float]:
    """A direction in a picture after a clockwise turn by so many quarters."""
    for _ in range(quarters % 4):
        right, up = up, -right
    return right, up


def angle_from_axis(yaw: float, pitch: float) -> float:
    """Angle in degrees between the camera's axis and the direction at `yaw` and `pitch`, in degrees."""
    cosine = math.cos(math.radians(yaw)) * math.cos(math.radians(pitch))
    return math.degrees(math.acos(min(1.0, max(-1.0, cosine))))


def _angle_between(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    cosine = (float(np.vdot(one, other)) - 1.0) / 2.0  # the trace of one^T other
    return math.acos(min(1.0, max(-1.0, cosine)))
