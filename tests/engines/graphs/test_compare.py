"""Two engines on the same inputs: what counts as the same, and how the command tells."""

import hashlib
import json
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass, field

import numpy as np
import pytest

from affectstream.engines.bundle.folder import POCKET
from affectstream.engines.devices.choose import Device
from affectstream.engines.devices.variant import Variant
from affectstream.engines.errors import EngineError, UsageError
from affectstream.engines.graphs.compare import Agreement, OutputDifference, compare
from affectstream.engines.graphs.feeds import random_feeds, read_feeds
from affectstream.engines.runtimes.onnx import OnnxEngine
from affectstream.engines.spec import TensorSpec


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("AFFECTSTREAM_HOME", str(tmp_path / "home"))


def command(*words, cwd=None):
    code = "from affectstream.stream.cli import main; main()"
    return subprocess.run(
        [sys.executable, "-c", code, "engines", "compare", *words],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=120,
    )


@dataclass
class Fixed:
    """An engine that answers with what it was made with."""

    answer: dict
    inputs: dict = field(
        default_factory=lambda: {"x": TensorSpec("x", ("N",), np.dtype(np.float32))}
    )
    runtime: str = "fixed"

    @property
    def outputs(self):
        return {n: TensorSpec(n, a.shape, a.dtype) for n, a in self.answer.items()}

    def run(self, feeds):
        return dict(self.answer)


FED = [{"x": np.zeros(1, np.float32)}]


def against(expected, found, name="embedding"):
    result = compare(Fixed({name: expected}), Fixed({name: found}), FED, repeats=1)
    return result.outputs[0]


@pytest.mark.parametrize(
    ("text", "device", "precision"),
    [
        ("cpu", Device("cpu"), "fp32"),
        ("cpu:fp16", Device("cpu"), "fp16"),
        ("cuda", Device("cuda"), "fp16"),
        ("cuda:1", Device("cuda", 1), "fp16"),
        ("cuda:1:fp32", Device("cuda", 1), "fp32"),
        ("tensorrt-rtx:0", Device("tensorrt-rtx"), "fp16"),
        ("tensorrt:2:fp32", Device("tensorrt", 2), "fp32"),
    ],
)
def test_a_variant_is_a_device_and_a_precision(text, device, precision):
    assert Variant.parse(text) == Variant(device, precision)


@pytest.mark.parametrize("text", ["", "gpu", "cpu:int8", "cpu:fp16:fp16", "fp16", "cuda:x"])
def test_an_unknown_variant_is_refused(text):
    with pytest.raises(UsageError, match="is not known"):
        Variant.parse(text)


@pytest.mark.parametrize("text", ["auto", "auto:fp16"])
def test_auto_is_not_compared(text):
    with pytest.raises(UsageError, match=r"auto cannot be compared.*name a device, such as cpu"):
        Variant.parse(text)


def test_metrics_of_an_output():
    expected = np.array([[3.0, 0.0], [0.0, -4.0]], np.float32)
    gap = against(expected, expected + np.float32(0.05))
    assert gap.max_abs == pytest.approx(0.05, abs=1e-6)
    assert gap.mean_abs == pytest.approx(0.05, abs=1e-6)
    assert gap.scale == 4.0
    assert gap.cosine == pytest.approx(0.9998, abs=1e-4)
    assert gap.passed


def test_an_error_of_two_per_cent_of_the_largest_value_is_the_limit():
    expected = np.linspace(-10, 10, 50, dtype=np.float32)
    wrong = expected.copy()
    wrong[3] += 0.19
    assert against(expected, wrong).passed
    wrong[3] += 0.02
    assert not against(expected, wrong).passed


def test_small_errors_in_the_wrong_direction_do_not_pass():
    expected = np.full(100, 0.001, np.float32)
    gap = against(expected, -expected)
    assert gap.max_abs < 0.02
    assert not gap.passed


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("name", ["embedding", "logits"])
@pytest.mark.filterwarnings("ignore:invalid value")
def test_nan_never_passes(bad, name):
    expected = np.ones((2, 3), np.float32)
    found = expected.copy()
    found[1, 1] = bad
    assert not against(expected, found, name).passed
    assert not against(found, expected, name).passed


