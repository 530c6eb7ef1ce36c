"""Decoding of YuNet's twelve outputs: exact against OpenCV's own decoder, and by hand."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from affectstream.engines.manifest import DetectorPart
from affectstream.engines.runtimes.onnx import OnnxEngine
from affectstream.engines.spec import TensorSpec
from affectstream.stream.faces.detection.detect import (
    Detector,
    DetectorSpec,
    canvas_size,
    letterbox,
)
from affectstream.stream.faces.detection.yunet import STRIDES, decode_proposals, nms
from affectstream.stream.faces.face import Certainty


class FakeEngine:
    """Answers with a face wherever the picture's cell of stride 16 is white."""

    def __init__(self, shape: tuple[int | str, ...] = ("N", "H", "W", 3)) -> None:
        self.inputs = {"image": TensorSpec("image", shape, np.dtype(np.uint8))}
        self.outputs: dict[str, TensorSpec] = {}
        self.runtime = "fake"
        self.batches: list[int] = []

    def run(self, feeds: Any) -> dict[str, np.ndarray]:
        image = feeds["image"]
        self.batches.append(len(image))
        outputs = blank(len(image), image.shape[1], image.shape[2])
        cells = (image[:, 8::16, 8::16, 0] > 250).reshape(len(image), -1, 1)
        outputs["cls_16"] = outputs["obj_16"] = cells.astype(np.float32)
        return outputs

    def __enter__(self) -> "FakeEngine":
        return self

    def __exit__(self, *_: object) -> None:
        return None


def blank(count: int, height: int, width: int) -> dict[str, np.ndarray]:
    """Outputs that hold no face."""
    return {
        f"{name}_{stride}": np.zeros((count, height * width // stride**2, size), np.float32)
        for name, size in (("cls", 1), ("obj", 1), ("bbox", 4), ("kps", 10))
        for stride in STRIDES
    }


def test_one_cell_decodes_by_the_written_arithmetic() -> None:
    outputs = blank(1, 64, 96)
    cell = 1 * 6 + 2  # row 1, column 2 of the 4 x 6 grid of stride 16
    outputs["cls_16"][0, cell], outputs["obj_16"][0, cell] = 0.81, 1.0
    outputs["bbox_16"][0, cell] = (0.5, 0.25, np.log(2.0), np.log(3.0))
    outputs["kps_16"][0, cell] = np.arange(10) / 10
    (found,) = decode_proposals(outputs, 64, 96, 0.5)
    np.testing.assert_allclose(found.scores, [0.9], rtol=1e-6)
    np.testing.assert_allclose(found.boxes, [[40 - 16, 20 - 24, 40 + 16, 20 + 24]], rtol=1e-6)
    points = (np.arange(10).reshape(5, 2) / 10 + (2, 1)) * 16
    np.testing.assert_allclose(found.landmarks[0], points, rtol=1e-6)


def test_scores_outside_the_unit_range_are_clipped() -> None:
    outputs = blank(1, 32, 32)
    outputs["cls_32"][0, 0], outputs["obj_32"][0, 0] = 1.5, 0.64
    outputs["cls_8"][0, 0], outputs["obj_8"][0, 0] = -1.0, 1.0
    (found,) = decode_proposals(outputs, 32, 32, 0.1)
    np.testing.assert_allclose(found.scores, [0.8], rtol=1e-6)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda o: o.pop("kps_32"), "no output 'kps_32'"),
        (lambda o: o.update(bbox_8=o["bbox_8"][:, 1:]), r"output bbox_8 has shape"),
    ],
)
def test_outputs_that_do_not_fit_are_named(change: Any, message: str) -> None:
    outputs = blank(1, 64, 64)
    change(outputs)
    with pytest.raises(ValueError, match=message):
        decode_proposals(outputs, 64, 64, 0.5)


def test_overlapping_boxes_merge_and_ties_keep_their_order() -> None:
    boxes = np.array([[0, 0, 10, 10], [1, 0, 11, 10], [50, 50, 60, 60], [0, 0, 10, 10]], np.float32)
    scores = np.array([0.7, 0.9, 0.7, 0.7], np.float32)
    assert nms(boxes, scores, 0.3).tolist() == [1, 2]
    assert nms(boxes, np.full(4, 0.5, np.float32), 0.3).tolist() == [0, 2]
    assert nms(boxes, scores, 0.95).tolist() == [1, 0, 2]
    assert nms(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), 0.3).tolist() == []


def boxed(frame: NDArray[np.uint8], canvas: tuple[int, int] | None = None) -> NDArray[np.uint8]:
    out = np.full((*(canvas or canvas_size(frame.shape, 320)), 3), 77, np.uint8)
    letterbox(frame, out, 320)
    return out


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((360, 640), (192, 320)),
        ((640, 360), (320, 192)),
        ((512, 512), (320, 320)),
        ((100, 33), (128, 64)),
        ((1, 4000), (32, 320)),
    ],
)
def test_letterbox_is_made_of_whole_cells(
    shape: tuple[int, int], expected: tuple[int, int]
) -> None:
    canvas = boxed(np.full((*shape, 3), 200, np.uint8))
    assert canvas.shape == (*expected, 3)
    assert canvas[0, 0].tolist() == [200] * 3
    assert np.unique(canvas).tolist() in ([0, 200], [200])


def test_small_frames_are_not_blown_up() -> None:
    frame = np.arange(40 * 50 * 3, dtype=np.uint32).reshape(40, 50, 3).astype(np.uint8)
    canvas = boxed(frame)
    assert canvas.shape == (64, 64, 3)
    np.testing.assert_array_equal(canvas[:40, :50], frame)
    assert not canvas[40:].any()


