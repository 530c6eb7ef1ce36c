"""How many of YuNet's faces our detector finds on real clips, and how many it makes up.

YuNet looks at the full frame through OpenCV's ``FaceDetectorYN``; ours looks at the frame shrunk to
its input size. A face counts as found where the boxes overlap with IoU 0.5. YuNet is no ground truth:
what it misses cannot be missed here, and what we find beyond it counts as a false alarm unless it
sees at least a weak face there (score 0.4). Run it with::

    python -m affectstream.train.evaluate.detector face_detector.onnx yunet.onnx *.mp4 *.jpg

It prints a table, and one JSON document as its last line.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from affectstream.engines.runtimes.onnx import OnnxEngine
from affectstream.stream.faces.detect import Detection, Detector, DetectorSpec, box_iou

FACE = 0.7
"""Teacher score of a face that has to be found."""
MAYBE = 0.4
"""Teacher score of something that may be found or not."""
IOU = 0.5

Frame = NDArray[np.uint8]


@dataclass(slots=True)
class Tally:
    """Counts over one clip or picture; `landmarks` is a sum of distances in box widths."""

    name: str
    frames: int = 0
    faces: int = 0
    found: int = 0
    teacher_found: int = 0
    alarms: int = 0
    top_alarm: float = 0.0
    landmarks: float = 0.0


def compare(
    engine_path: Path,
    teacher_path: Path,
    videos: Sequence[Path],
    images: Sequence[Path],
    *,
    spec: DetectorSpec | None = None,
    every: int = 5,
) -> dict[str, Any]:
    """Counts for each file and in all, ready for JSON.

    Every `every`-th frame of a video is judged; a video without any face is then looked at by our
    detector frame by frame. For each file: ``frames``, the teacher's ``faces``, how many of them
    we ``found`` and how many the teacher itself found at our size (``teacher_found``), ``recall``
    (null without faces), ``alarms`` and the score of the surest one (``top_alarm``), and
    ``landmarks``, the mean distance from the teacher's landmarks in widths of the box.
    """
    spec = spec or DetectorSpec()
    judge = _Judge(engine_path, teacher_path, spec)
    tallies = [judge.picture(path) for path in images]
    tallies += [judge.video(path, every) for path in videos]
    whole = Tally("all")
    for tally in tallies:
        whole.top_alarm = max(whole.top_alarm, tally.top_alarm)
        for count in ("frames", "faces", "found", "teacher_found", "alarms", "landmarks"):
            setattr(whole, count, getattr(whole, count) + getattr(tally, count))
    return {
        "size": spec.size,
        "threshold": spec.threshold,
        "files": [_figures(tally) for tally in tallies],
        "all": _figures(whole),
    }


def table(result: dict[str, Any]) -> str:
    """`compare`'s result as aligned text, one file a line."""
    head = ("file", "frames", "faces", "recall", "teacher", "alarms", "top", "landmarks")
    lines = ["{:28}{:>8}{:>8}{:>9}{:>9}{:>8}{:>7}{:>11}".format(*head)]
    for row in [*result["files"], result["all"]]:
        recall = "-" if row["recall"] is None else f"{row['recall']:.3f}"
        teacher = "-" if not row["faces"] else f"{row['teacher_found'] / row['faces']:.3f}"
        misplaced = "-" if row["landmarks"] is None else f"{row['landmarks']:.3f}"
        lines.append(
            f"{row['name']:28}{row['frames']:8}{row['faces']:8}{recall:>9}{teacher:>9}"
            f"{row['alarms']:8}{row['top_alarm']:7.2f}{misplaced:>11}"
        )
    return "\n".join(lines)


