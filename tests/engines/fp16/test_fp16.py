"""FP16 graphs: valid, the same outside, precise where it matters, and kept safely."""

import multiprocessing
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from affectstream.engines.bundle.folder import POCKET
from affectstream.engines.errors import DeviceError, EngineError
from affectstream.engines.fp16.derive import fp16_file
from affectstream.engines.graphs.compare import compare
from affectstream.engines.graphs.feeds import random_feeds
from affectstream.engines.runtimes.onnx import OnnxEngine

onnx = pytest.importorskip("onnx", reason="FP16 graphs are derived with the package onnx")

from onnx import TensorProto, helper, numpy_helper

from affectstream.engines.fp16.rules import SENSITIVE

FLOAT, HALF = TensorProto.FLOAT, TensorProto.FLOAT16
GRAPHS = sorted(POCKET.glob("*.onnx"))
every_graph = pytest.mark.parametrize("source", GRAPHS, ids=lambda path: path.stem)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("AFFECTSTREAM_HOME", str(tmp_path / "home"))
    return tmp_path / "home" / "half"


def types_of(path):
    graph = onnx.shape_inference.infer_shapes(onnx.load(str(path)), strict_mode=True).graph
    types = {weight.name: weight.data_type for weight in graph.initializer}
    for value in (*graph.input, *graph.value_info, *graph.output):
        types[value.name] = value.type.tensor_type.elem_type
    return graph, types


def made(path, nodes, inputs, outputs, weights=(), opset=18):
    """A small graph on disk: inputs and outputs as (name, shape), FP32 unless a type is given."""
    values = [
        [helper.make_tensor_value_info(n, *(t or [FLOAT]), shape) for n, shape, *t in side]
        for side in (inputs, outputs)
    ]
    arrays = [numpy_helper.from_array(np.asarray(array), name) for name, array in weights]
    graph = helper.make_graph(list(nodes), "made", *values, arrays)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    onnx.save(model, str(path))
    return path


def made_of(path):
    """Type of each node's first output, by its name in the original graph."""
    _, types = types_of(fp16_file(path))
    return types


def eye(size=4):
    return np.eye(size, dtype=np.float32)


@every_graph
def test_inputs_and_outputs_keep_their_types(source):
    with OnnxEngine(source) as whole, OnnxEngine(fp16_file(source)) as half:
        assert half.inputs == whole.inputs
        assert half.outputs == whole.outputs
        assert all(spec.dtype == np.float32 for spec in half.outputs.values())


@every_graph
def test_the_graph_is_valid_and_layers_are_fp16_while_what_is_sensitive_is_not(source):
    path = fp16_file(source)
    onnx.checker.check_model(str(path), full_check=True)
    graph, types = types_of(path)
    layers, sensitive = Counter(), Counter()
    for node in graph.node:
        kind = types[node.output[0]]
        if node.op_type in ("Conv", "Gemm"):
            layers[kind] += 1
        if node.op_type in SENSITIVE:
            sensitive[types[node.input[0]]] += 1
    spectrogram = 2 if source.stem == "voice_encoder" else 0  # the transform and the filter bank
    landmarks = 3 if source.stem == "face_detector" else 0
    assert layers[HALF] > 2
    assert layers[FLOAT] == spectrogram + landmarks
    assert sensitive[HALF] == 0
    weights = [types[weight.name] for weight in graph.initializer if weight.raw_data]
    assert weights.count(HALF) > 2


@every_graph
def test_fp16_agrees_with_fp32(source):
    with OnnxEngine(source) as whole, OnnxEngine(fp16_file(source)) as half:
        found = compare(whole, half, random_feeds(whole.inputs, 3, seed=1), repeats=1)
    assert found.passed, found.outputs
    assert any(gap.max_abs > 0 for gap in found.outputs), "nothing was rounded at all"


