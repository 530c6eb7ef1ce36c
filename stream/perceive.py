"""From grid frames to faces with embeddings: everything that depends on one frame only.

Nothing here remembers anything, so batches may be perceived side by side and in any order.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from affectstream.engines.bundle import Bundle
from affectstream.engines.spec import SLOTS, padded, slot
from affectstream.stream.faces.crop import align
from affectstream.stream.faces.detect import Detection, Detector, DetectorSpec
from affectstream.stream.faces.face import Face, Seen, signature
from affectstream.stream.faces.quality import Quality, assess
from affectstream.stream.media import Frame
from affectstream.stream.picture import to_rgb

BATCH = 4
"""Grid frames perceived together: half a second of `pocket`. Formed by counting, never by time.
Larger ones are no faster on a CPU and cost memory for every picture that waits."""

Look = tuple[Detection, NDArray[np.uint8], Quality, NDArray[np.float32]]


class Perceiver:
    """The face engines of a bundle that has them. `perceive` may run on several threads at once."""

    def __init__(self, bundle: Bundle, *, pixel_aspect: float = 1.0) -> None:
        """`pixel_aspect` is the width of a pixel over its height, as the recording states it."""
        part, crop = bundle.manifest.engines.face_detector, bundle.manifest.crop
        if part is None or crop is None:
            raise ValueError(f"bundle {bundle.manifest.name!r} has no face engines")
        spec = DetectorSpec(
            size=part.input_size,
            threshold=part.threshold,
            nms_iou=part.nms_iou,
            color=part.color,
            layout=part.layout,
        )
        self._detector = Detector(bundle.engines["face_detector"], spec)
        self._encoder = bundle.engines["face_encoder"]
        self._template = np.asarray(crop.template, np.float32)
        self._size = crop.size
        self._aspect = pixel_aspect

    def perceive(self, frames: Sequence[Frame]) -> list[Seen]:
        """Faces of each frame, in order; each frame is converted to RGB here, once."""
        pictures = [to_rgb(frame, pixel_aspect=self._aspect) for frame in frames]
        found = self._detect(pictures)
        looks = [
            [self._look(rgb, detection) for detection in detections]
            for rgb, detections in zip(pictures, found, strict=True)
        ]
        embeddings = iter(self._encode([crop for found_in in looks for _, crop, _, _ in found_in]))
        return [
            Seen(
                pts_us=frame.pts_us,
                frame_size=(rgb.shape[1], rgb.shape[0]),
                shrunk=max(rgb.shape) / max(frame.picture.width, frame.picture.height),
                faces=tuple(
                    Face(d.box, d.landmarks, d.score, quality, next(embeddings), mark)
                    for d, _, quality, mark in found_in
                ),
            )
            for frame, rgb, found_in in zip(frames, pictures, looks, strict=True)
        ]

    def _detect(self, pictures: Sequence[NDArray[np.uint8]]) -> list[list[Detection]]:
        """Detections of each picture; a size that changes in mid-stream starts a batch of its own."""
        found: list[list[Detection]] = []
        start = 0
        for index in range(1, len(pictures) + 1):
            if index == len(pictures) or pictures[index].shape != pictures[start].shape:
                found += self._detector.detect(pictures[start:index])
                start = index
        return found

    def _look(self, rgb: NDArray[np.uint8], detection: Detection) -> Look:
        crop = align(rgb, detection.landmarks, self._template, self._size)
        quality = assess(crop, detection.landmarks)
        return detection, crop, quality, signature(rgb, detection.box, crop)

    def _encode(self, crops: Sequence[NDArray[np.uint8]]) -> list[NDArray[np.float32]]:
        embeddings: list[NDArray[np.float32]] = []
        for start in range(0, len(crops), SLOTS[-1]):
            part = np.stack(crops[start : start + SLOTS[-1]])
            out = self._encoder.run({"pixels": padded(part, slot(len(part)))})
            embeddings += list(out["embedding"][: len(part)])
        return embeddings
