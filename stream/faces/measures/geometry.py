"""Measuring detected faces: landmarks, head pose, gaze, and the opening of eyes and mouth.

One run of the engine `face_geometry` measures all faces of a batch of frames.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from affectstream.engines.bundle.bundle import Bundle
from affectstream.engines.graphs.batching import run_in_batches
from affectstream.engines.landmarks import FIVE_POINTS, LANDMARK_INDEX, LANDMARKS, MEASURES
from affectstream.engines.manifest import GeometryPart
from affectstream.engines.spans import span
from affectstream.engines.spec import Engine
from affectstream.stream.faces.box import Box, moved, square_around
from affectstream.stream.faces.crop import cut_square, turn_clockwise
from affectstream.stream.faces.measures.pose import Pose, turned_right_up
from affectstream.stream.media.partial_picture import Part
from affectstream.stream.media.types import RIGHT_ANGLES

_MEAN_OF_FIVE = np.zeros((len(FIVE_POINTS), len(LANDMARKS)), np.float32)
for _row, _names in enumerate(FIVE_POINTS.values()):
    _MEAN_OF_FIVE[_row, [LANDMARK_INDEX[name] for name in _names]] = 1 / len(_names)


@dataclass(frozen=True, slots=True, eq=False)
class Geometry:
    """What one frame shows of a face's shape.

    `landmarks` (32, 2) float32 x, y are in pixels of the frame, in the order of
    `engines.landmarks.LANDMARKS`. `pose` is the head's as its own crop shows it, and `gaze` where the eyes
    look relative to the head, as yaw and pitch in degrees. The openness of an eye is the distance of its
    lids over its width; that of the mouth is the distance of the inner lips over its width.
    """

    landmarks: NDArray[np.float32]
    pose: Pose
    right_eye: float
    left_eye: float
    mouth: float
    gaze: tuple[float, float]

    @property
    def five_points(self) -> NDArray[np.float32]:
        """Eye centers, nose tip and mouth corners (5, 2) float32, as detectors give them."""
        return np.asarray(_MEAN_OF_FIVE @ self.landmarks, np.float32)


class GeometryEngine:
    """The engine `face_geometry` of a bundle. Several threads may call `measure` at once."""

    def __init__(self, engine: Engine, part: GeometryPart) -> None:
        self._engine, self._size, self.scale = engine, part.input_size, part.scale

    @classmethod
    def from_bundle(cls, bundle: Bundle) -> Self | None:
        """The engine, which is the same in every member that detects faces; None where there is none."""
        for member in bundle.member_bundles:
            part = member.manifest.engines.face_geometry
            if part is not None:
                return cls(member.engines["face_geometry"], part)
        return None

    def measure(self, faces: Sequence[tuple[Part, Box, int]]) -> list[Geometry | None]:
        """The geometry of each face, given as a part of a frame, the face's box in the frame, and by how many
        quarters it is turned counterclockwise to be upright.

        None where the engine gives numbers that are not finite.
        """
        if not faces:
            return []
        squares = [square_around(box, self.scale) for _, box, _ in faces]
        pixels = np.stack(
            [
                RIGHT_ANGLES[turn].apply(
                    cut_square(part.rgb, moved(square, -part.x, -part.y), self._size)
                )
                for (part, _, turn), square in zip(faces, squares, strict=True)
            ]
        )
        with span("geometry", len(faces)):
            found = run_in_batches(self._engine, {"pixels": pixels}, len(faces))
        return [
            _geometry(outputs["landmarks"], outputs["measures"], square, turn)
            for outputs, square, (_, _, turn) in zip(found, squares, faces, strict=True)
        ]


def _geometry(
    landmarks: NDArray[np.float32], measures: NDArray[np.float32], square: Box, turn: int
) -> Geometry | None:
    """In the frame, of a face that was turned counterclockwise by `turn` quarters to be measured."""
    if not (np.isfinite(landmarks).all() and np.isfinite(measures).all()):
        return None
    x0, y0, x1, _ = square
    # Landmarks are measured from the edge of the square; in a frame pixel centers are whole numbers.
    points = turn_clockwise(landmarks, turn, 1.0, 1.0) * np.float32(x1 - x0) + np.array(
        [x0 - 0.5, y0 - 0.5], np.float32
    )
    of = dict(zip(MEASURES, measures.tolist(), strict=True))
    return Geometry(
        landmarks=points,
        pose=Pose(of["yaw"], of["pitch"], of["roll"]).turned(turn),
        right_eye=of["right_eye_openness"],
        left_eye=of["left_eye_openness"],
        mouth=of["mouth_openness"],
        gaze=turned_right_up(of["gaze_yaw"], of["gaze_pitch"], turn),
    )