@every_graph
def test_true_fp16_arithmetic_agrees_with_fp32(source):
    pytest.importorskip("torch", reason="torch computes FP16 on a CPU: pip install torch")
    from affectstream.bench.engines.fp16_reference import Fp16Reference

    path = fp16_file(source)
    with OnnxEngine(source) as whole, Fp16Reference(path) as half, Fp16Reference(source) as same:
        feeds = random_feeds(whole.inputs, 1, seed=2)
        assert compare(whole, half, feeds, repeats=1).passed
        assert max(half.largest.values()) < 3e4
        exact = compare(whole, same, feeds, repeats=1)
        # Measures of a face are degrees; ONNX Runtime multiplies matrices of 8 bits in 8 bits.
        limit = {"face_geometry": 1e-3, "voice_encoder": 2e-2}.get(source.stem, 2e-5)
        assert max(gap.max_abs for gap in exact.outputs) < limit, "the interpreter itself is wrong"


@every_graph
def test_a_strongly_typed_compiler_parses_it(source):
    trt = pytest.importorskip(
        "tensorrt_rtx_bindings", reason="TensorRT for RTX is not installed (extra 'rtx')"
    )
    logger = trt.Logger(trt.Logger.ERROR)
    builder = trt.Builder(logger)
    network = builder.create_network(0)
    parser = trt.OnnxParser(network, logger)
    parsed = parser.parse_from_file(str(fp16_file(source)))
    assert parsed, [parser.get_error(i).desc() for i in range(parser.num_errors)]
    kinds = Counter(
        network.get_layer(i).get_output(j).dtype
        for i in range(network.num_layers)
        for j in range(network.get_layer(i).num_outputs)
    )
    assert kinds[trt.DataType.HALF] > kinds[trt.DataType.FLOAT] / 2
    outputs = [network.get_output(i).dtype for i in range(network.num_outputs)]
    assert set(outputs) == {trt.DataType.FLOAT}


def test_sound_stays_in_fp32_up_to_its_logarithm():
    graph, types = types_of(fp16_file(POCKET / "voice_encoder.onnx"))
    maker = {name: node for node in graph.node for name in node.output}
    (log,) = (node for node in graph.node if node.op_type == "Log")
    open_, seen = [log.output[0]], set()
    while open_:
        name = open_.pop()
        seen.add(name)
        open_ += maker[name].input if name in maker else []
    assert len(seen) > 10
    assert HALF not in {types.get(name) for name in seen}


@pytest.mark.parametrize("amplitude", [0.0, 1e-4, 1.0])
def test_silence_and_a_full_scale_tone_stay_finite(amplitude):
    fp16_reference = pytest.importorskip(
        "affectstream.bench.engines.fp16_reference",
        reason="torch computes FP16 on a CPU: pip install torch",
    )
    source = POCKET / "voice_encoder.onnx"
    tone = amplitude * np.sin(2 * np.pi * 1000 / 16_000 * np.arange(48_000))
    feeds = [{"samples": np.stack([tone, np.sign(tone)]).astype(np.float32)}]
    with OnnxEngine(source) as whole, fp16_reference.Fp16Reference(fp16_file(source)) as half:
        found = compare(whole, half, feeds, repeats=1)
    assert found.passed, found.outputs


def test_a_mask_beyond_fp16_is_kept_up_to_the_softmax(tmp_path):
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["scores"]),
        helper.make_node("Add", ["scores", "mask"], ["masked"]),
        helper.make_node("Softmax", ["masked"], ["weights"]),
        helper.make_node("MatMul", ["weights", "w"], ["y"]),
    ]
    mask = np.array([0, -1e9, -1e9, -1e9], np.float32)
    inputs, outputs = [("x", ["N", 4])], [("y", ["N", 4])]
    source = made(tmp_path / "m.onnx", nodes, inputs, outputs, [("w", 3 * eye()), ("mask", mask)])
    types = made_of(source)
    assert types["scores"] == HALF
    assert types["masked"] == types["weights"] == FLOAT
    with OnnxEngine(source) as whole, OnnxEngine(fp16_file(source)) as half:
        x = {"x": np.ones((2, 4), np.float32)}
        np.testing.assert_allclose(half.run(x)["y"], whole.run(x)["y"], atol=1e-3)


