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
import torch.nn.functional as F  # noqa: N812

from affectstream.engines.bundle.shapes import YUNET_OUTPUTS
from affectstream.engines.runtimes.onnx import OnnxEngine
from affectstream.stream.faces.detection.detect import Detector, DetectorSpec
from affectstream.stream.faces.detection.yunet import STRIDES, decode_proposals
from affectstream.train.errors import DataMissing
from affectstream.train.evaluate.parts.detector import roll_between, turn_boxes
from affectstream.train.loader.faces.batches import CanvasBatches, turn_canvas
from affectstream.train.loader.faces.canvases import Canvas, Canvases
from affectstream.train.loader.faces.degrade import Picture
from affectstream.train.loader.faces.heads import YUNET, Faces, Head, thinned
from affectstream.train.loader.faces.photos import free_pictures, is_held, read_photos
from affectstream.train.networks.yunet import PARTS, read_yunet
from affectstream.train.recipe import Batch
from affectstream.train.recipes.face_detector import RECIPE, _decoded, _turned_answers

TEACHER = tuple(f"teacher_{stride}" for stride in STRIDES)
POINTS = np.array([[60, 80], [120, 80], [90, 110], [65, 140], [115, 140]], np.float32)
FACE = Faces(np.array([[30, 40, 150, 180]], np.float32), POINTS[None], np.array([True]))


@pytest.fixture(scope="module")
def free() -> list[Picture]:
    return free_pictures()[::6]


@pytest.fixture(scope="module")
def canvases(free: list[Picture]) -> Canvases:
    rng = np.random.default_rng(0)
    heads = [Head(rng.integers(0, 256, (200 + 9 * k, 180), np.uint8), FACE) for k in range(3)]
    return Canvases(heads, free)


def lesson(side: int) -> Batch:
    """A batch of two pictures with a face each, and a face that may be found or not, and what a teacher
    answers at random."""
    faces = torch.full((2, 3, 15), -1.0)
    for column, sure in ((0, 1.0), (1, 0.0)):
        faces[:, column, :4] = torch.tensor([8.0, 4.0, 36.0, 44.0]) + 30.0 * column
        faces[:, column, 4:14] = torch.arange(10.0) + 14.0 + 30.0 * column
        faces[:, column, 14] = sure
    pictures = torch.randint(0, 256, (2, 3, side, side), dtype=torch.uint8)
    sizes = {f"teacher_{stride}": (2, 16, side // stride, side // stride) for stride in STRIDES}
    return {
        "turned": pictures,
        "turn": torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]).expand(2, 2, 3),
        "faces": faces,
        **{name: torch.randn(size) for name, size in sizes.items()},
    }


def test_canvases_are_a_function_of_the_seed(canvases: Canvases) -> None:
    first = [canvases.make(96, np.random.default_rng([1, k])) for k in range(12)]
    again = [canvases.make(96, np.random.default_rng([1, k])) for k in range(12)]
    for (picture, faces), (same, likewise) in zip(first, again, strict=True):
        assert picture.shape == (96, 96, 3)
        assert picture.dtype == np.uint8
        np.testing.assert_array_equal(picture, same)
        np.testing.assert_array_equal(faces.landmarks, likewise.landmarks)
    assert len({picture.tobytes() for picture, _ in first}) == 12
    assert any(len(faces.boxes) for _, faces in first)


def test_workers_make_the_same_batches(canvases: Canvases) -> None:
    config = replace(RECIPE.defaults, batch_size=2)
    alone = list(islice(CanvasBatches(canvases, shrunk, config).epoch(3), 4))
    workers = replace(config, workers=2)
    ahead = list(islice(CanvasBatches(canvases, shrunk, workers).epoch(3), 4))
    for batch, likewise in zip(alone, ahead, strict=True):
        assert set(batch) == {"upright", "turned", "turn", "faces", *TEACHER}
        for name, values in batch.items():
            assert torch.equal(values, likewise[name])


