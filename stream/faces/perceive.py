"""From frames to observations: faces with quality and embeddings, everything that needs one frame only.

No state is kept between frames, so batches may be perceived in parallel and in any order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache

import numpy as np
from numpy.typing import NDArray

from affectstream.engines.bundle.bundle import Bundle
from affectstream.engines.manifest import FaceCrop
from affectstream.engines.spans import span
from affectstream.stream.faces.box import Box, moved, square_around
from affectstream.stream.faces.crop import PERSON, TEMPLATE, TEMPLATE_SIZE, align_face
from affectstream.stream.faces.detection.find import FaceFinder
from affectstream.stream.faces.encode import FaceEncoders
from affectstream.stream.faces.face import Face, FrameObservation
from affectstream.stream.faces.measures.appearance import describe_appearance
from affectstream.stream.faces.measures.cut import describe_picture
from affectstream.stream.faces.measures.quality import assess_quality
from affectstream.stream.media.partial_picture import Part, Picture, open_picture
from affectstream.stream.media.types import Frame

BATCH = 4
"""Grid frames perceived together: half a second of `pocket`. Batches are formed by counting, never by
time. Larger ones are no faster on a CPU, and need memory for every picture that waits."""

_THUMBNAIL = 216, 384
"""Height and width from which on a picture serves to tell a cut."""
_NEAR_PX = 1.5
"""Farthest that a landmark may lie from its place in the reference crop."""

Crops = tuple[NDArray[np.uint8], ...]


class Perceiver:
    """The face engines of a bundle. Several threads may call `perceive` at once."""

    def __init__(self, bundle: Bundle, *, pixel_aspect: float = 1.0) -> None:
        """`pixel_aspect` is the width of a pixel over its height, as the recording states it.

        Raises `ValueError` for a bundle that uses no video.
        """
        self._encoders = FaceEncoders.from_bundle(bundle)
        if not self._encoders.faces and not self._encoders.frames:
            raise ValueError(f"bundle {bundle.manifest.name!r} has no face engines")
        self.finder = FaceFinder.from_bundle(bundle) if self._encoders.faces else None
        """What finds faces; None for a bundle of whole frames."""
        self._aspect = pixel_aspect

    def perceive(self, frames: Sequence[Frame]) -> list[FrameObservation]:
        """The observation of each frame, in order. Each frame is converted to RGB here, once; of large ones
        only what is looked at."""
        with span("convert", len(frames)):
            pictures, thumbnails = [], []
            for frame in frames:
                pictures.append(open_picture(frame, self._aspect))
                # Right away, while the picture is in the processor's cache.
                thumbnails.append(describe_picture(pictures[-1].reduced(*_THUMBNAIL)[0]))
        found = [[] for _ in pictures] if self.finder is None else self.finder.find(pictures)
        described = [
            [self._describe(picture, face) for face in faces if face.is_usable(*picture.shape)]
            for picture, faces in zip(pictures, found, strict=True)
        ]
        encoded = iter(self._encode([crops for faces in described for _, crops in faces]))
        of_frames = [
            encoder.encode([encoder.crop_frame(picture.whole()) for picture in pictures])
            for encoder in self._encoders.frames
        ]
        return [
            FrameObservation(
                pts_us=frame.pts_us,
                frame_size=(picture.shape[1], picture.shape[0]),
                faces=tuple(
                    replace(face, embeddings=next(encoded)) for face, _ in described[number]
                ),
                scale=max(picture.shape) / max(frame.picture.width, frame.picture.height),
                frame_embeddings=tuple(vectors[number] for vectors in of_frames),
                bad_faces=len(found[number]) - len(described[number]),
                thumbnail=thumbnails[number],
                rotation=frame.rotation,
            )
            for number, (frame, picture) in enumerate(zip(frames, pictures, strict=True))
        ]

    def _describe(self, picture: Picture, face: Face) -> tuple[Face, Crops]:
        """A face with its quality and appearance, and one crop for each encoder of faces."""
        encoders = self._encoders.faces
        part = picture.part(self._area(face.box))
        rgb, inside = part.rgb, _inside(face, part)
        crops = tuple(encoder.crop_face(rgb, inside) for encoder in encoders)
        pairs = zip(crops, encoders, strict=True)
        reference = next((crop for crop, e in pairs if is_near_reference(e.crop)), None)
        if reference is None:
            template = np.asarray(TEMPLATE, np.float32)
            reference = align_face(rgb, inside.landmarks, template, TEMPLATE_SIZE)
        pose = None if face.geometry is None else face.geometry.pose
        quality = assess_quality(reference, face.landmarks, pose)
        appearance = describe_appearance(rgb, inside.box, reference)
        return replace(face, quality=quality, appearance=appearance), crops

    def _area(self, box: Box) -> Box:
        if self.finder is None or any(e.crop.kind == "person" for e in self._encoders.faces):
            return square_around(box, PERSON)
        return self.finder.area(box)

    def _encode(self, crops: Sequence[Crops]) -> Sequence[tuple[NDArray[np.float32], ...]]:
        """The embeddings of each face by all encoders of faces."""
        by_encoder = [
            encoder.encode([own[n] for own in crops])
            for n, encoder in enumerate(self._encoders.faces)
        ]
        return list(zip(*by_encoder, strict=True))


def _inside(face: Face, part: Part) -> Face:
    """A face of a picture in the pixels of a part."""
    if part.x == part.y == 0:
        return face
    landmarks = face.landmarks - np.array([part.x, part.y], np.float32)
    return replace(face, box=moved(face.box, -part.x, -part.y), landmarks=landmarks)


@cache
def is_near_reference(crop: FaceCrop) -> bool:
    """Whether a face cut as `crop` serves for quality and appearance, defined on the reference crop.

    Both depend on the size of the crop, and hardly on a shift by a pixel; cutting a second crop would cost a
    fifth of all that is done with a face outside the engines. The tone is applied after the cut.
    """
    if crop.kind != "face" or crop.size != TEMPLATE_SIZE or not crop.template:
        return False
    return bool(np.abs(np.subtract(crop.template, TEMPLATE)).max() <= _NEAR_PX)