def test_a_fill_beyond_fp16_never_becomes_infinite(tmp_path):
    lowest = float(np.finfo(np.float32).min)
    fill = helper.make_tensor("value", FLOAT, [1], [lowest])
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["scores"]),
        helper.make_node("Shape", ["scores"], ["shape"]),
        helper.make_node("ConstantOfShape", ["shape"], ["low"], value=fill),
        helper.make_node("Where", ["there", "scores", "low"], ["masked"]),
        helper.make_node("Softmax", ["masked"], ["y"]),
    ]
    inputs = [("x", ["N", 4]), ("there", ["N", 4], TensorProto.BOOL)]
    source = made(tmp_path / "m.onnx", nodes, inputs, [("y", ["N", 4])], [("w", eye())])
    with OnnxEngine(fp16_file(source)) as half:
        nobody = {"x": np.ones((1, 4), np.float32), "there": np.zeros((1, 4), np.bool_)}
        np.testing.assert_allclose(half.run(nobody)["y"], 0.25)


def test_an_epsilon_below_fp16_still_protects_the_division(tmp_path):
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["z"]),
        helper.make_node("Relu", ["z"], ["r"]),
        helper.make_node("Add", ["r", "eps"], ["safe"]),
        helper.make_node("Div", ["r", "safe"], ["y"]),
    ]
    weights = [("w", eye()), ("eps", np.float32(1e-12))]
    source = made(tmp_path / "e.onnx", nodes, [("x", ["N", 4])], [("y", ["N", 4])], weights)
    assert made_of(source)["safe"] == FLOAT
    with OnnxEngine(fp16_file(source)) as half:
        assert np.isfinite(half.run({"x": np.zeros((1, 4), np.float32)})["y"]).all()


def test_a_norm_written_out_is_fp32_from_the_layer_before_to_the_division(tmp_path):
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["z"]),
        helper.make_node("Add", ["z", "x2"], ["residual"]),
        helper.make_node("ReduceMean", ["residual", "last"], ["mean"]),
        helper.make_node("Sub", ["residual", "mean"], ["centred"]),
        helper.make_node("Mul", ["centred", "centred"], ["square"]),
        helper.make_node("ReduceMean", ["square", "last"], ["variance"]),
        helper.make_node("Add", ["variance", "eps"], ["safe"]),
        helper.make_node("Sqrt", ["safe"], ["deviation"]),
        helper.make_node("Div", ["centred", "deviation"], ["normal"]),
        helper.make_node("MatMul", ["normal", "w"], ["y"]),
        helper.make_node("MatMul", ["x", "w"], ["x2"]),
    ]
    nodes.insert(0, nodes.pop())
    weights = [
        ("w", 300 * eye()),
        ("last", np.array([-1], np.int64)),
        ("eps", np.float32(1e-5)),
    ]
    source = made(tmp_path / "n.onnx", nodes, [("x", ["N", 4])], [("y", ["N", 4])], weights)
    types = made_of(source)
    assert types["residual"] == HALF, "the sum of two branches belongs to the network"
    for name in ("mean", "centred", "square", "variance", "safe", "deviation", "normal"):
        assert types[name] == FLOAT, name
    with OnnxEngine(source) as whole, OnnxEngine(fp16_file(source)) as half:
        x = {"x": np.array([[1, 2, 3, 4]], np.float32)}  # squares up to a million
        np.testing.assert_allclose(half.run(x)["y"], whole.run(x)["y"], rtol=2e-3)


def test_a_log_softmax_does_not_make_a_spectrogram_of_the_network(tmp_path):
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["scores"]),
        helper.make_node("Softmax", ["scores"], ["p"]),
        helper.make_node("Log", ["p"], ["y"]),
    ]
    source = made(tmp_path / "l.onnx", nodes, [("x", ["N", 4])], [("y", ["N", 4])], [("w", eye())])
    types = made_of(source)
    assert types["scores"] == HALF
    assert types["p"] == FLOAT


