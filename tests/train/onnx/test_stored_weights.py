"""Weights stored in fewer bits: a smaller file that computes nearly the same."""

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

import onnx
import torch
from torch import nn

from affectstream.engines.fp16.derive import fp16_file
from affectstream.engines.runtimes.onnx import OnnxEngine
from affectstream.train.onnx.onnx_export import to_onnx
from affectstream.train.onnx.stored_weights import (
    quantize,
    store_weights_as_half,
    store_weights_as_int8,
)


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


def test_weights_take_a_quarter_of_the_space(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv1d(64, 128, 3), nn.ReLU(), nn.Flatten(), nn.Linear(128 * 6, 64))
    path = tmp_path / "network.onnx"
    example = torch.randn(3, 64, 8)
    to_onnx(network, (example,), path, inputs=["x"], outputs=["y"])
    before, size = OnnxEngine(path).run({"x": example.numpy()})["y"], path.stat().st_size
    store_weights_as_int8(path)
    after = OnnxEngine(path).run({"x": example.numpy()})["y"]
    assert path.stat().st_size < 0.3 * size
    assert np.abs(after - before).max() < 0.03 * before.std()
    graph = onnx.load(str(path)).graph
    stored = {
        tensor.name for tensor in graph.initializer if tensor.data_type == onnx.TensorProto.INT8
    }
    # TensorRT takes constants of 8 bits before this node only.
    read = {node.input[0] for node in graph.node if node.op_type == "DequantizeLinear"}
    assert stored and stored == read
    half = fp16_file(path)
    assert not any(node.op_type == "DequantizeLinear" for node in onnx.load(str(half)).graph.node)
    with OnnxEngine(half) as engine:
        assert np.abs(engine.run({"x": example.numpy()})["y"] - after).max() < 0.01 * before.std()


@pytest.mark.parametrize("axis", [0, 1])
def test_the_axis_that_loses_less_has_the_scales(axis: int) -> None:
    sizes = np.expand_dims(np.geomspace(1e-3, 1.0, 40), 1 - axis)
    values = (np.random.default_rng(0).normal(size=(40, 40)) * sizes).astype(np.float32)
    codes, scales, chosen = quantize(values)
    assert chosen == axis and scales.shape == (40,)
    scales = np.expand_dims(scales, 1 - axis)
    assert (np.abs(codes * scales - values) <= 0.51 * scales).all()
    assert np.abs(codes).max() <= 127


def test_rows_of_zeros_stay_zeros() -> None:
    codes, scales, _ = quantize(np.zeros((4, 4), np.float32))
    assert not codes.any() and np.isfinite(scales).all()
