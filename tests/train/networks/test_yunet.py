"""YuNet's weights in a torch network: the same answers as its own file."""

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("onnx")

import torch

from affectstream.engines.bundle.folder import POCKET
from affectstream.engines.bundle.shapes import YUNET_OUTPUTS
from affectstream.engines.runtimes.onnx import OnnxEngine
from affectstream.train.errors import DataError
from affectstream.train.loader.faces.photos import YUNET
from affectstream.train.networks.yunet import BRIGHT, MOST, brightened, read_yunet


def test_answers_are_those_of_the_file(data_root: Path) -> None:
    if not (data_root / YUNET).exists():
        pytest.skip(f"{YUNET} is not in the data folder")
    network = read_yunet(data_root / YUNET).eval().requires_grad_(False)
    rgb = np.random.default_rng(0).integers(0, 256, (2, 96, 160, 3), np.uint8)
    with OnnxEngine(data_root / YUNET) as engine:
        pictures = rgb[..., ::-1].transpose(0, 3, 1, 2).astype(np.float32)
        expected = engine.run({"input": np.ascontiguousarray(pictures)})
    for name, found in zip(YUNET_OUTPUTS, network(torch.from_numpy(rgb)), strict=True):
        np.testing.assert_allclose(found.numpy(), expected[name], atol=1e-4)


def test_only_dark_pictures_are_brightened() -> None:
    lit = torch.full((1, 3, 64, 64), 40.0)
    lit[..., 32:, 32:] = 200.0
    dark, darkest = lit / 4, torch.full((1, 3, 64, 64), 1.0)
    result = brightened(torch.cat([lit, dark, darkest]))
    assert torch.equal(result[:1], lit)
    assert result[1].amax().item() == pytest.approx(BRIGHT) and result[1].amin() > dark.amin()
    assert result[2].amax().item() == pytest.approx(MOST), "noise is not made a picture"
    lamp = dark.clone()
    lamp[..., :4, :4] = 255.0
    assert torch.allclose(brightened(lamp)[..., 32:, 32:], result[1:2, :, 32:, 32:])
    assert brightened(lamp).amax() <= 255.0


def test_another_network_is_refused() -> None:
    with pytest.raises(DataError, match="expected the 59 convolutions of YuNet"):
        read_yunet(POCKET / "face_geometry.onnx")
