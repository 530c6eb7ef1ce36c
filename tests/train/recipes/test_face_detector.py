"""The face detector's recipe: faces known on canvases, a loss that falls, an engine of any size."""

import copy
from dataclasses import replace
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("skimage")

import torch

from affectstream.engines.bundle.shapes import YUNET_OUTPUTS
from affectstream.engines.runtimes.onnx import OnnxEngine
from affectstream.stream.faces.detect import Detector, DetectorSpec
from affectstream.stream.faces.yunet import STRIDES, decode_proposals
from affectstream.train.errors import DataMissing
from affectstream.train.evaluate.detector import roll_between, turn_boxes
from affectstream.train.loader.canvas_batches import CanvasBatches
from affectstream.train.loader.face_canvases import Canvases, free_pictures
from affectstream.train.loader.face_photos import is_held, read_photos, thinned
from affectstream.train.loader.face_scene import Faces, Head, Scene, moved
from affectstream.train.recipe import Batch
from affectstream.train.recipes.face_detector import PARTS, RECIPE

POINTS = np.array([[60, 80], [120, 80], [90, 110], [65, 140], [115, 140]], np.float32)
FACE = Faces(np.array([[30, 40, 150, 180]], np.float32), POINTS[None], np.array([True]))


@pytest.fixture(scope="module")
def canvases() -> Canvases:
    rng = np.random.default_rng(0)
    heads = [Head(rng.integers(0, 256, (200 + 9 * k, 180), np.uint8), FACE) for k in range(3)]
    return Canvases(heads, free_pictures())


def lesson(height: int, width: int) -> Batch:
    """A batch of two pictures with a face each, and a face that may be found or not."""
    faces = torch.full((2, 3, 15), -1.0)
    for column, sure in ((0, 1.0), (1, 0.0)):
        faces[:, column, :4] = torch.tensor([8.0, 4.0, 36.0, 44.0]) + 30.0 * column
        faces[:, column, 4:14] = torch.arange(10.0) + 14.0 + 30.0 * column
        faces[:, column, 14] = sure
    return {
        "grey": torch.randint(0, 256, (2, 1, height, width), dtype=torch.uint8),
        "faces": faces,
    }


def test_canvases_are_a_function_of_the_seed(canvases: Canvases) -> None:
    first = [canvases.make(96, 160, np.random.default_rng([1, k])) for k in range(12)]
    again = [canvases.make(96, 160, np.random.default_rng([1, k])) for k in range(12)]
    for (picture, faces), (same, likewise) in zip(first, again, strict=True):
        assert picture.shape == (96, 160)
        assert picture.dtype == np.uint8
        np.testing.assert_array_equal(picture, same)
        np.testing.assert_array_equal(faces.landmarks, likewise.landmarks)
    assert len({picture.tobytes() for picture, _ in first}) == 12
    assert any(len(faces.boxes) for _, faces in first)


def test_workers_make_the_same_batches(canvases: Canvases) -> None:
    config = replace(RECIPE.defaults, batch_size=2)
    alone = list(islice(CanvasBatches(canvases, config).epoch(3), 4))
    ahead = list(islice(CanvasBatches(canvases, replace(config, workers=2)).epoch(3), 4))
    for batch, likewise in zip(alone, ahead, strict=True):
        assert torch.equal(batch["grey"], likewise["grey"])
        assert torch.equal(batch["faces"], likewise["faces"])


def test_faceless_heads_are_no_faces_and_the_dark_need_not_be_found() -> None:
    rng = np.random.default_rng(0)
    head = Head(rng.integers(0, 256, (200, 180), np.uint8), FACE)
    dark = Head(np.full((200, 180), 3, np.uint8), FACE)
    found = [
        [
            Canvases([one], free_pictures()).make(160, 160, np.random.default_rng(k))[1]
            for k in range(40)
        ]
        for one in (head, dark)
    ]
    assert any(faces.certain.any() for faces in found[0])
    covered = Canvases([head], free_pictures())._without_face(head, rng)
    assert len(covered.faces.boxes) == 0
    assert (covered.pixels != head.pixels)[80:140, 70:110].mean() > 0.9
    certain = [faces.certain.sum() / max(1, len(faces.boxes)) for faces in found[1]]
    assert np.mean(certain) < 0.6


def test_small_pictures_serve_for_small_faces() -> None:
    rng = np.random.default_rng(0)
    crop = Head(rng.integers(0, 256, (200, 180), np.uint8), FACE, zoom=0.5)
    for k in range(20):
        faces = Canvases([crop], free_pictures()).make(256, 256, np.random.default_rng(k))[1]
        sides = faces.boxes[:, 2:] - faces.boxes[:, :2]
        assert (np.sqrt(sides.prod(1)) < 160).all()  # a magnified detail, 0.5 times 2


def test_every_turned_head_is_kept_and_a_third_of_the_others() -> None:
    heads = [Head(np.zeros((9, 9), np.uint8), FACE, turned=0.5 * (k % 4 == 0)) for k in range(24)]
    kept = thinned(heads)
    assert sum(head.turned > 0 for head in kept) == 6
    assert sum(head.turned == 0 for head in kept) == 6
    assert kept == [head for head in heads if head in kept]


def test_pictures_in_a_folder_join_the_free_ones(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "one.jpg"), np.full((900, 300), 7, np.uint8))
    free = free_pictures(tmp_path)
    assert len(free) == len(free_pictures()) + 1 == len(free_pictures(tmp_path / "absent")) + 1
    assert free[-1].shape == (640, 213)


def test_canvases_need_pictures() -> None:
    with pytest.raises(ValueError, match="found 0 heads"):
        Canvases([], free_pictures())


