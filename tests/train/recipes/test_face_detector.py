"""The detector's recipe: canvases from a seed, a loss that falls, an engine of any size."""

import copy
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("skimage")

import torch

from affectstream.engines.runtimes.onnx import OnnxEngine
from affectstream.stream.faces.detect import Detector, DetectorSpec
from affectstream.stream.faces.yunet import STRIDES
from affectstream.train.errors import DataMissing
from affectstream.train.loader.face_canvases import Canvases, Head, free_pictures
from affectstream.train.loader.face_photos import is_held, read_photos
from affectstream.train.recipe import Batch
from affectstream.train.recipes.face_detector import OUTPUTS, PARTS, RECIPE


@pytest.fixture(scope="module")
def canvases() -> Canvases:
    rng = np.random.default_rng(0)
    heads = [
        Head(rng.integers(0, 256, (200 + 9 * k, 180), np.uint8), (90.0, 100.0, 120.0))
        for k in range(3)
    ]
    return Canvases(heads, free_pictures())


def lesson(height: int, width: int) -> Batch:
    """A batch in which one cell of each picture holds a face."""
    batch = {"grey": torch.randint(0, 256, (2, 1, height, width), dtype=torch.uint8)}
    for name, size in PARTS:
        for stride in STRIDES:
            batch[f"{name}_{stride}"] = torch.zeros(2, height * width // stride**2, size)
    for name in ("cls_16", "obj_16"):
        batch[name][:, 5] = 0.9
    return batch


def test_canvases_are_a_function_of_the_seed(canvases: Canvases) -> None:
    first = [canvases.make(96, 160, np.random.default_rng([1, k])) for k in range(12)]
    again = [canvases.make(96, 160, np.random.default_rng([1, k])) for k in range(12)]
    for one, other in zip(first, again, strict=True):
        for picture, same in zip(one, other, strict=True):
            assert picture.shape == (96, 160)
            assert picture.dtype == np.uint8
            np.testing.assert_array_equal(picture, same)
    assert len({worn.tobytes() for _, worn in first}) == 12


def test_canvases_need_pictures() -> None:
    with pytest.raises(ValueError, match="found 0 heads"):
        Canvases([], free_pictures())


def test_loss_is_finite_with_and_without_faces_and_falls() -> None:
    torch.manual_seed(0)
    module, batch = RECIPE.module(), lesson(64, 96)
    optimiser = torch.optim.AdamW(module.parameters(), lr=3e-3)
    losses = []
    for _ in range(12):
        loss = RECIPE.loss(module, batch)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]
    nothing = {name: torch.zeros_like(value) for name, value in batch.items()}
    assert np.isfinite(RECIPE.loss(module, nothing).item())


def test_validation_is_perfect_against_the_teacher_itself() -> None:
    """The teacher's own answers, given as the student's, have F1 1 and no landmark error."""
    batch = lesson(64, 96)

    class Echo(torch.nn.Module):
        def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, ...]:
            assert image.shape == (2, 64, 96, 3)
            return tuple(batch[name] for name in OUTPUTS)

    figures = RECIPE.validate(Echo(), [batch])
    assert figures == {"f1": 1.0, "recall": 1.0, "alarms": 0.0, "landmarks": 0.0}
    mute = {name: torch.zeros_like(value) for name, value in batch.items()} | {
        "grey": batch["grey"]
    }
    assert RECIPE.validate(Echo(), [mute])["alarms"] == 1.0


def test_engine_takes_any_size_and_number(tmp_path: Path) -> None:
    module = RECIPE.module().eval().requires_grad_(False)
    (path,) = RECIPE.export(copy.deepcopy(module), tmp_path)
    assert path.name == "face_detector.onnx"
    with OnnxEngine(path) as engine:
        assert tuple(engine.outputs) == OUTPUTS
        for shape in ((1, 64, 96, 3), (3, 32, 256, 3)):
            image = torch.randint(0, 256, shape, dtype=torch.uint8)
            found = engine.run({"image": image.numpy()})
            for name, wanted in zip(OUTPUTS, module(image), strict=True):
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
