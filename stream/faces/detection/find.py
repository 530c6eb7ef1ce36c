"""Finding the faces of a picture with their landmarks, for serving and training alike.

The detector finds boxes and five landmarks, and looks again at faces that may lie on their side or lean.
Where the bundle has `face_geometry`, that engine measures each of these faces, and its landmarks take the
place of the detector's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Self

import numpy as np
from numpy.typing import NDArray

from affectstream.engines.bundle.bundle import Bundle
from affectstream.stream.faces.box import Box, surroundings
from affectstream.stream.faces.detection.detect import Detector, DetectorSpec, fitted_size
from affectstream.stream.faces.detection.upright import find_at_any_angle
from affectstream.stream.faces.face import Face
from affectstream.stream.faces.measures.geometry import GeometryEngine
from affectstream.stream.media.partial_picture import Picture, as_pictures


class FaceFinder:
    """The face detector and the geometry engine of a bundle. Keeps no state between calls."""

    def __init__(self, detector: Detector, geometry: GeometryEngine | None = None) -> None:
        self._detector, self._geometry = detector, geometry

    @classmethod
    def from_bundle(cls, bundle: Bundle) -> Self | None:
        """The engines, which are the same in every member; None for a bundle that detects no faces."""
        for member in bundle.member_bundles:
            part = member.manifest.engines.face_detector
            if part is not None:
                detector = Detector(member.engines["face_detector"], DetectorSpec.of(part))
                return cls(detector, GeometryEngine.from_bundle(bundle))
        return None

    def area(self, box: Box) -> Box:
        """The part of a picture that is looked at for the face at `box`."""
        return surroundings(box, 1.0 if self._geometry is None else self._geometry.scale)

    def find(self, pictures: Sequence[NDArray[np.uint8] | Picture]) -> list[list[Face]]:
        """The faces of each picture, best score first, those that are not usable too.

        Arrays are (H, W, 3) uint8 RGB. One run of each engine for all pictures, and of the detector one
        for the first look at each run of pictures of one size.
        """
        opened = as_pictures(pictures)
        faces = self._detect(opened)
        if self._geometry is None:
            return faces
        usable = [
            (number, index)
            for number, (picture, found) in enumerate(zip(opened, faces, strict=True))
            for index, face in enumerate(found)
            if face.is_usable(*picture.shape)
        ]
        wanted = [(opened[n], faces[n][i]) for n, i in usable]
        measured = self._geometry.measure(
            [(picture.part(self.area(face.box)), face.box, face.turn) for picture, face in wanted]
        )
        for (number, index), geometry in zip(usable, measured, strict=True):
            if geometry is not None:
                face = faces[number][index]
                faces[number][index] = replace(
                    face, geometry=geometry, landmarks=geometry.five_points
                )
        return faces

    def _detect(self, pictures: Sequence[Picture]) -> list[list[Face]]:
        """Detections of each picture, which the detector gets reduced.

        A picture of another size than the one before starts a batch.
        """
        size = self._detector.spec.size
        reduced = [picture.reduced(*fitted_size(*picture.shape, size)) for picture in pictures]
        found: list[list[Face]] = []
        start = 0
        for index in range(1, len(reduced) + 1):
            if index == len(reduced) or reduced[index][0].shape != reduced[start][0].shape:
                batch = [rgb for rgb, _ in reduced[start:index]]
                found += find_at_any_angle(self._detector, batch)
                start = index
        return [
            [_scaled(face, scale) for face in faces]
            for faces, (_, scale) in zip(found, reduced, strict=True)
        ]


def _scaled(face: Face, scale: float) -> Face:
    if scale == 1.0:
        return face
    x0, y0, x1, y1 = face.box
    box = scale * x0, scale * y0, scale * x1, scale * y1
    return replace(face, box=box, landmarks=face.landmarks * np.float32(scale))