@pytest.mark.parametrize("degrees", [-120, -30, 20, 90])
def test_landmarks_turn_with_the_head(degrees: float) -> None:
    angle = np.deg2rad(degrees)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    turned = moved(FACE, 0.5 * turn, np.array([7.0, 9.0]))
    assert roll_between(POINTS, turned.landmarks[0]) == pytest.approx(degrees, abs=0.01)
    np.testing.assert_allclose(
        turned.boxes[0].reshape(2, 2).mean(0), 0.5 * turn @ (90, 110) + (7, 9), atol=1e-4
    )
    if degrees == 90:
        np.testing.assert_allclose(turned.boxes[0, 2:] - turned.boxes[0, :2], (70, 60), atol=1e-4)


def test_right_stays_right_in_a_mirror() -> None:
    """The subject's right eye is on the left of the picture, before and after."""
    points = moved(FACE, np.diag([-1.0, 1.0]), np.array([180.0, 0.0])).landmarks[0]
    assert points[0, 0] < points[1, 0]
    assert points[3, 0] < points[4, 0]


def test_scene_knows_which_faces_are_visible_and_turns_them() -> None:
    scene = Scene(np.zeros((220, 200), np.uint8))
    scene.photo(FACE, np.ones((220, 200), bool))
    turned = scene.turn(1)
    assert turned.pixels.shape == (200, 220)
    expected = turn_boxes(FACE.boxes, 199, 219, 1)  # of a picture whose pixels are points
    np.testing.assert_allclose(turned.faces().boxes, expected)

    def cover(share: float) -> Faces:
        scene.draw(lambda pixels: pixels[40 : 40 + int(140 * share)].fill(9))
        return scene.faces()

    assert cover(0.2).certain.tolist() == [True]
    assert cover(0.6).certain.tolist() == [False]
    assert len(cover(1.0).boxes) == 0


def test_loss_is_finite_with_and_without_faces_and_falls() -> None:
    torch.manual_seed(0)
    module, batch = RECIPE.module(), lesson(64, 96)
    optimizer = torch.optim.AdamW(module.parameters(), lr=3e-3)
    losses = []
    for _ in range(12):
        loss = RECIPE.loss(module, batch)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]
    nothing = {"grey": batch["grey"], "faces": torch.full((2, 3, 15), -1.0)}
    assert np.isfinite(RECIPE.loss(module, nothing).item())


class Fixed(torch.nn.Module):
    """Finds one face in each picture: from the cell in column 2, row 3 of stride 8, with the given score."""

    def __init__(self, score: float) -> None:
        super().__init__()
        self.score = score

    def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, ...]:
        count, height, width = image.shape[:3]
        outputs = {
            f"{name}_{stride}": torch.zeros(count, height * width // stride**2, size)
            for name, size in PARTS
            for stride in STRIDES
        }
        cell = 3 * width // 8 + 2
        outputs["cls_8"][:, cell] = outputs["obj_8"][:, cell] = self.score
        outputs["bbox_8"][:, cell] = torch.tensor([0.75, 0.0, np.log(3.5), np.log(5.0)])
        outputs["kps_8"][:, cell] = (torch.arange(10.0) + 14.0) / 8 - torch.tensor(
            [2.0, 3.0]
        ).repeat(5)
        return tuple(outputs[name] for name in YUNET_OUTPUTS)


def test_validation_knows_the_faces_and_leaves_uncertain_ones_out() -> None:
    batch = lesson(64, 96)
    outputs = dict(zip(YUNET_OUTPUTS, Fixed(1.0)(batch["grey"].permute(0, 2, 3, 1)), strict=True))
    found = decode_proposals({k: v.numpy() for k, v in outputs.items()}, 64, 96, 0.5)[0]
    np.testing.assert_allclose(found.boxes[0], batch["faces"][0, 0, :4], atol=1e-4)
    metrics = RECIPE.validate(Fixed(1.0), [batch])
    assert metrics == pytest.approx({"f1": 1, "recall": 1, "alarms": 0, "landmarks": 0}, abs=1e-5)
    assert RECIPE.validate(Fixed(0.0), [batch])["recall"] == 0.0
    nothing = {**batch, "faces": torch.full((2, 3, 15), -1.0)}
    assert RECIPE.validate(Fixed(1.0), [nothing])["alarms"] == 1.0


def test_engine_takes_any_size_and_number(tmp_path: Path) -> None:
    module = RECIPE.module().eval().requires_grad_(False)
    (path,) = RECIPE.export(copy.deepcopy(module), tmp_path)
    assert path.name == "face_detector.onnx"
    with OnnxEngine(path) as engine:
        assert tuple(engine.outputs) == YUNET_OUTPUTS
        for shape in ((1, 64, 96, 3), (3, 32, 256, 3)):
            image = torch.randint(0, 256, shape, dtype=torch.uint8)
            found = engine.run({"image": image.numpy()})
            for name, wanted in zip(YUNET_OUTPUTS, module(image), strict=True):
                np.testing.assert_allclose(found[name], wanted.numpy(), atol=1e-3)
        frame = np.zeros((90, 160, 3), np.uint8)
        assert Detector(engine, DetectorSpec(threshold=0.9)).detect([frame, frame]) == [[], []]


def test_one_person_is_on_one_side() -> None:
    names = [f"images/Person_{k}_{n:04d}.jpg" for k in range(400) for n in (1, 2)]
    sides = [is_held(name) for name in names]
    assert sides[::2] == sides[1::2]
    assert 5 <= sum(sides[::2]) <= 40


def test_absent_photos_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataMissing, match="faces_in_context"):
        read_photos(tmp_path)
