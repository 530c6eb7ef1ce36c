"""Finding the faces of a picture with their landmarks, for serving and training alike.

The detector finds boxes and five landmarks. Where the bundle has `face_geometry`, that engine measures each
of these faces, and its landmarks take the place of the detector's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Self

import numpy as np
from numpy.typing import NDArray

from affectstream.engines.bundle.bundle import Bundle
from affectstream.stream.faces.detect import Detector, DetectorSpec
from affectstream.stream.faces.face import Face
from affectstream.stream.faces.geometry import GeometryEngine


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

    def find(self, pictures: Sequence[NDArray[np.uint8]]) -> list[list[Face]]:
        """The faces of each picture (H, W, 3) uint8 RGB, best score first, those that are not usable too.

        One run of each engine for all pictures, of the detector one for each run of pictures of one size.
        """
        faces = self._detect(pictures)
        if self._geometry is None:
            return faces
        usable = [
            (number, index)
            for number, (rgb, found) in enumerate(zip(pictures, faces, strict=True))
            for index, face in enumerate(found)
            if face.is_usable(*rgb.shape[:2])
        ]
        measured = self._geometry.measure([(pictures[n], faces[n][i].box) for n, i in usable])
        for (number, index), geometry in zip(usable, measured, strict=True):
            if geometry is not None:
                face = faces[number][index]
                faces[number][index] = replace(
                    face, geometry=geometry, landmarks=geometry.five_points
                )
        return faces

    def _detect(self, pictures: Sequence[NDArray[np.uint8]]) -> list[list[Face]]:
        """Detections of each picture. A picture of another size than the one before starts a batch."""
        found: list[list[Face]] = []
        start = 0
        for index in range(1, len(pictures) + 1):
            if index == len(pictures) or pictures[index].shape != pictures[start].shape:
                found += self._detector.detect(pictures[start:index])
                start = index
        return found