def test_all_zero_on_both_sides_is_the_same():
    zero = np.zeros((2, 3), np.float32)
    assert against(zero, zero).passed


def test_a_label_may_change_only_where_it_is_a_close_call():
    close = Agreement()
    close.add(np.array([[0.505, 0.495]]), np.array([[0.495, 0.505]]))
    assert (close.rows, close.clear, close.agreed) == (1, 0, 0)
    assert close.passed
    clear = Agreement()
    clear.add(np.array([[0.515, 0.485]]), np.array([[0.497, 0.503]]))
    assert (clear.rows, clear.clear, clear.agreed) == (1, 1, 0)
    assert clear.largest < 0.02
    assert not clear.passed


def test_one_label_in_two_hundred_may_change():
    row, other = [0.515, 0.485], [0.497, 0.503]
    for wrong, passed in ((1, True), (2, False)):
        agreement = Agreement()
        agreement.add(np.array([row] * 200), np.array([other] * wrong + [row] * (200 - wrong)))
        assert agreement.passed is passed


def test_a_probability_may_differ_by_a_fiftieth():
    for found, passed in (([0.881, 0.119], True), ([0.879, 0.121], False)):
        agreement = Agreement()
        agreement.add(np.array([[0.9, 0.1]]), np.array([found]))
        assert agreement.passed is passed


def test_logits_are_compared_as_probabilities():
    expected = np.array([[0.0, 30.0], [40.0, 0.0]], np.float32)
    gap = against(expected, 0.9 * expected, "logits")
    assert gap.max_abs > 3
    assert gap.agreement.agreed == 2
    assert gap.passed


def test_other_networks_are_refused():
    a = Fixed({"y": np.zeros((1, 2), np.float32)})
    with pytest.raises(EngineError, match="different outputs"):
        compare(a, Fixed({"z": np.zeros((1, 2), np.float32)}), FED, repeats=1)
    with pytest.raises(EngineError, match="not the same network"):
        compare(a, Fixed({"y": np.zeros((1, 3), np.float32)}), FED, repeats=1)
    with pytest.raises(EngineError, match="different inputs"):
        compare(a, Fixed(a.answer, inputs={}), FED, repeats=1)


def test_every_engine_of_the_bundle_takes_random_feeds_and_agrees_with_itself():
    for path in sorted(POCKET.glob("*.onnx")):
        with Variant.parse("cpu").open(path) as a, OnnxEngine(path) as b:
            feeds = random_feeds(a.inputs, 2, seed=0)
            found = compare(a, b, feeds, repeats=1)
        assert len(feeds) == 2
        assert found.passed
        assert all(gap.max_abs == 0 for gap in found.outputs)
        assert found.a_s > 0 and found.b_s > 0


def test_random_feeds_are_a_function_of_the_seed():
    with OnnxEngine(POCKET / "fusion.onnx") as engine:
        first, again, other = (random_feeds(engine.inputs, 1, seed) for seed in (0, 0, 1))
    np.testing.assert_equal(first, again)
    assert not np.array_equal(first[0]["video"], other[0]["video"])


def test_feeds_are_read_in_the_order_of_the_calls(tmp_path):
    arrays = {f"voice_encoder/{n}/samples": np.full(2, n) for n in (1, 2, 10)}
    np.savez(tmp_path / "f.npz", **arrays, **{"fusion/1/text": np.zeros(1)})
    found = read_feeds(tmp_path / "f.npz")
    assert [int(f["samples"][0]) for f in found["voice_encoder"]] == [1, 2, 10]
    assert set(found) == {"voice_encoder", "fusion"}


