"""Weights stored as FP16: a smaller file that computes nearly the same."""

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

import onnx
import torch
from torch import nn

from affectstream.engines.runtimes.onnx import OnnxEngine
from affectstream.train.onnx.half_storage import store_weights_as_half
from affectstream.train.onnx.onnx_export import to_onnx


def test_weights_take_half_the_space(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 8))
    with torch.no_grad():
        network[2].weight[0, 0] = 1e6  # beyond FP16
    path = tmp_path / "network.onnx"
    example = torch.randn(3, 64)
    to_onnx(network, (example,), path, inputs=["x"], outputs=["y"])
    before, size = OnnxEngine(path).run({"x": example.numpy()})["y"], path.stat().st_size
    store_weights_as_half(path)
    after = OnnxEngine(path).run({"x": example.numpy()})["y"]
    assert path.stat().st_size < 0.7 * size
    np.testing.assert_allclose(after[:, 1:], before[:, 1:], atol=1e-2)
    np.testing.assert_allclose(after[:, 0], before[:, 0], rtol=1e-2)
    stored = {tensor.data_type for tensor in onnx.load(str(path)).graph.initializer}
    assert onnx.TensorProto.FLOAT16 in stored


def test_the_fourier_transform_of_a_voice_keeps_every_digit(tmp_path: Path) -> None:
    from affectstream.train.networks.mel import LogMel

    class Encoder(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.mel = LogMel()

        def forward(self, samples: torch.Tensor) -> torch.Tensor:
            return self.mel(samples)

    path = tmp_path / "voice.onnx"
    example = 0.1 * torch.randn(2, 8_000)
    to_onnx(Encoder().eval(), (example,), path, inputs=["samples"], outputs=["mel"])
    store_weights_as_half(path)
    found = OnnxEngine(path).run({"samples": example.numpy()})["mel"]
    np.testing.assert_allclose(found, LogMel()(example).numpy(), atol=1e-3)
