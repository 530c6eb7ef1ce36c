"""The engines of a bundle on one picture after another, in the order in which a simple program calls them."""

from __future__ import annotations

from collections import deque

import cv2
import numpy as np
from numpy.typing import NDArray

from affectstream.engines.bundle.bundle import Bundle
from affectstream.engines.errors import UsageError
from affectstream.stream.faces.detection.find import FaceFinder
from affectstream.stream.faces.encode import FaceEncoders

Picture = NDArray[np.uint8]


class FacesOfBundle:
    """Finds, measures and encodes the faces of each picture, and fuses the best one's last embeddings."""

    def __init__(self, bundle: str, threads: int) -> None:
        """Raises `UsageError` for a bundle without a face encoder."""
        self._bundle = Bundle.open(bundle, threads=threads)
        finder = FaceFinder.from_bundle(self._bundle)
        encoders = FaceEncoders.from_bundle(self._bundle).faces
        if finder is None or not encoders:
            raise UsageError(f"{bundle}: has no face encoder, which this rival needs")
        self._finder, self._encoder = finder, encoders[0]
        self._fusion = self._bundle.member_bundles[0].engines["fusion"]
        self._embeddings: deque[NDArray[np.float32]] = deque(maxlen=self._steps())

    def look(self, picture: Picture) -> int:
        """The number of faces in `picture` (H, W, 3) uint8 BGR, all of them encoded."""
        rgb = np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB), np.uint8)
        (faces,) = self._finder.find([rgb])
        crops = [self._encoder.crop_face(rgb, f) for f in faces if f.is_usable(*rgb.shape[:2])]
        vectors = self.encode(crops)
        if vectors:
            self._embeddings.append(vectors[0])
            self._fuse()
        return len(crops)

    def encode(self, crops: list[Picture]) -> list[NDArray[np.float32]]:
        """The embedding of each crop, one after another."""
        return [self._encoder.encode([crop])[0] for crop in crops]

    def _steps(self) -> int:
        return int(self._fusion.inputs["video"].shape[1])

    def _fuse(self) -> None:
        feeds = {
            name: np.zeros([d if isinstance(d, int) else 1 for d in spec.shape], spec.dtype)
            for name, spec in self._fusion.inputs.items()
        }
        feeds["video"][0, -len(self._embeddings) :] = self._embeddings
        feeds["video_mask"][0, -len(self._embeddings) :] = True
        self._fusion.run(feeds)
