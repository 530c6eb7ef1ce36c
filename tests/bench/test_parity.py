"""The measuring of FP16: what is recorded, and the interpreter that computes in true FP16."""

import json

import numpy as np
import pytest

from affectstream.bench.engines.feeds import FeedRecorder, main
from affectstream.engines.bundle.folder import POCKET
from affectstream.engines.errors import EngineError
from affectstream.engines.feeds import random_feeds, read_feeds
from affectstream.engines.runtimes.onnx import OnnxEngine
from affectstream.stream.demo import write_clip
from affectstream.stream.recognizer import Recognizer

torch = pytest.importorskip("torch", reason="torch computes FP16 on a CPU: pip install torch")
onnx = pytest.importorskip("onnx", reason="FP16 graphs are derived with the package onnx")

from affectstream.bench.engines import parity
from affectstream.bench.engines.fp16_reference import Fp16Reference


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    pytest.importorskip("skimage", reason="the portrait comes with the 'demo' extra")
    return write_clip(tmp_path_factory.mktemp("clip"))


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("AFFECTSTREAM_HOME", str(tmp_path / "home"))


@pytest.mark.parametrize("groups", [1, 8])
def test_a_convolution_summed_in_fp32_is_torchs_own_in_fp16_up_to_a_rounding(groups):
    """The two sum in another order; seldom does that change the last of FP16's eleven bits."""
    draw = torch.Generator().manual_seed(0)
    x = torch.randn(2, 8, 12, 12, generator=draw).half()
    w = (torch.randn(16, 8 // groups, 3, 3, generator=draw) / 5).half()
    own = torch.nn.functional.conv2d(x, w, padding=1, groups=groups)
    wide = torch.nn.functional.conv2d(x.float(), w.float(), padding=1, groups=groups).half()
    assert (own != wide).float().mean() < 0.01
    torch.testing.assert_close(own, wide, rtol=2**-10, atol=2**-14)


def test_fp16_is_really_rounded_after_every_node(tmp_path):
    """2048 + 1 is 2048 in FP16, and 2049 where a runtime computes in FP32 behind its types."""
    nodes = [
        onnx.helper.make_node("Cast", ["x"], ["h"], to=onnx.TensorProto.FLOAT16),
        onnx.helper.make_node("Add", ["h", "one"], ["more"]),
        onnx.helper.make_node("Cast", ["more"], ["y"], to=onnx.TensorProto.FLOAT),
    ]
    values = [
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["N"]) for name in "xy"
    ]
    one = onnx.numpy_helper.from_array(np.array(1, np.float16), "one")
    graph = onnx.helper.make_graph(nodes, "sum", [values[0]], [values[1]], [one])
    opset = onnx.helper.make_opsetid("", 18)
    path = tmp_path / "sum.onnx"
    onnx.save(onnx.helper.make_model(graph, opset_imports=[opset], ir_version=8), str(path))
    with Fp16Reference(path) as engine:
        assert engine.run({"x": np.array([2048], np.float32)})["y"] == [2048]
        assert engine.largest == {"h": 2048.0, "more": 2048.0}


@pytest.mark.parametrize(
    ("kernel", "attributes"),
    [
        ("Conv", {"pads": [1, 2, 1, 2], "strides": [2, 1], "dilations": [1, 2], "group": 2}),
        ("Conv", {}),
        ("AveragePool", {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1], "count_include_pad": 1}),
        ("AveragePool", {"kernel_shape": [2, 2], "strides": [2, 2], "ceil_mode": 1}),
    ],
)
def test_the_operators_that_torch_computes_are_those_of_onnx(kernel, attributes, tmp_path):
    """At FP32, against ONNX Runtime; everything else is ONNX's own reference."""
    draw = np.random.default_rng(0)
    feeds = {"x": draw.normal(size=(2, 4, 9, 9)).astype(np.float32)}
    group = attributes.get("group", 1)
    weight = draw.normal(size=(6, 4 // group, 3, 3)).astype(np.float32)
    inputs = ["x", "w"] if kernel == "Conv" else ["x"]
    node = onnx.helper.make_node(kernel, inputs, ["y"], **attributes)
    values = [
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [None] * 4)
        for name in "xy"
    ]
    weights = [onnx.numpy_helper.from_array(weight, "w")]
    graph = onnx.helper.make_graph([node], kernel, [values[0]], [values[1]], weights)
    opset = onnx.helper.make_opsetid("", 18)
    path = tmp_path / "one.onnx"
    onnx.save(onnx.helper.make_model(graph, opset_imports=[opset], ir_version=8), str(path))
    with OnnxEngine(path) as runtime, Fp16Reference(path) as reference:
        expected, found = runtime.run(feeds)["y"], reference.run(feeds)["y"]
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_uneven_padding_is_refused(tmp_path):
    node = onnx.helper.make_node(
        "AveragePool", ["x"], ["y"], kernel_shape=[2, 2], pads=[0, 0, 1, 1]
    )
    values = [
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1, 1, 4, 4])
        for name in "x"
    ]
    out = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [None] * 4)
    graph = onnx.helper.make_graph([node], "pool", values, [out])
    opset = onnx.helper.make_opsetid("", 18)
    path = tmp_path / "pool.onnx"
    onnx.save(onnx.helper.make_model(graph, opset_imports=[opset], ir_version=8), str(path))
    with (
        Fp16Reference(path) as reference,
        pytest.raises(EngineError, match="same padding on both sides"),
    ):
        reference.run({"x": np.zeros((1, 1, 4, 4), np.float32)})