def test_a_file_without_feeds_is_refused(tmp_path):
    (tmp_path / "text.npz").write_text("not an archive")
    np.savez(tmp_path / "other.npz", x=np.zeros(1))
    np.save(tmp_path / "plain.npy", np.zeros(1))
    (tmp_path / "cut.npz").write_bytes((tmp_path / "other.npz").read_bytes()[:60])
    for name, message in (
        ("absent.npz", "was not found"),
        ("text.npz", "is not an .npz file"),
        ("plain.npy", "is not an .npz file"),
        ("cut.npz", "is not an .npz file, or is cut short"),
        ("other.npz", "holds no feeds, which are arrays named role/call/input"),
    ):
        with pytest.raises(EngineError, match=message) as refused:
            read_feeds(tmp_path / name)
        assert "bench feeds CLIP" in str(refused.value) and "pickle" not in str(refused.value)


def test_differences_add_up_over_batches():
    gap = OutputDifference("y")
    gap.add(np.ones(3, np.float32), np.ones(3, np.float32))
    gap.add(np.ones(1, np.float32), np.full(1, 1.01, np.float32))
    assert gap.mean_abs == pytest.approx(0.0025, rel=1e-3)
    assert gap.max_abs == pytest.approx(0.01, rel=1e-3)


def test_the_command_passes_fp16():
    done = command("cpu", "cpu:fp16", "--role", "text_encoder", "--role", "fusion")
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("pass\n")
    assert re.search(r"logits .* clear ones agree", done.stdout)
    assert "face_encoder" not in done.stdout


def large_common_part(folder):
    """A copy of pocket in whose head FP16 cannot tell the classes apart: what sets their weights
    apart is a hundred-thousandth of what they share."""
    onnx = pytest.importorskip("onnx", reason="FP16 graphs are derived with the package onnx")
    shutil.copytree(POCKET, folder)
    path = folder / "fusion.onnx"
    model = onnx.load(str(path))
    for weight in model.graph.initializer:
        if weight.name.endswith(".weight") and len(weight.dims) == 2:
            array = onnx.numpy_helper.to_array(weight) + np.float32(10_000)
            weight.CopyFrom(onnx.numpy_helper.from_array(array, weight.name))
    onnx.save(model, str(path))
    manifest = json.loads((folder / "bundle.json").read_text())
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    manifest["engines"]["fusion"]["sha256"] = digest
    (folder / "bundle.json").write_text(json.dumps(manifest))
    return folder


def test_the_command_fails_a_network_that_fp16_spoils(tmp_path):
    bundle = large_common_part(tmp_path / "spoiled")
    done = command("cpu", "cpu:fp16", "--bundle", str(bundle), "--role", "fusion")
    assert done.returncode == 3, done.stdout + done.stderr
    assert "<- out of limits" in done.stdout
    assert done.stdout.endswith("fail: an output is out of its limits\n")


def test_the_command_takes_recorded_feeds(tmp_path):
    with OnnxEngine(POCKET / "fusion.onnx") as head:
        (feeds,) = random_feeds(head.inputs, 1, seed=5)
    np.savez(tmp_path / "f.npz", **{f"fusion/1/{name}": a for name, a in feeds.items()})
    done = command("cpu", "cpu", "--inputs", "f.npz", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "1 calls" in done.stdout
    assert "face_encoder" not in done.stdout


@pytest.mark.parametrize(
    ("words", "message", "code"),
    [
        (("cpu", "npu"), "device 'npu' is not known", 2),
        (("cpu", "cpu:fp17"), "device 'cpu:fp17' is not known", 2),
        (("auto", "cpu"), "auto cannot be compared", 2),
        (("cpu", "cpu", "--role", "nose"), "no engine ['nose'] in pocket", 2),
        (("cpu", "cpu", "--inputs", "absent.npz"), "absent.npz was not found", 4),
        (("cpu", "cpu", "--bundle", "nowhere"), "bundle 'nowhere' not found", 4),
    ],
)
def test_what_cannot_be_compared_is_an_error_of_one_line(words, message, code, tmp_path):
    done = command(*words, cwd=tmp_path)
    assert done.returncode == code
    assert message in done.stderr
    assert "Traceback" not in done.stderr
