"""Face detectors side by side, on upright and turned pictures: faces found, false positives, roll, cost.

The faces that have to be found are those that YuNet finds on the full, upright frame of real clips, through
OpenCV's ``FaceDetectorYN``. The detectors run at their input size, on the frame as it is and turned by 90,
180 and 270 degrees; YuNet's boxes turn along. A face is found if the boxes overlap with IoU 0.5. YuNet is no
ground truth: a face that it misses cannot be missed here.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from affectstream.engines.runtimes.onnx import OnnxEngine
from affectstream.stream.faces.box import holds
from affectstream.stream.faces.detection.detect import Detector, DetectorSpec, canvas_size
from affectstream.stream.faces.detection.upright import find_at_any_angle
from affectstream.stream.faces.detection.yunet import box_iou
from affectstream.stream.faces.face import Face
from affectstream.train.errors import DataMissing
from affectstream.train.loader.faces.photos import YUNET, read_photos
from affectstream.train.metrics import line

FACE = 0.7
"""YuNet's score of a face that has to be found."""
WEAK_FACE = 0.4
"""YuNet's score of a face that may be found or not."""
IOU = 0.5
EVERY = 5
"""Frames of a video from one evaluated frame to the next."""
QUARTERS = (0, 1, 2, 3)
"""Turns of a picture, in quarters counterclockwise."""
ANGLES = range(-45, 46, 5)
"""Turns of a portrait in degrees, clockwise."""
PORTRAIT = 384
"""Side of the square picture in which a portrait turns."""
ROUNDS = 100
"""Timed runs of each detector, taken in turns."""

Frame = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Candidate:
    """A detector to measure: its name in the table, its ONNX file and how it is used."""

    name: str
    path: Path
    spec: DetectorSpec


def yunet_at(size: int, data: Path) -> Candidate:
    """YuNet itself on frames scaled down to `size`."""
    return Candidate(
        f"YuNet, {size} px", data / YUNET, DetectorSpec(size, FACE, color="bgr", layout="nchw")
    )


@dataclass(slots=True)
class Score:
    """What one detector did."""

    found: list[int] = field(default_factory=lambda: [0, 0, 0, 0])
    """Of YuNet's faces, by turn."""
    alarms: int = 0
    """Detections in pictures without a face."""
    extra: int = 0
    """Detections in upright frames with faces where YuNet has not even a weak face."""
    turned: list[tuple[float, float]] = field(default_factory=list)
    """Of portraits that were found: true and measured roll in degrees."""
    portraits: int = 0
    """Turned portraits, found or not."""
    milliseconds: float = 0.0
    """Of one frame of 16:9 on one core, the engine alone."""

    @property
    def leaning(self) -> float:
        """The share of the turned portraits that were found."""
        return len(self.turned) / max(1, self.portraits)

    def roll(self) -> tuple[float, float]:
        """Slope of the measured roll over the true one, and standard deviation around it in degrees."""
        if len(self.turned) < 3:
            return 0.0, 0.0
        true, measured = np.array(self.turned).T
        _, slope, offset = line(true, measured)
        return slope, float(np.std(measured - slope * true - offset))


def as_table(candidates: Sequence[Candidate], comparison: DetectorComparison) -> list[list[str]]:
    """The scores, a row for each detector, its header first."""
    angles = ["upright", "90", "180", "270", "leaning"]
    head = ["detector", *angles, "alarms", "extra", "roll", "residual", "ms"]
    rows = []
    for one, score in zip(candidates, comparison.scores, strict=True):
        slope, spread = score.roll()
        found = [f"{100 * count / max(1, comparison.faces):.1f}" for count in score.found]
        found.append(f"{100 * score.leaning:.1f}")
        tail = [f"{slope:.3f}", f"{spread:.1f}", f"{score.milliseconds:.2f}"]
        rows.append([one.name, *found, f"{score.alarms}", f"{score.extra}", *tail])
    return [head, *rows]


