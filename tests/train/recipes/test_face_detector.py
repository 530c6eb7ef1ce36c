"""The face detector's recipe: canvases, answers that turn with them, a loss that falls, any size."""

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
from affectstream.stream.faces.detection.yunet import STRIDES
from affectstream.train.config import FitConfig
from affectstream.train.errors import DataMissing
from affectstream.train.evaluate.parts.detector import turn_boxes
from affectstream.train.fit.loop import fit
from affectstream.train.loader.faces.batches import CanvasBatches, canvas_batch, turn_canvas
from affectstream.train.loader.faces.canvases import Canvases
from affectstream.train.loader.faces.degrade import Picture
from affectstream.train.loader.faces.photos import YUNET, free_pictures, is_held, read_photos
from affectstream.train.networks.yunet import PARTS, read_yunet
from affectstream.train.recipe import Batch, Loaders
from affectstream.train.recipes.face_detector import (
    RECIPE,
    FaceDetectorRecipe,
    _decoded,
    _turned_answers,
)

TEACHER = tuple(f"teacher_{stride}" for stride in STRIDES)
POINTS = np.array([[60, 80], [120, 80], [90, 110], [65, 140], [115, 140]], np.float32)


@pytest.fixture(scope="module")
def free() -> list[Picture]:
    return free_pictures()[::6]


@pytest.fixture(scope="module")
def canvases(free: list[Picture]) -> Canvases:
    rng = np.random.default_rng(0)
    photos = [rng.integers(0, 256, (200 + 9 * k, 180, 3), np.uint8) for k in range(3)]
    return Canvases(photos, [rng.integers(0, 256, (48, 48), np.uint8)], free)


def lesson(side: int) -> Batch:
    """A batch of two pictures for which a teacher answers at random."""
    pictures = torch.randint(0, 256, (2, 3, side, side), dtype=torch.uint8)
    sizes = {f"teacher_{stride}": (2, 16, side // stride, side // stride) for stride in STRIDES}
    return {
        "turned": pictures,
        "turn": torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]).expand(2, 2, 3),
        **{name: torch.randn(size) for name, size in sizes.items()},
    }


def nothing_seen(side: int) -> dict[str, torch.Tensor]:
    """The same where the teacher sees no face."""
    batch = dict(lesson(side))
    for name in TEACHER:
        batch[name] = torch.full_like(batch[name], -9.0)
    return batch


def test_canvases_are_a_function_of_the_seed(canvases: Canvases) -> None:
    first, again = (
        [canvases.make(96, np.random.default_rng([1, k])) for k in range(12)] for _ in range(2)
    )
    for picture, same in zip(first, again, strict=True):
        assert picture.shape == (96, 96, 3)
        assert picture.dtype == np.uint8
        np.testing.assert_array_equal(picture, same)
    assert len({picture.tobytes() for picture in first}) == 12


def test_small_pictures_serve_for_small_faces() -> None:
    """White crops of 48 pixels over black pictures, at most twice as large, and squeezed or stretched."""
    black, white = np.zeros((300, 300, 3), np.uint8), np.full((48, 48), 255, np.uint8)
    made = Canvases([black], [white], [black])
    shares = [(made.make(400, np.random.default_rng(k)) > 0).mean() for k in range(30)]
    assert 0 < max(shares) < 12 * (2.5 * 48 / 400) ** 2


def test_workers_make_the_same_batches(canvases: Canvases) -> None:
    config = replace(RECIPE.defaults, batch_size=2)
    alone = list(islice(CanvasBatches(canvases, shrunk, config).epoch(3), 4))
    workers = replace(config, workers=2)
    ahead = list(islice(CanvasBatches(canvases, shrunk, workers).epoch(3), 4))
    for batch, likewise in zip(alone, ahead, strict=True):
        assert set(batch) == {"turned", "turn", *TEACHER}
        for name, values in batch.items():
            assert torch.equal(values, likewise[name])


