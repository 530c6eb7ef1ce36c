"""The recipe of `face_geometry`: squares that agree with their targets, learning, the engine's format."""

from pathlib import Path

import numpy as np
import pytest

from tests.support.mesh_answers import landmarks, write_answers

pytest.importorskip("torch")

import torch

from affectstream.engines.landmarks import LANDMARKS, MEASURES
from affectstream.engines.runtimes.onnx import OnnxEngine
from affectstream.train.config import FitConfig
from affectstream.train.errors import DataMissing
from affectstream.train.loader.faces.squares import SIDE, Face, cut, degrade, is_held, read_faces
from affectstream.train.networks.face_landmarks import PARTS, angles, measures
from affectstream.train.recipes import face_geometry
from affectstream.train.recipes.face_geometry import RECIPE


def marked_face(yaw: float = 0.0) -> Face:
    """A grey picture with a white dot at the left eye's outer corner."""
    points = landmarks((60.0, 64.0), 60.0)
    picture = np.full((128, 120), 60, np.uint8)
    x, y = points[LANDMARKS.index("left_eye_outer")].astype(int)
    picture[y - 2 : y + 3, x - 2 : x + 3] = 255
    radians = np.deg2rad(yaw)
    turned = np.array(
        [[np.cos(radians), 0, -np.sin(radians)], [0, 1, 0], [np.sin(radians), 0, np.cos(radians)]],
        np.float32,
    )
    openness = np.array([0.1, 0.3, 0.2], np.float32)
    return Face(picture, points, turned, -turned[:, 2], openness)


@pytest.mark.parametrize("turn", [0.0, 30.0, -80.0])
def test_landmarks_follow_the_square(turn: float) -> None:
    for seed in range(6):
        square, targets = cut(marked_face(), np.random.default_rng(seed), turn=turn)
        places = targets["landmarks"].reshape(-1, 2) * SIDE - 0.5
        rows, columns = np.nonzero(square > 200)
        # Where the face is mirrored, the dot is at the right eye.
        mirrored = targets["openness"][0] > 0.2
        corner = "right_eye_outer" if mirrored else "left_eye_outer"
        expected = places[LANDMARKS.index(corner)]
        np.testing.assert_allclose((columns.mean(), rows.mean()), expected, atol=1.0)


def test_measures_follow_the_turn() -> None:
    found = []
    for seed in range(8):
        _, targets = cut(marked_face(yaw=20.0), np.random.default_rng(seed), turn=30.0)
        parts = {name: torch.from_numpy(targets[name])[None] for name in PARTS}
        found.append(dict(zip(MEASURES, measures(parts)[0].tolist(), strict=True)))
    assert {round(one["right_eye_openness"], 3) for one in found} == {0.1, 0.3}
    for one in found:
        mirrored = one["right_eye_openness"] > 0.2
        # Turned by 30 degrees, a head that looks to the right also looks down; mirrored, to the left and up.
        assert one["roll"] == pytest.approx(30.0, abs=0.01)
        assert np.sign(one["yaw"]) == (-1 if mirrored else 1)
        assert np.sign(one["pitch"]) == (1 if mirrored else -1)
        assert one["gaze_yaw"] == pytest.approx(0.0, abs=0.01)


def test_angles_are_positive_to_the_right_and_up() -> None:
    directions = torch.tensor([[0.5, 0.0, -0.866], [0.0, -0.5, -0.866], [0.0, 0.0, -1.0]])
    yaw, pitch = angles(directions)
    np.testing.assert_allclose(yaw, [30, 0, 0], atol=0.01)
    np.testing.assert_allclose(pitch, [0, 30, 0], atol=0.1)


def test_degraded_squares_keep_their_format() -> None:
    square = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE), np.uint8)
    for seed in range(30):
        worn = degrade(square, np.random.default_rng(seed))
        assert worn.shape == (SIDE, SIDE)
        assert worn.dtype == np.uint8


def write_data(folder: Path) -> None:
    people = [f"images/Person{k}_0001.jpg" for k in range(24)]
    assert 0 < sum(map(is_held, people)) < len(people)
    write_answers(folder / "faces_in_context.npz", people)
    pictures = [f"train/happy/{k}.png" for k in range(8)] + ["test/happy/9.png"]
    write_answers(folder / "fer2013.npz", pictures, side=48)


def test_people_are_in_one_split(tmp_path: Path) -> None:
    write_data(tmp_path)
    train, held = read_faces(tmp_path / "faces_in_context.npz", photos=True)
    assert len(train.faces) + len(held.faces) == 24
    assert train.odds.sum() == pytest.approx(1.0)
    assert is_held("images/Ann_Lee_0001.jpg") == is_held("images/Ann_Lee_0007.jpg")
    with pytest.raises(DataMissing, match="face_mesh"):
        read_faces(tmp_path / "none.npz", photos=True)


def test_the_correction_restores_the_spread() -> None:
    truth = np.random.default_rng(0).normal(10, 5, 400).astype(np.float32)
    factor, offset = face_geometry.same_spread(truth, 0.8 * truth + 3)
    np.testing.assert_allclose(factor * (0.8 * truth + 3) + offset, truth, atol=1e-3)
    assert face_geometry.same_spread(truth, 2 * truth)[0] == 1.0


def test_it_learns_and_exports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_data(tmp_path)
    monkeypatch.setattr(face_geometry, "SAMPLES", 64)
    loaders = RECIPE.loaders(tmp_path, FitConfig(batch_size=16))
    batches = list(loaders.train.epoch(0))
    assert len(batches) == 4
    torch.testing.assert_close(batches[0]["grey"], next(iter(loaders.train.epoch(0)))["grey"])
    torch.manual_seed(0)
    module = RECIPE.module().train()
    optimizer = torch.optim.Adam(module.parameters(), 1e-3)
    losses = []
    for _ in range(12):
        optimizer.zero_grad()
        loss = RECIPE.loss(module, batches[0])
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.8 * losses[0]
    metrics = RECIPE.validate(module.eval(), loaders.valid)
    assert next(iter(metrics)) == "score"
    (path,) = RECIPE.export(module, tmp_path)
    assert path.stat().st_size < 1_500_000
    pixels = np.zeros((3, SIDE, SIDE, 3), np.uint8)
    outputs = OnnxEngine(path).run({"pixels": pixels})
    assert outputs["landmarks"].shape == (3, len(LANDMARKS), 2)
    assert outputs["measures"].shape == (3, len(MEASURES))
    assert (outputs["measures"][:, 3:6] >= 0).all()
