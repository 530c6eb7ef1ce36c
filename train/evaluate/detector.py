"""How many of YuNet's faces a bundle's detector finds on real clips, and how many false positives it has.

YuNet runs on the full frame through OpenCV's ``FaceDetectorYN``; the bundle's detector runs on the frame
at its input size. A face counts as found if the boxes overlap with IoU 0.5. YuNet is no ground truth: a
face that it misses cannot be missed here, and a detection beyond its faces is a false positive unless
YuNet sees at least a weak face there (score 0.4).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from affectstream.engines.runtimes.onnx import OnnxEngine
from affectstream.stream.faces.detect import Detection, Detector, DetectorSpec
from affectstream.stream.faces.yunet import box_iou

FACE = 0.7
"""YuNet's score of a face that has to be found."""
WEAK_FACE = 0.4
"""YuNet's score of a face that may be found or not."""
IOU = 0.5
EVERY = 5
"""Frames of a video from one evaluated frame to the next."""

Frame = NDArray[np.uint8]


@dataclass(slots=True)
class Counts:
    """Counts over one video or picture."""

    is_video: bool
    frames: int = 0
    faces: int = 0
    """YuNet's at full size."""
    found: int = 0
    """Of these, by the bundle's detector."""
    found_by_yunet: int = 0
    """Of these, by YuNet itself at the detector's input size."""
    false_positives: int = 0


class DetectorComparison:
    """A bundle's detector beside YuNet."""

    def __init__(self, engine: Path, yunet: Path, spec: DetectorSpec) -> None:
        """`engine` and `yunet` are ONNX files; `spec` is that of `engine`."""
        self._detector = Detector(OnnxEngine(engine), spec)
        small = DetectorSpec(spec.size, FACE, color="bgr", layout="nchw")
        self._small_yunet = Detector(OnnxEngine(yunet), small)
        # OpenCV warns about a setting that nobody made.
        cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_ERROR)
        self._yunet = cv2.FaceDetectorYN.create(str(yunet), "", (32, 32), WEAK_FACE)

    def picture(self, path: Path) -> Counts:
        """Counts of one picture. Raises `ValueError` if OpenCV cannot read it."""
        frame = cv2.imread(str(path), cv2.IMREAD_COLOR_RGB)
        if frame is None:
            raise ValueError(f"{path}: not a picture that OpenCV can read")
        counts = Counts(is_video=False)
        self._add(counts, np.asarray(frame, np.uint8))
        return counts

    def video(self, path: Path) -> Counts:
        """Counts of every `EVERY`-th frame, or false positives in every frame of a video without faces."""
        counts = Counts(is_video=True)
        for frame in _frames(path, EVERY):
            self._add(counts, frame)
        if counts.faces == 0:
            counts = Counts(is_video=True)
            for frame in _frames(path, 1):
                counts.frames += 1
                counts.false_positives += len(self._detector.detect([frame])[0])
        return counts

    def _add(self, counts: Counts, frame: Frame) -> None:
        self._yunet.setInputSize((frame.shape[1], frame.shape[0]))
        faces = self._yunet.detect(np.ascontiguousarray(frame[..., ::-1]))[1]
        # Rows of x, y, width, height, five landmarks, score.
        faces = np.zeros((0, 15), np.float32) if faces is None else np.asarray(faces, np.float32)
        boxes = np.concatenate([faces[:, :2], faces[:, :2] + faces[:, 2:4]], 1)
        found, small = self._detector.detect([frame])[0], self._small_yunet.detect([frame])[0]
        counts.frames += 1
        for box in boxes[faces[:, 14] >= FACE]:
            counts.faces += 1
            counts.found += _overlaps(box, _boxes(found))
            counts.found_by_yunet += _overlaps(box, _boxes(small))
        counts.false_positives += sum(not _overlaps(box, boxes) for box in _boxes(found))


def _boxes(found: Sequence[Detection]) -> NDArray[np.float32]:
    return np.asarray([face.box for face in found], np.float32).reshape(-1, 4)


def _overlaps(box: NDArray[np.float32], boxes: NDArray[np.float32]) -> bool:
    return bool(box_iou(box, boxes).max(initial=0.0) >= IOU)


def _frames(path: Path, every: int) -> Iterator[Frame]:
    with av.open(str(path)) as container:
        for number, picture in enumerate(container.decode(video=0)):
            if number % every == 0:
                yield np.asarray(picture.to_ndarray(format="rgb24"), np.uint8)