def test_feeds_of_a_recording_are_those_that_its_engines_saw(clip, tmp_path, capsys):
    main([clip], tmp_path / "feeds.npz", "pocket")
    calls = json.loads(capsys.readouterr().out.splitlines()[-1])["calls"]
    found = read_feeds(tmp_path / "feeds.npz")
    assert {role: len(feeds) for role, feeds in found.items()} == calls
    assert set(found) == {
        "face_detector",
        "face_encoder",
        "voice_encoder",
        "text_encoder",
        "fusion",
    }
    for role, feeds in found.items():
        with OnnxEngine(POCKET / f"{role}.onnx") as engine:
            for given in feeds:
                engine.run(given)


def test_a_recorder_answers_as_its_engine():
    with OnnxEngine(POCKET / "fusion.onnx") as engine:
        recorder = FeedRecorder(engine, [])
        (feeds,) = random_feeds(engine.inputs, 1, seed=0)
        np.testing.assert_equal(recorder.run(feeds), engine.run(feeds))
    assert len(recorder.calls) == 1


def made_up(recognizer):
    """A parity of a few made-up inputs for each encoder."""
    found = parity.Parity(recognizer, "cpu")
    for modality, role in parity.ENCODER_ROLES.items():
        found.compare_encoder(
            modality, random_feeds(recognizer.bundle.engines[role].inputs, 4, seed=3)
        )
    return found


def test_encoders_and_mixed_hops_are_counted():
    with Recognizer.open("pocket", device="cpu", threads=1) as recognizer:
        found = made_up(recognizer)
        found.compare_mixed_hops(14)
    for candidate in found.candidates:
        metrics = candidate.metrics()["parts"]
        assert metrics["face_encoder"]["inputs"] == 32
        assert metrics["mixed hops"]["inputs"] == 14
        assert candidate.passed, metrics
    assert set(found.references["voice_encoder"].largest) >= {"logits/half"}


def test_a_part_that_disagrees_fails_the_whole():
    candidate = parity.Fp16Candidate("someone", {})
    candidate.add("good", np.array([[0.9, 0.1]]), np.array([[0.9, 0.1]]))
    assert candidate.passed
    candidate.add("bad", np.array([[0.9, 0.1]]), np.array([[0.1, 0.9]]))
    assert not candidate.passed
    assert candidate.metrics()["parts"]["good"]["passed"]


@pytest.mark.slow
def test_a_recording_is_scored_alike(clip):
    with Recognizer.open("pocket", device="cpu", threads=1) as recognizer:
        found = parity.Parity(recognizer, "cpu")
        found.compare_recording(clip)
    for candidate in found.candidates:
        assert candidate.passed, candidate.metrics()
        assert candidate.metrics()["parts"]["hops of recordings"]["inputs"] >= 20