class _Judge:
    def __init__(self, engine_path: Path, teacher_path: Path, spec: DetectorSpec) -> None:
        self.ours = Detector(OnnxEngine(engine_path), spec)
        small = DetectorSpec(spec.size, FACE, color="bgr", layout="nchw")
        self.small = Detector(OnnxEngine(teacher_path), small)
        # It warns of a setting that nobody made.
        cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_ERROR)
        self.teacher = cv2.FaceDetectorYN.create(str(teacher_path), "", (32, 32), MAYBE)

    def picture(self, path: Path) -> Tally:
        frame = cv2.imread(str(path), cv2.IMREAD_COLOR_RGB)
        if frame is None:
            raise ValueError(f"{path}: not a picture that OpenCV can read")
        tally = Tally(path.name)
        self._add(tally, np.asarray(frame, np.uint8))
        return tally

    def video(self, path: Path, every: int) -> Tally:
        tally = Tally(path.name)
        for frame in _frames(path, every):
            self._add(tally, frame)
        if tally.faces == 0 and every > 1:
            tally = Tally(path.name)
            for frame in _frames(path, 1):
                tally.frames += 1
                self._blame(tally, self.ours.detect([frame])[0])
        return tally

    def _add(self, tally: Tally, frame: Frame) -> None:
        wanted = self._taught(frame)
        found, small = self.ours.detect([frame])[0], self.small.detect([frame])[0]
        sure = wanted[wanted[:, 14] >= FACE]
        tally.frames += 1
        tally.faces += len(sure)
        for face in sure:
            tally.teacher_found += _best(face, small) is not None
            match = _best(face, found)
            if match is not None:
                tally.found += 1
                apart = match.landmarks - face[4:14].reshape(5, 2)
                tally.landmarks += float(np.hypot(apart[:, 0], apart[:, 1]).mean() / face[2])
        boxes = np.concatenate([wanted[:, :2], wanted[:, :2] + wanted[:, 2:4]], 1)
        alarms = [f for f in found if box_iou(_box(f), boxes).max(initial=0.0) < IOU]
        self._blame(tally, alarms)

    def _taught(self, frame: Frame) -> NDArray[np.float32]:
        """The teacher's faces at full size, (K, 15): x, y, width, height, landmarks, score."""
        self.teacher.setInputSize((frame.shape[1], frame.shape[0]))
        found = self.teacher.detect(np.ascontiguousarray(frame[..., ::-1]))[1]
        return np.zeros((0, 15), np.float32) if found is None else np.asarray(found, np.float32)

    @staticmethod
    def _blame(tally: Tally, alarms: Sequence[Detection]) -> None:
        tally.alarms += len(alarms)
        tally.top_alarm = max([tally.top_alarm, *(alarm.score for alarm in alarms)])


def _box(face: Detection) -> NDArray[np.float32]:
    return np.asarray(face.box, np.float32)


def _best(face: NDArray[np.float32], found: Sequence[Detection]) -> Detection | None:
    """The detection that overlaps a teacher's row most, where that is enough."""
    box = np.concatenate([face[:2], face[:2] + face[2:4]])
    shared = [float(box_iou(box, _box(f)[None])[0]) for f in found]
    best = int(np.argmax(shared)) if shared else -1
    return found[best] if shared and shared[best] >= IOU else None


def _frames(path: Path, every: int) -> Iterator[Frame]:
    with av.open(str(path)) as container:
        for number, picture in enumerate(container.decode(video=0)):
            if number % every == 0:
                yield np.asarray(picture.to_ndarray(format="rgb24"), np.uint8)


def _figures(tally: Tally) -> dict[str, Any]:
    row = asdict(tally)
    row["recall"] = tally.found / tally.faces if tally.faces else None
    row["landmarks"] = tally.landmarks / tally.found if tally.found else None
    return row


def main(argv: Sequence[str] | None = None) -> None:
    """Compare on the files named on the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("engine", type=Path, help="our face_detector.onnx")
    parser.add_argument("teacher", type=Path, help="YuNet's dynamic graph")
    parser.add_argument("files", type=Path, nargs="+", help="videos, and pictures (.jpg, .png)")
    parser.add_argument("--threshold", type=float, default=DetectorSpec().threshold)
    parser.add_argument("--every", type=int, default=5, help="judge every Nth frame")
    options = parser.parse_args(argv)
    images = [path for path in options.files if path.suffix.lower() in (".jpg", ".jpeg", ".png")]
    videos = [path for path in options.files if path not in images]
    spec = DetectorSpec(threshold=options.threshold)
    result = compare(
        options.engine, options.teacher, videos, images, spec=spec, every=options.every
    )
    print(table(result))
    print(json.dumps(result))


if __name__ == "__main__":
    main()