class DetectorComparison(AbstractContextManager["DetectorComparison"]):
    """Detectors beside each other on the same pictures. Closes their engines on exit."""

    def __init__(self, candidates: Sequence[Candidate], data: Path) -> None:
        """Raises `DataMissing` if YuNet is not in `data`, `EngineError` for a file that cannot be opened."""
        yunet = data / YUNET
        if not yunet.exists():
            raise DataMissing(
                f"{yunet} not found: detectors are measured on the faces that it finds"
            )
        # OpenCV warns about a setting that nobody made.
        cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_ERROR)
        self._yunet = cv2.FaceDetectorYN.create(str(yunet), "", (32, 32), WEAK_FACE)
        with ExitStack() as stack:
            self._engines = [
                stack.enter_context(OnnxEngine(one.path, threads=1)) for one in candidates
            ]
            self._stack = stack.pop_all()
        self._detectors = [
            Detector(engine, one.spec)
            for engine, one in zip(self._engines, candidates, strict=True)
        ]
        self.scores = [Score() for _ in candidates]
        self.faces = 0
        """YuNet's faces in clips."""
        self.empty = 0
        """Pictures without a face."""

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def clip(self, path: Path) -> None:
        """Every `EVERY`-th frame of a clip; each frame of a clip in which YuNet finds no face."""
        faces = self.faces
        for frame in _frames(path, EVERY):
            self._frame(frame)
        if self.faces == faces:
            for frame in _frames(path, 1):
                self.without_face(frame)

    def picture(self, path: Path) -> None:
        """A picture that counts if YuNet finds no face in it. Raises `ValueError` if it is no picture."""
        read = cv2.imread(str(path), cv2.IMREAD_COLOR_RGB)
        if read is None:
            raise ValueError(f"{path}: not a picture that OpenCV can read")
        frame = np.asarray(read, np.uint8)
        if not len(self._teacher(frame)[0]):
            self.without_face(frame)

    def without_face(self, frame: Frame) -> None:
        """A frame (H, W, 3) uint8 RGB that shows no face: whatever is found is a false alarm."""
        self.empty += 1
        for detector, score in zip(self._detectors, self.scores, strict=True):
            score.alarms += len(_find(detector, frame))

    def portrait(self, photo: Frame) -> None:
        """Turn a photo (H, W, 3) uint8 RGB of one person around the face by `ANGLES`.

        The true roll is the angle by which the photo was turned, beside YuNet's landmarks of the upright one.
        """
        rows, points = self._teacher(photo)
        if not len(rows):
            return
        face, upright = rows[0], points[0]
        center, side = (face[:2] + face[2:]) / 2, float(np.sqrt(np.prod(face[2:] - face[:2])))
        for angle in ANGLES:
            # OpenCV's angle is counterclockwise. The face takes a third of the picture.
            matrix = cv2.getRotationMatrix2D(tuple(map(float, center)), -angle, PORTRAIT / 3 / side)
            matrix[:, 2] += PORTRAIT / 2 - center
            size = (PORTRAIT, PORTRAIT)
            turned = cv2.warpAffine(photo, matrix, size, borderMode=cv2.BORDER_REPLICATE)
            for detector, score in zip(self._detectors, self.scores, strict=True):
                score.portraits += 1
                found = _find(detector, np.asarray(turned, np.uint8))
                if found and holds(found[0].box, PORTRAIT / 2, PORTRAIT / 2):
                    score.turned.append((angle, roll_between(upright, found[0].landmarks)))

    def time(self) -> None:
        """Measure the cost of one frame of 16:9, the engines in turns: the fastest of `ROUNDS` runs."""
        rng = np.random.default_rng(0)
        feeds = []
        for detector, engine in zip(self._detectors, self._engines, strict=True):
            rows, columns = canvas_size((1080, 1920), detector.spec.size)
            (name, spec), layout = next(iter(engine.inputs.items())), detector.spec.layout
            shape = (1, rows, columns, 3) if layout == "nhwc" else (1, 3, rows, columns)
            feeds.append({name: rng.integers(0, 256, shape).astype(spec.dtype)})
        times = np.zeros((ROUNDS, len(feeds)))
        for row in times:
            for k, (engine, feed) in enumerate(zip(self._engines, feeds, strict=True)):
                start = time.perf_counter()
                engine.run(feed)
                row[k] = time.perf_counter() - start
        for score, fastest in zip(self.scores, times.min(0), strict=True):
            score.milliseconds = float(fastest * 1e3)

    def _teacher(self, frame: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """YuNet's boxes (K, 4) and landmarks (K, 5, 2) from score `FACE` on, at full size."""
        rows = self._rows(frame)
        sure = rows[rows[:, 14] >= FACE]
        return _corners(sure), sure[:, 4:14].reshape(-1, 5, 2)

    def _rows(self, frame: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Rows of x, y, width, height, five landmarks, score."""
        self._yunet.setInputSize((frame.shape[1], frame.shape[0]))
        found = self._yunet.detect(np.ascontiguousarray(frame[..., ::-1]))[1]
        return np.zeros((0, 15), np.float32) if found is None else np.asarray(found, np.float32)

    def _frame(self, frame: Frame) -> None:
        rows = self._rows(frame)
        weak, sure = _corners(rows), _corners(rows[rows[:, 14] >= FACE])
        if not len(sure):
            return
        self.faces += len(sure)
        for quarters in QUARTERS:
            turned = np.ascontiguousarray(np.rot90(frame, quarters))
            boxes = turn_boxes(sure, frame.shape[1], frame.shape[0], quarters)
            for detector, score in zip(self._detectors, self.scores, strict=True):
                found = _boxes(_find(detector, turned))
                score.found[quarters] += sum(_overlaps(box, found) for box in boxes)
                if quarters == 0:
                    score.extra += sum(not _overlaps(box, weak) for box in found)


def _find(detector: Detector, frame: Frame) -> list[Face]:
    """As recordings are looked at: what may lie on its side or lean again."""
    return find_at_any_angle(detector, [frame])[0]


def turn_boxes(
    boxes: NDArray[np.float32], width: int, height: int, quarters: int
) -> NDArray[np.float32]:
    """Boxes (K, 4) of a picture of that size after ``np.rot90(picture, quarters)``."""
    for _ in range(quarters):
        x0, y0, x1, y1 = boxes.T
        boxes = np.stack([y0, width - x1, y1, width - x0], 1)
        width, height = height, width
    return boxes


def roll_between(upright: NDArray[np.float32], found: NDArray[np.float32]) -> float:
    """Degrees clockwise by which landmarks `found` (5, 2) are turned against `upright` (5, 2): the angle of
    the best similarity (Umeyama, 1991)."""
    a, b = (points - points.mean(0) for points in (upright.astype(float), found.astype(float)))
    cross = float((a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]).sum())
    return float(np.degrees(np.arctan2(cross, float((a * b).sum()))))


def _corners(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.concatenate([rows[:, :2], rows[:, :2] + rows[:, 2:4]], 1)


def _boxes(found: Sequence[Face]) -> NDArray[np.float32]:
    return np.asarray([face.box for face in found], np.float32).reshape(-1, 4)


def _overlaps(box: NDArray[np.float32], boxes: NDArray[np.float32]) -> bool:
    return bool(box_iou(box, boxes).max(initial=0.0) >= IOU)


def _frames(path: Path, every: int) -> Iterator[Frame]:
    with av.open(str(path)) as container:
        for number, picture in enumerate(container.decode(video=0)):
            if number % every == 0:
                yield np.asarray(picture.to_ndarray(format="rgb24"), np.uint8)


def compare_detectors(
    candidates: Sequence[Candidate], data: Path, *, cost: bool = False
) -> DetectorComparison:
    """Measure detectors on the clips in ``video/``, the pictures in ``images/`` and portraits of people that
    `face_detector` was not trained on, and with `cost` their time. Raises `DataMissing`."""
    for path in (data / "video", data / "images"):
        if not path.exists():
            raise DataMissing(
                f"{path} not found: detectors are measured on clips in video/ and pictures in images/, "
                f"beside {YUNET}"
            )
    with DetectorComparison(candidates, data) as comparison:
        for path in sorted((data / "images").iterdir()):
            comparison.picture(path)
        for path in sorted(p for p in (data / "video").iterdir() if p.suffix in {".mp4", ".mov"}):
            comparison.clip(path)
        for photo in read_photos(data)[1]:
            comparison.portrait(photo)
        if cost:
            comparison.time()
    return comparison
