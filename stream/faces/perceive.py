"""From grid frames to what is seen in them, as embeddings: everything that depends on one frame only.

Nothing here remembers anything, so batches may be perceived side by side and in any order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from msgspec import structs
from numpy.typing import NDArray

from affectstream.engines.bundle.bundle import Bundle
from affectstream.engines.manifest import FaceCrop
from affectstream.stream.faces.crop import TEMPLATE, TEMPLATE_SIZE, align_face
from affectstream.stream.faces.detect import Detection, Detector, DetectorSpec
from affectstream.stream.faces.encode import FaceEncoders
from affectstream.stream.faces.face import Face, FrameObservation, describe_appearance
from affectstream.stream.faces.quality import Quality, assess_quality
from affectstream.stream.media.picture import to_rgb
from affectstream.stream.media.types import Frame

BATCH = 4
"""Grid frames perceived together: half a second of `pocket`. Formed by counting, never by time.
Larger ones are no faster on a CPU and cost memory for every picture that waits."""

_JUDGED = FaceCrop(size=TEMPLATE_SIZE, template=TEMPLATE)
"""The crop by which a face is judged and told from others, whatever the encoders are shown: what is
sharp enough, and how alike two are, depends on its size."""


@dataclass(frozen=True, slots=True, eq=False)
class _Look:
    """A face and its crops, one for each eye for faces."""

    detection: Detection
    crops: tuple[NDArray[np.uint8], ...]
    quality: Quality
    mark: NDArray[np.float32]


class Perceiver:
    """The eyes of a bundle that watches. `perceive` may run on several threads at once."""

    def __init__(self, bundle: Bundle, *, pixel_aspect: float = 1.0) -> None:
        """`pixel_aspect` is the width of a pixel over its height, as the recording states it."""
        self._eyes = FaceEncoders.from_bundle(bundle)
        if not self._eyes.faces and not self._eyes.frames:
            raise ValueError(f"bundle {bundle.manifest.name!r} has no face engines")
        self._detector = _detector(bundle) if self._eyes.faces else None
        self._aspect = pixel_aspect

    def perceive(self, frames: Sequence[Frame]) -> list[FrameObservation]:
        """What is seen in each frame, in order; each is converted to RGB here, once."""
        pictures = [to_rgb(frame, pixel_aspect=self._aspect) for frame in frames]
        looks = [
            [self._look(rgb, detection) for detection in detections]
            for rgb, detections in zip(pictures, self._detect(pictures), strict=True)
        ]
        flat = [look for found in looks for look in found]
        by_eye = [eye.encode([k.crops[n] for k in flat]) for n, eye in enumerate(self._eyes.faces)]
        embeddings = iter(zip(*by_eye, strict=True))
        scenes = [eye.encode([eye.crop_frame(p) for p in pictures]) for eye in self._eyes.frames]
        return [
            FrameObservation(
                pts_us=frame.pts_us,
                frame_size=(rgb.shape[1], rgb.shape[0]),
                scale=max(rgb.shape) / max(frame.picture.width, frame.picture.height),
                faces=tuple(
                    Face(
                        k.detection.box,
                        k.detection.landmarks,
                        k.detection.score,
                        k.quality,
                        next(embeddings),
                        k.mark,
                    )
                    for k in looks[number]
                ),
                frame_embeddings=tuple(of_eye[number] for of_eye in scenes),
            )
            for number, (frame, rgb) in enumerate(zip(frames, pictures, strict=True))
        ]

    def _detect(self, pictures: Sequence[NDArray[np.uint8]]) -> list[list[Detection]]:
        """Detections of each picture; a size that changes in mid-stream starts a batch of its own."""
        if self._detector is None:
            return [[] for _ in pictures]
        found: list[list[Detection]] = []
        start = 0
        for index in range(1, len(pictures) + 1):
            if index == len(pictures) or pictures[index].shape != pictures[start].shape:
                found += self._detector.detect(pictures[start:index])
                start = index
        return found

    def _look(self, rgb: NDArray[np.uint8], detection: Detection) -> _Look:
        crops = tuple(eye.crop_face(rgb, detection) for eye in self._eyes.faces)
        cut = (c for c, eye in zip(crops, self._eyes.faces, strict=True) if _same_cut(eye.crop))
        judged = next(cut, None)
        if judged is None:
            template = np.asarray(TEMPLATE, np.float32)
            judged = align_face(rgb, detection.landmarks, template, TEMPLATE_SIZE)
        quality = assess_quality(judged, detection.landmarks)
        return _Look(detection, crops, quality, describe_appearance(rgb, detection.box, judged))


def _same_cut(crop: FaceCrop) -> bool:
    return structs.replace(crop, tone=_JUDGED.tone) == _JUDGED


def _detector(bundle: Bundle) -> Detector:
    """The face detector, which is the same in every member that has one."""
    for expert in bundle.member_bundles:
        part = expert.manifest.engines.face_detector
        if part is not None:
            spec = DetectorSpec(
                size=part.input_size,
                threshold=part.threshold,
                nms_iou=part.nms_iou,
                color=part.color,
                layout=part.layout,
            )
            return Detector(expert.engines["face_detector"], spec)
    raise ValueError(f"bundle {bundle.manifest.name!r} looks at faces and has no face detector")