def shrunk(pictures: torch.Tensor) -> list[torch.Tensor]:
    """Stands in for a teacher: grids of the mean brightness."""
    grids = (F.avg_pool2d(pictures, stride)[:, :1].expand(-1, 16, -1, -1) for stride in STRIDES)
    return list(grids)


def test_the_dark_need_not_be_found(free: list[Picture]) -> None:
    coarse = np.random.default_rng(0).integers(0, 256, (10, 9), np.uint8)
    levels = np.asarray(cv2.resize(coarse, (180, 200)), np.uint8)
    shares = []
    for pixels in (levels, np.full((200, 180), 3, np.uint8)):
        made = Canvases([Head(pixels, FACE)], free)
        found = [made.make(160, np.random.default_rng(k))[1] for k in range(40)]
        certain = np.concatenate([faces.certain for faces in found])
        shares.append(certain.mean())
    assert shares[0] > 0.5 > shares[1]


def test_small_pictures_serve_for_small_faces(free: list[Picture]) -> None:
    rng = np.random.default_rng(0)
    crop = Head(rng.integers(0, 256, (200, 180), np.uint8), FACE, zoom=0.5)
    for k in range(20):
        faces = Canvases([crop], free).make(256, np.random.default_rng(k))[1]
        sides = faces.boxes[:, 2:] - faces.boxes[:, :2]
        assert (np.sqrt(sides.prod(1)) < 160).all()


def test_every_turned_head_is_kept_and_a_third_of_the_others() -> None:
    heads = [Head(np.zeros((9, 9), np.uint8), FACE, turned=0.5 * (k % 4 == 0)) for k in range(24)]
    kept = thinned(heads)
    assert sum(head.turned > 0 for head in kept) == 6
    assert sum(head.turned == 0 for head in kept) == 6
    assert all(head in heads for head in kept)


def test_pictures_in_a_folder_join_the_free_ones(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "one.jpg"), np.full((900, 300), 7, np.uint8))
    free = free_pictures(tmp_path)
    assert len(free) == len(free_pictures()) + 1 == len(free_pictures(tmp_path / "absent")) + 1
    assert free[-1].shape == (640, 213, 3)


def test_canvases_need_pictures(free: list[Picture]) -> None:
    with pytest.raises(ValueError, match="found 0 heads"):
        Canvases([], free)


@pytest.mark.parametrize("degrees", [-120, -30, 20, 90])
def test_landmarks_turn_with_the_head(degrees: float) -> None:
    angle = np.deg2rad(degrees)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    turned = FACE.moved(np.column_stack([0.5 * turn, (7.0, 9.0)]))
    assert roll_between(POINTS, turned.landmarks[0]) == pytest.approx(degrees, abs=0.01)
    np.testing.assert_allclose(
        turned.boxes[0].reshape(2, 2).mean(0), 0.5 * turn @ (90, 110) + (7, 9), atol=1e-4
    )
    if degrees == 90:
        np.testing.assert_allclose(turned.boxes[0, 2:] - turned.boxes[0, :2], (70, 60), atol=1e-4)


def test_right_stays_right_in_a_mirror() -> None:
    """The subject's right eye is on the left of the picture, before and after."""
    points = FACE.moved(np.array([[-1.0, 0, 180], [0, 1, 0]])).landmarks[0]
    assert points[0, 0] < points[1, 0]
    assert points[3, 0] < points[4, 0]


def test_a_canvas_knows_which_faces_are_visible() -> None:
    levels = np.random.default_rng(0).integers(0, 256, (220, 220, 3), np.uint8)
    for share, certain in ((0.2, [True]), (0.6, [False]), (1.0, [])):
        canvas = Canvas(levels)
        canvas.paste(levels, np.full((220, 220), 255, np.uint8), np.eye(2, 3), FACE)
        cover = levels[: int(140 * share)]
        canvas.paste(
            cover, np.full(cover.shape[:2], 255, np.uint8), np.array([[1.0, 0, 0], [0, 1, 40]])
        )
        assert canvas.faces().certain.tolist() == certain