def test_an_output_that_other_nodes_use_is_not_cast_back_and_forth(tmp_path):
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["embedding"]),
        helper.make_node("MatMul", ["embedding", "w"], ["logits"]),
    ]
    outputs = [("embedding", ["N", 4]), ("logits", ["N", 4])]
    source = made(tmp_path / "o.onnx", nodes, [("x", ["N", 4])], outputs, [("w", eye())])
    graph, _ = types_of(fp16_file(source))
    casts = [(*n.input, *n.output) for n in graph.node if n.op_type == "Cast"]
    assert casts == [
        ("x", "x/half"),
        ("embedding/half", "embedding"),
        ("logits/half", "logits"),
    ]


def test_a_last_convolution_is_summed_in_fp32_and_a_last_product_is_not(tmp_path):
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["z"]),
        helper.make_node("Relu", ["z"], ["r"]),
        helper.make_node("Conv", ["r", "w"], ["sums"]),
        helper.make_node("Transpose", ["sums"], ["moved"], perm=[0, 2, 1]),
        helper.make_node("Sigmoid", ["moved"], ["scores"]),
        helper.make_node("MatMul", ["r", "v"], ["products"]),
    ]
    weights = [("w", eye()[:, :, None]), ("v", eye(6))]
    outputs = [("scores", ["N", 6, 4]), ("products", ["N", 4, 6])]
    source = made(tmp_path / "h.onnx", nodes, [("x", ["N", 4, 6])], outputs, weights)
    types = made_of(source)
    assert types["z"] == types["r"] == types["products/half"] == HALF
    assert types["sums"] == types["moved"] == FLOAT


@pytest.mark.parametrize("kind", ["Conv", "MatMul"])
def test_an_only_layer_is_fp16_though_it_is_the_last(tmp_path, kind):
    node = helper.make_node(kind, ["x", "w"], ["y"])
    weights = [("w", eye()[:, :, None] if kind == "Conv" else np.stack([eye()] * 2))]
    shape = [2, 4, 4]
    source = made(tmp_path / "h.onnx", [node], [("x", shape)], [("y", shape)], weights)
    assert made_of(source)["y/half"] == HALF


