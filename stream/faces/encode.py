"""How the pictures are looked at: what is cut out of them, and the encoder of what was cut.

A bundle of members has several eyes; those of the same crop and the same encoder are one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from affectstream.engines.batching import BATCH_SIZES, batch_size_for, pad_rows
from affectstream.engines.bundle.bundle import Bundle
from affectstream.engines.manifest import FaceCrop
from affectstream.engines.spec import Engine
from affectstream.stream.faces.crop import align_face, apply_tone, frame_crop, person_crop
from affectstream.stream.faces.detect import Detection


@dataclass(frozen=True, slots=True, eq=False)
class FaceEncoder:
    """One crop, and its encoder."""

    crop: FaceCrop
    encoder: Engine

    def crop_face(self, rgb: NDArray[np.uint8], detection: Detection) -> NDArray[np.uint8]:
        """What there is to see of a face in `rgb` (H, W, 3) uint8, in its own tone: (size, size, 3) uint8."""
        if self.crop.kind == "person":
            return person_crop(rgb, detection.box, self.crop.size)
        template = np.asarray(self.crop.template, np.float32)
        return align_face(rgb, detection.landmarks, template, self.crop.size)

    def crop_frame(self, rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """What there is to see of a picture as a whole, in its own tone."""
        return frame_crop(rgb, self.crop.size)

    def encode(self, crops: Sequence[NDArray[np.uint8]]) -> list[NDArray[np.float32]]:
        """The embedding (D,) float32 of each crop, given in its own tone."""
        crops = apply_tone(crops, self.crop.tone)
        embeddings: list[NDArray[np.float32]] = []
        for start in range(0, len(crops), BATCH_SIZES[-1]):
            part = np.stack(crops[start : start + BATCH_SIZES[-1]])
            out = self.encoder.run({"pixels": pad_rows(part, batch_size_for(len(part)))})
            embeddings += list(out["embedding"][: len(part)])
        return embeddings


@dataclass(frozen=True, slots=True, eq=False)
class FaceEncoders:
    """All eyes of a bundle: those that look at faces and the people around them, and those that look
    at whole pictures."""

    faces: tuple[FaceEncoder, ...]
    frames: tuple[FaceEncoder, ...]
    _places: dict[tuple[str, FaceCrop], int]

    @classmethod
    def from_bundle(cls, bundle: Bundle) -> FaceEncoders:
        """The eyes of the experts that watch, in the order of the experts."""
        faces: list[FaceEncoder] = []
        frames: list[FaceEncoder] = []
        places: dict[tuple[str, FaceCrop], int] = {}
        for expert in bundle.member_bundles:
            key = _key(expert)
            if key is None or key in places:
                continue
            eyes = frames if key[1].kind == "frame" else faces
            places[key] = len(eyes)
            eyes.append(FaceEncoder(key[1], expert.engines["face_encoder"]))
        return cls(tuple(faces), tuple(frames), places)

    def index_of(self, expert: Bundle) -> int | None:
        """Which of `faces` or `frames` an expert looks with; None for one that does not watch."""
        key = _key(expert)
        return None if key is None else self._places[key]


def _key(expert: Bundle) -> tuple[str, FaceCrop] | None:
    encoder, crop = expert.manifest.engines.face_encoder, expert.manifest.crop
    if encoder is None or crop is None or "video" not in expert.modalities:
        return None
    return encoder.sha256, crop
