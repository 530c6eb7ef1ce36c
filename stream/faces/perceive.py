"""From frames to observations: faces with quality and embeddings, everything that needs one frame only.

No state is kept between frames, so batches may be perceived in parallel and in any order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from msgspec import structs
from numpy.typing import NDArray

from affectstream.engines.bundle.bundle import Bundle
from affectstream.engines.manifest import FaceCrop
from affectstream.stream.faces.appearance import describe_appearance
from affectstream.stream.faces.crop import TEMPLATE, TEMPLATE_SIZE, align_face
from affectstream.stream.faces.detect import Detection, Detector, DetectorSpec
from affectstream.stream.faces.encode import FaceEncoders
from affectstream.stream.faces.face import Face, FrameObservation
from affectstream.stream.faces.quality import Quality, assess_quality
from affectstream.stream.media.picture import to_rgb
from affectstream.stream.media.types import Frame

BATCH = 4
"""Grid frames perceived together: half a second of `pocket`. Batches are formed by counting, never by
time. Larger ones are no faster on a CPU, and need memory for every picture that waits."""

_REFERENCE_CROP = FaceCrop(size=TEMPLATE_SIZE, template=TEMPLATE)
"""The crop for quality and appearance, whatever crops the encoders take: both depend on its size."""


@dataclass(frozen=True, slots=True, eq=False)
class _CroppedFace:
    """A detected face with one crop for each encoder of faces."""

    detection: Detection
    crops: tuple[NDArray[np.uint8], ...]
    quality: Quality
    appearance: NDArray[np.float32]

    def face(self, embeddings: tuple[NDArray[np.float32], ...]) -> Face:
        """The face with its embeddings."""
        found = self.detection
        return Face(
            found.box, found.landmarks, found.score, self.quality, embeddings, self.appearance
        )


class Perceiver:
    """The face detector and face encoders of a bundle. Several threads may call `perceive` at once."""

    def __init__(self, bundle: Bundle, *, pixel_aspect: float = 1.0) -> None:
        """`pixel_aspect` is the width of a pixel over its height, as the recording states it.

        Raises `ValueError` for a bundle that uses no video.
        """
        self._encoders = FaceEncoders.from_bundle(bundle)
        if not self._encoders.faces and not self._encoders.frames:
            raise ValueError(f"bundle {bundle.manifest.name!r} has no face engines")
        self._detector = _detector(bundle) if self._encoders.faces else None
        self._aspect = pixel_aspect

    def perceive(self, frames: Sequence[Frame]) -> list[FrameObservation]:
        """The observation of each frame, in order. Each frame is converted to RGB here, once."""
        pictures = [to_rgb(frame, pixel_aspect=self._aspect) for frame in frames]
        detected = self._detect(pictures)
        cropped = [
            [self._crop(rgb, found) for found in detections if found.is_usable(*rgb.shape[:2])]
            for rgb, detections in zip(pictures, detected, strict=True)
        ]
        flat = [face for faces in cropped for face in faces]
        by_encoder = [
            encoder.encode([face.crops[n] for face in flat])
            for n, encoder in enumerate(self._encoders.faces)
        ]
        embeddings = iter(zip(*by_encoder, strict=True))
        of_frames = [
            encoder.encode([encoder.crop_frame(rgb) for rgb in pictures])
            for encoder in self._encoders.frames
        ]
        return [
            FrameObservation(
                pts_us=frame.pts_us,
                frame_size=(rgb.shape[1], rgb.shape[0]),
                faces=tuple(face.face(next(embeddings)) for face in cropped[number]),
                scale=max(rgb.shape) / max(frame.picture.width, frame.picture.height),
                frame_embeddings=tuple(encoded[number] for encoded in of_frames),
                bad_faces=len(detected[number]) - len(cropped[number]),
            )
            for number, (frame, rgb) in enumerate(zip(frames, pictures, strict=True))
        ]

    def _detect(self, pictures: Sequence[NDArray[np.uint8]]) -> list[list[Detection]]:
        """Detections of each picture. A picture of another size than the one before starts a batch."""
        if self._detector is None:
            return [[] for _ in pictures]
        found: list[list[Detection]] = []
        start = 0
        for index in range(1, len(pictures) + 1):
            if index == len(pictures) or pictures[index].shape != pictures[start].shape:
                found += self._detector.detect(pictures[start:index])
                start = index
        return found

    def _crop(self, rgb: NDArray[np.uint8], detection: Detection) -> _CroppedFace:
        encoders = self._encoders.faces
        crops = tuple(encoder.crop_face(rgb, detection) for encoder in encoders)
        pairs = zip(crops, encoders, strict=True)
        reference = next((crop for crop, e in pairs if _same_crop(e.crop)), None)
        if reference is None:
            template = np.asarray(TEMPLATE, np.float32)
            reference = align_face(rgb, detection.landmarks, template, TEMPLATE_SIZE)
        return _CroppedFace(
            detection,
            crops,
            assess_quality(reference, detection.landmarks),
            describe_appearance(rgb, detection.box, reference),
        )


def _same_crop(crop: FaceCrop) -> bool:
    """Whether `crop` is the reference crop; crops are made before the tone is applied."""
    return structs.replace(crop, tone=_REFERENCE_CROP.tone) == _REFERENCE_CROP


def _detector(bundle: Bundle) -> Detector:
    """The face detector, which is the same in every member that has one."""
    for member in bundle.member_bundles:
        part = member.manifest.engines.face_detector
        if part is not None:
            return Detector(member.engines["face_detector"], DetectorSpec.of(part))
    raise ValueError(f"bundle {bundle.manifest.name!r} has face encoders and no face detector")