def test_a_recurrence_stays_in_fp32_and_opens_everywhere(tmp_path):
    """ONNX Runtime 1.31 ends the process on opening this graph with its LSTM in FP16."""
    torch = pytest.importorskip("torch", reason="exports the network: pip install torch")
    pytest.importorskip("onnxscript", reason="torch exports by it")

    class Network(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.steps = torch.nn.LSTM(8, 8, 2, bidirectional=True, batch_first=True)
            self.attend, self.head = torch.nn.Linear(16, 1), torch.nn.Linear(16, 3)

        def forward(self, x):
            steps, _ = self.steps(x)
            return self.head((steps * self.attend(steps).softmax(1)).sum(1))

    source = tmp_path / "lstm.onnx"
    example = torch.randn(2, 5, 8, generator=torch.Generator().manual_seed(0))
    options = {"input_names": ["x"], "dynamic_shapes": ({0: torch.export.Dim("N")},)}
    torch.onnx.export(Network().eval(), (example,), str(source), external_data=False, **options)
    graph, types = types_of(fp16_file(source))
    kinds = {n.op_type: types[n.output[0]] for n in graph.node}
    assert kinds["LSTM"] == FLOAT
    assert HALF in types.values()
    with OnnxEngine(source) as whole, OnnxEngine(fp16_file(source)) as half:
        found = compare(whole, half, [{"x": example.numpy()}], repeats=1)
    assert found.passed


def test_a_graph_that_has_fp16_in_it_is_left_alone():
    derived = fp16_file(POCKET / "fusion.onnx")
    assert fp16_file(derived) == derived


def test_control_flow_is_refused_by_the_name_of_its_node(tmp_path):
    branch = helper.make_graph(
        [helper.make_node("Relu", ["x"], ["b"])],
        "branch",
        [],
        [helper.make_tensor_value_info("b", FLOAT, ["N", 4])],
    )
    node = helper.make_node("If", ["c"], ["y"], "choice", then_branch=branch, else_branch=branch)
    inputs = [("x", ["N", 4]), ("c", [], TensorProto.BOOL)]
    source = made(tmp_path / "if.onnx", [node], inputs, [("y", ["N", 4])])
    with pytest.raises(EngineError, match=r"if\.onnx: node 'choice' \(If\) holds a graph"):
        fp16_file(source)


def test_an_operator_that_onnx_does_not_know_is_refused_by_name(tmp_path):
    node = helper.make_node("FusedThing", ["x"], ["y"], domain="com.example")
    source = made(tmp_path / "c.onnx", [node], [("x", [4])], [("y", [4])])
    model = onnx.load(str(source))
    model.opset_import.append(helper.make_opsetid("com.example", 1))
    onnx.save(model, str(source))
    with pytest.raises(EngineError, match=r"c\.onnx: node 'y' \(FusedThing\) is no operator"):
        fp16_file(source)


def test_a_file_that_is_not_a_graph_is_refused(tmp_path):
    path = tmp_path / "x.onnx"
    path.write_bytes(b"not a graph at all")
    with pytest.raises(EngineError, match=r"x\.onnx is not an ONNX graph"):
        fp16_file(path)


def test_without_onnx_the_message_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(DeviceError, match="pip install onnx"):
        fp16_file(POCKET / "fusion.onnx")


def test_a_home_that_cannot_be_written_is_named(tmp_path, monkeypatch):
    blocked = tmp_path / "file"
    blocked.touch()
    monkeypatch.setenv("AFFECTSTREAM_HOME", str(blocked))
    with pytest.raises(EngineError, match="AFFECTSTREAM_HOME"):
        fp16_file(POCKET / "fusion.onnx")


def test_the_second_time_it_comes_from_the_cache(cache):
    first = fp16_file(POCKET / "fusion.onnx")
    written = first.stat().st_mtime_ns
    assert fp16_file(POCKET / "fusion.onnx") == first
    assert first.parent == cache
    assert first.stat().st_mtime_ns == written


@pytest.mark.parametrize("damage", ["cut", "changed", "unsigned", "gone"])
def test_a_damaged_file_is_derived_again(damage):
    path = fp16_file(POCKET / "fusion.onnx")
    content = path.read_bytes()
    if damage == "cut":
        path.write_bytes(content[: len(content) // 2])
    elif damage == "changed":
        path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    elif damage == "unsigned":
        path.with_suffix(".sha256").unlink()
    else:
        path.unlink()
    assert fp16_file(POCKET / "fusion.onnx") == path
    assert path.read_bytes() == content


def test_another_graph_has_another_file(tmp_path):
    model = onnx.load(str(POCKET / "fusion.onnx"))
    model.producer_name = "someone else"
    onnx.save(model, str(tmp_path / "fusion.onnx"))
    assert fp16_file(tmp_path / "fusion.onnx") != fp16_file(POCKET / "fusion.onnx")


def test_weights_outside_the_file_belong_to_it(tmp_path):
    """A key over the graph alone would find the old weights again."""
    derived = []
    for scale in (1, 2):
        nodes = [helper.make_node("MatMul", ["x", "w"], ["y"])]
        weights = [("w", scale * eye(32))]
        source = made(tmp_path / "w.onnx", nodes, [("x", [1, 32])], [("y", [1, 32])], weights)
        model = onnx.load(str(source))
        (tmp_path / "w.bin").unlink(missing_ok=True)
        onnx.save(
            model,
            str(source),
            save_as_external_data=True,
            location="w.bin",
            size_threshold=0,
        )
        derived.append(fp16_file(source))
        with OnnxEngine(derived[-1]) as half:
            assert half.run({"x": np.ones((1, 32), np.float32)})["y"][0, 0] == scale
    assert derived[0] != derived[1]


def _derive(source):
    return str(fp16_file(Path(source)))


def test_concurrent_processes_get_one_complete_file(cache):
    context = multiprocessing.get_context("spawn")
    with context.Pool(3) as pool:
        paths = pool.map(_derive, [str(POCKET / "fusion.onnx")] * 3)
    assert len(set(paths)) == 1
    OnnxEngine(Path(paths[0]))
    assert [p.suffix for p in cache.iterdir() if p.suffix == ".tmp"] == []


def test_every_sum_and_comparison_of_the_rules_is_an_operator():
    known = {schema.name for schema in onnx.defs.get_all_schemas()}
    assert known >= SENSITIVE