def shrunk(pictures: torch.Tensor) -> list[torch.Tensor]:
    """Stands in for a teacher: grids of the mean brightness."""
    grids = (F.avg_pool2d(pictures, stride)[:, :1].expand(-1, 16, -1, -1) for stride in STRIDES)
    return [grid / 32 - 6 for grid in grids]


def test_pictures_in_a_folder_join_the_free_ones(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "one.jpg"), np.full((900, 300), 7, np.uint8))
    free = free_pictures(tmp_path)
    assert len(free) == len(free_pictures()) + 1 == len(free_pictures(tmp_path / "absent")) + 1
    assert free[-1].shape == (640, 213, 3)


def test_canvases_need_pictures(free: list[Picture]) -> None:
    with pytest.raises(ValueError, match="found 0 photos"):
        Canvases([], [], free)


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
    assert np.isfinite(RECIPE.loss(module, nothing_seen(96)).item())


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
    batch = nothing_seen(side)
    for name in TEACHER:
        batch[name][:, 2:] = torch.randn(2, 14, *batch[name].shape[2:])
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


@pytest.mark.parametrize("seed", range(6))
def test_canvases_turn_as_their_map_says(seed: int) -> None:
    """A bright spot is bright in the turned picture."""
    picture = np.zeros((200, 200, 3), np.uint8)
    for x, y in POINTS.astype(int):
        picture[y - 1 : y + 2, x - 1 : x + 2] = 255
    turned, matrix = turn_canvas(picture, np.random.default_rng(seed))
    assert turned.shape == picture.shape
    assert matrix.shape == (2, 3)
    for x, y in (POINTS @ matrix[:, :2].T + matrix[:, 2]).round().astype(int):
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


def seen_by_the_teacher(score: float) -> Batch:
    """The face of `Fixed`, in the raw values of the teacher."""
    batch = nothing_seen(96)
    outputs = dict(
        zip(YUNET_OUTPUTS, Fixed(score)(batch["turned"].permute(0, 2, 3, 1)), strict=True)
    )
    cell = batch["teacher_8"][:, :, 3, 2]
    cell[:, :2] = torch.logit(torch.tensor(score))
    cell[:, 2:] = torch.cat([outputs["bbox_8"], outputs["kps_8"]], 2)[:, 3 * 12 + 2]
    return batch


def test_validation_asks_for_the_teachers_faces_and_leaves_uncertain_ones_out() -> None:
    sure, unsure = seen_by_the_teacher(0.99), seen_by_the_teacher(0.5)
    metrics = RECIPE.validate(Fixed(1.0), [sure])
    assert metrics == pytest.approx({"f1": 1, "recall": 1, "alarms": 0, "landmarks": 0}, abs=1e-5)
    assert RECIPE.validate(Fixed(0.0), [sure])["recall"] == 0.0
    assert RECIPE.validate(Fixed(1.0), [unsure])["alarms"] == 0.0
    assert RECIPE.validate(Fixed(0.0), [sure, unsure])["recall"] == 0.0
    assert RECIPE.validate(Fixed(1.0), [nothing_seen(96)])["alarms"] == 1.0


def test_it_trains_and_resumes(
    canvases: Canvases, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("affectstream.train.loader.faces.batches.STEPS", 2)

    class Taught(FaceDetectorRecipe):
        def loaders(self, data: Path, config: FitConfig) -> Loaders:
            valid = [canvas_batch(canvases, shrunk, 2, 128, np.random.default_rng(0))]
            return Loaders(CanvasBatches(canvases, shrunk, config), valid)

        def load_pretrained(self, module: torch.nn.Module, data: Path) -> None:
            """Random weights."""

    config = replace(RECIPE.defaults, epochs=2, batch_size=2)
    found = fit(
        Taught(), replace(config, epochs=1), tmp_path, tmp_path / "run", report=lambda _: None
    )
    assert next(iter(found)) == "f1"
    fit(Taught(), config, tmp_path, tmp_path / "run", resume=True, report=lambda _: None)
    assert len((tmp_path / "run/log.csv").read_text().splitlines()) == 3


def test_missing_teacher_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataMissing, match="the teacher is missing"):
        RECIPE.loaders(tmp_path, RECIPE.defaults)


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
