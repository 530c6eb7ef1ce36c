"""Face encoders: the crop that each takes, and the embeddings that it computes.

A bundle with members has several. Members with the same crop and the same encoder share one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from affectstream.engines.bundle.bundle import Bundle
from affectstream.engines.graphs.batching import run_in_batches
from affectstream.engines.manifest import FaceCrop
from affectstream.engines.spans import span
from affectstream.engines.spec import Engine
from affectstream.stream.faces.crop import align_face, apply_tone, frame_crop, person_crop
from affectstream.stream.faces.face import Face


@dataclass(frozen=True, slots=True, eq=False)
class FaceEncoder:
    """An encoder and the crop that it takes."""

    crop: FaceCrop
    encoder: Engine

    def crop_face(self, rgb: NDArray[np.uint8], face: Face) -> NDArray[np.uint8]:
        """The crop of a face in `rgb` (H, W, 3) uint8, in its own tone: (size, size, 3) uint8."""
        if self.crop.kind == "person":
            return person_crop(rgb, face.box, self.crop.size)
        template = np.asarray(self.crop.template, np.float32)
        return align_face(rgb, face.landmarks, template, self.crop.size)

    def crop_frame(self, rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The crop of the whole picture `rgb` (H, W, 3) uint8: (size, size, 3) uint8."""
        return frame_crop(rgb, self.crop.size)

    def encode(self, crops: Sequence[NDArray[np.uint8]]) -> list[NDArray[np.float32]]:
        """The embedding (D,) float32 of each crop, given in its own tone."""
        crops = apply_tone(crops, self.crop.tone)
        if not crops:
            return []
        with span("encode face", len(crops)):
            rows = run_in_batches(self.encoder, {"pixels": np.stack(crops)}, len(crops))
        return [row["embedding"] for row in rows]


@dataclass(frozen=True, slots=True, eq=False)
class FaceEncoders:
    """The different face encoders of a bundle: `faces` encode faces and the people around them, `frames`
    encode whole pictures."""

    faces: tuple[FaceEncoder, ...]
    frames: tuple[FaceEncoder, ...]
    _indices: dict[tuple[str, FaceCrop], int]

    @classmethod
    def from_bundle(cls, bundle: Bundle) -> FaceEncoders:
        """The face encoders of all members, in the order of the members."""
        faces: list[FaceEncoder] = []
        frames: list[FaceEncoder] = []
        indices: dict[tuple[str, FaceCrop], int] = {}
        for member in bundle.member_bundles:
            key = _key(member)
            if key is None or key in indices:
                continue
            encoders = frames if key[1].kind == "frame" else faces
            indices[key] = len(encoders)
            encoders.append(FaceEncoder(key[1], member.engines["face_encoder"]))
        return cls(tuple(faces), tuple(frames), indices)

    def index_of(self, member: Bundle) -> int | None:
        """The index of a member's encoder in `faces` or `frames`; None where it uses no video."""
        key = _key(member)
        return None if key is None else self._indices[key]


def _key(member: Bundle) -> tuple[str, FaceCrop] | None:
    encoder, crop = member.manifest.engines.face_encoder, member.manifest.crop
    if encoder is None or crop is None or "video" not in member.modalities:
        return None
    return encoder.sha256, crop