def test_a_frame_that_is_no_picture_is_refused() -> None:
    with pytest.raises(ValueError, match="expected a frame"):
        letterbox(np.zeros((10, 10), np.uint8), np.zeros((32, 32, 3), np.uint8), 320)
    with pytest.raises(ValueError, match="does not fit the detector's 64x64"):
        letterbox(np.zeros((100, 100, 3), np.uint8), np.zeros((64, 64, 3), np.uint8), 320)


@pytest.mark.parametrize("shape", [(360, 640), (719, 1279), (200, 150), (1000, 300)])
def test_boxes_come_back_in_frame_pixels(shape: tuple[int, int]) -> None:
    """A white patch in the frame comes back as a box around the patch, whatever the shrinking."""
    height, width = shape
    scale = max(1.0, max(shape) / 320)
    x, y = 4.5 * 16 * scale, 3.5 * 16 * scale  # the middle of cell (3, 4) after shrinking
    frame = np.zeros((height, width, 3), np.uint8)
    reach = 7 * scale
    frame[int(y - reach) : int(y + reach), int(x - reach) : int(x + reach)] = 255
    ((face,),) = Detector(FakeEngine(), DetectorSpec()).detect([frame])
    left, top, right, bottom = face.box
    # The fake puts the centre of the box on the cell's corner, and makes it one cell large.
    assert (left + right) / 2 == pytest.approx(x - 8 * scale, abs=scale)
    assert (top + bottom) / 2 == pytest.approx(y - 8 * scale, abs=scale)
    assert right - left == pytest.approx(16 * scale, rel=0.02)
    assert face.landmarks.shape == (5, 2)
    assert face.landmarks.dtype == np.float32
    assert face.score == 1.0


def test_no_face_is_an_empty_list_for_each_frame() -> None:
    detector = Detector(FakeEngine(), DetectorSpec())
    black = np.zeros((90, 160, 3), np.uint8)
    assert detector.detect([black, black, black]) == [[], [], []]
    assert detector.detect([]) == []


def test_batches_are_filled_up_to_a_slot_or_split() -> None:
    frames = [np.zeros((64, 64, 3), np.uint8) for _ in range(3)]
    frames[1][24, 24] = 255
    whole, single = FakeEngine(), FakeEngine((1, "H", "W", 3))
    for engine in (whole, single):
        found = Detector(engine, DetectorSpec()).detect(frames)
        assert [len(faces) for faces in found] == [0, 1, 0]
    assert whole.batches == [4]
    assert single.batches == [1, 1, 1]


def test_max_faces_keeps_the_best() -> None:
    frame = np.full((128, 128, 3), 255, np.uint8)
    assert len(Detector(FakeEngine(), DetectorSpec(max_faces=3)).detect([frame])[0]) == 3


def test_frames_of_two_sizes_and_bad_engines_are_refused() -> None:
    detector = Detector(FakeEngine(), DetectorSpec())
    with pytest.raises(ValueError, match="one size"):
        detector.detect([np.zeros((64, 64, 3), np.uint8), np.zeros((64, 96, 3), np.uint8)])
    with pytest.raises(ValueError, match="four axes"):
        Detector(FakeEngine(("N", "H", "W")), DetectorSpec())


@pytest.mark.parametrize(
    "wrong", [{"size": 8}, {"threshold": 0.0}, {"nms_iou": 1.0}, {"max_faces": 0}]
)
def test_spec_is_checked(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="found"):
        DetectorSpec(**wrong)


def test_a_bundle_states_what_the_scores_of_its_detector_mean() -> None:
    part = DetectorPart("a.onnx", "0" * 64, input_size=256, threshold=0.5, certain=0.7, clear=0.9)
    spec = DetectorSpec.of(part)
    assert [spec.certainty(score) for score in (0.69, 0.7, 0.9)] == list(Certainty)
    older = DetectorSpec.of(DetectorPart("a.onnx", "0" * 64, input_size=256, threshold=0.45))
    assert [older.certainty(score) for score in (0.54, 0.55, 0.8)] == list(Certainty)


@pytest.mark.data
@pytest.mark.parametrize("model", ["yunet_n_dynamic.onnx", "yunet_n_320_320.onnx"])
def test_decodes_yunet_as_opencv_does(data_root: Path, model: str) -> None:
    """YuNet drops in, and our decoding of it equals FaceDetectorYN on the same canvas."""
    frame = cv2.imread(str(data_root / "images/multi_face.jpg"), cv2.IMREAD_COLOR_RGB)
    assert frame is not None
    spec = DetectorSpec(size=320, threshold=0.5, color="bgr", layout="nchw")
    path = data_root / "models" / model
    found = Detector(OnnxEngine(path), spec).detect([np.asarray(frame, np.uint8)])[0]

    fixed = (320, 320) if "320" in model else None
    canvas = boxed(np.asarray(frame, np.uint8), fixed)
    height, width = canvas.shape[:2]
    theirs = cv2.FaceDetectorYN.create(str(path), "", (width, height), 0.5, 0.3)
    rows = theirs.detect(np.ascontiguousarray(canvas[..., ::-1]))[1]
    back = np.array([frame.shape[1] / 320, frame.shape[0] / round(frame.shape[0] * 0.32)])

    assert len(found) == len(rows) == 5
    for face, row in zip(found, sorted(rows, key=lambda row: -row[14]), strict=True):
        corners = np.array([row[:2], row[:2] + row[2:4]]) * back
        np.testing.assert_allclose(np.array(face.box).reshape(2, 2), corners, atol=0.05)
        np.testing.assert_allclose(face.landmarks, row[4:14].reshape(5, 2) * back, atol=0.05)
        assert face.score == pytest.approx(row[14], abs=1e-4)