def test_loss_is_finite_with_and_without_faces_and_falls() -> None:
    torch.manual_seed(0)
    module, batch = RECIPE.module(), lesson(96)
    optimizer = torch.optim.AdamW(module.parameters(), lr=1e-2)
    losses = []
    for _ in range(12):
        loss = RECIPE.loss(module, batch)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.95 * losses[0]
    nothing = {**batch, "faces": torch.full((2, 3, 15), -1.0)}
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
        cell = 3 * (width // 8) + 2
        outputs["cls_8"][:, cell] = outputs["obj_8"][:, cell] = self.score
        outputs["bbox_8"][:, cell] = torch.tensor([0.75, 0.0, np.log(3.5), np.log(5.0)])
        outputs["kps_8"][:, cell] = (torch.arange(10.0) + 14.0) / 8 - torch.tensor(
            [2.0, 3.0]
        ).repeat(5)
        return tuple(outputs[name] for name in YUNET_OUTPUTS)


@pytest.mark.parametrize("quarters", range(4))
def test_what_the_teacher_answers_turns_with_the_picture(quarters: int) -> None:
    side = 64
    batch = dict(lesson(side))
    for stride in STRIDES:
        grid = torch.full((2, 16, side // stride, side // stride), -9.0)
        grid[:, 2:] = torch.randn(2, 14, *grid.shape[2:])
        batch[f"teacher_{stride}"] = grid
    batch["teacher_8"][:, :2, 1, 6] = 9.0
    middle = (side - 1) / 2
    matrix = cv2.getRotationMatrix2D((middle, middle), 90 * quarters, 1.0)
    batch["turn"] = torch.from_numpy(matrix).float().expand(2, 2, 3)
    scores, rows = _turned_answers(batch)
    (cell,) = (scores[0].prod(1) > 0.9).nonzero()
    turned = np.rot90(np.arange(64).reshape(8, 8) == 14, quarters)
    assert cell.item() == np.flatnonzero(turned)
    cells = torch.tensor([[6.0, 1.0, 8.0]])
    box, points = _decoded(batch["teacher_8"][:1, :, 1, 6], cells)
    expected = turn_boxes(box.numpy(), side - 1, side - 1, quarters)[0]
    np.testing.assert_allclose(rows[0, cell.item(), :4], expected, atol=1e-3)
    places = points.view(5, 2).numpy() @ matrix[:, :2].T + matrix[:, 2]
    np.testing.assert_allclose(rows[0, cell.item(), 4:], places.ravel(), atol=1e-3)


@pytest.mark.parametrize("seed", range(4))
def test_canvases_turn_with_their_faces(seed: int) -> None:
    """A bright spot at each landmark is bright in the turned picture."""
    picture = np.zeros((200, 200, 3), np.uint8)
    for x, y in POINTS.astype(int):
        picture[y - 1 : y + 2, x - 1 : x + 2] = 255
    turned, matrix, faces = turn_canvas(picture, FACE, np.random.default_rng(seed))
    assert turned.shape == picture.shape
    assert matrix.shape == (2, 3)
    for x, y in faces.landmarks[0].round().astype(int):
        assert turned[y, x].min() > 120


def test_training_starts_from_yunet(data_root: Path) -> None:
    if not (data_root / YUNET).exists():
        pytest.skip(f"{YUNET} is not in the data folder")
    module = RECIPE.module()
    RECIPE.load_pretrained(module, data_root)
    for mine, theirs in zip(
        module.parameters(), read_yunet(data_root / YUNET).parameters(), strict=True
    ):
        assert torch.equal(mine, theirs)


def test_validation_knows_the_faces_and_leaves_uncertain_ones_out() -> None:
    batch = lesson(96)
    outputs = dict(zip(YUNET_OUTPUTS, Fixed(1.0)(batch["turned"].permute(0, 2, 3, 1)), strict=True))
    found = decode_proposals({k: v.numpy() for k, v in outputs.items()}, 96, 96, 0.5)[0]
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
