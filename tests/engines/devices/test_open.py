"""Opening a graph on TensorRT: from the cache, else built; what the runtime refuses is built again.

The builder is real where TensorRT for RTX is installed; the GPU and what runs on it stand in.
"""

import logging

import pytest
from msgspec.structs import replace
from typer.testing import CliRunner

from affectstream.engines import DeviceError, EngineError
from affectstream.engines.bundle.folder import POCKET
from affectstream.engines.cli import application
from affectstream.engines.devices.open import open_engine
from affectstream.engines.plans.plan import AccuracyCheck
from affectstream.engines.plans.store import PlanStore
from affectstream.engines.runtimes import tensorrt
from affectstream.engines.runtimes.cuda import driver as gpu

pytest.importorskip("onnx", reason="FP16 graphs are derived with the package onnx")
pytest.importorskip("tensorrt_rtx_bindings", reason="TensorRT for RTX is not installed")

GRAPH = POCKET / "fusion.onnx"
CARD = gpu.Gpu("RTX 4080", 89, 16 << 30, 76, "13.2")


class Runtime:
    """Stands in for `TensorRTEngine`: raises what `refusals` holds, one at each opening."""

    def __init__(self, refusals):
        self.refusals, self.opened = refusals, []

    def __call__(self, plan, bindings, *, name, ordinal):
        self.opened.append((name, bindings.runtime, ordinal))
        if self.refusals:
            raise self.refusals.pop(0)
        return plan


@pytest.fixture
def runtime(tmp_path, monkeypatch):
    monkeypatch.setenv("AFFECTSTREAM_HOME", str(tmp_path))
    monkeypatch.setattr(gpu, "query_gpu", lambda ordinal=0: CARD)

    def refusing(*refusals):
        found = Runtime(list(refusals))
        monkeypatch.setattr(tensorrt, "TensorRTEngine", found)
        return found

    return refusing


def log_messages(caplog):
    names = ("affectstream.engines.devices.open", "affectstream.engines.plans.store")
    return [record.getMessage() for record in caplog.records if record.name in names]


def test_a_plan_is_built_once(runtime, caplog):
    caplog.set_level(logging.WARNING)
    found = runtime()
    first = open_engine(GRAPH, "tensorrt-rtx:1")
    assert (
        len(log_messages(caplog)) == 1 and "fusion.onnx: building a plan" in log_messages(caplog)[0]
    )
    assert open_engine(GRAPH, "tensorrt-rtx:1") == first
    assert len(log_messages(caplog)) == 1
    assert found.opened == [("fusion.onnx", "tensorrt-rtx", 1)] * 2


def test_a_plan_that_the_runtime_refuses_is_quarantined_and_built_again(runtime, caplog, tmp_path):
    caplog.set_level(logging.WARNING)
    runtime(EngineError("Version tag does not match"))
    assert open_engine(GRAPH, "tensorrt-rtx")
    assert len(PlanStore().plans()) == 1
    (note,) = (tmp_path / "plans" / "quarantine").glob("*.txt")
    assert "Version tag does not match" in note.read_text()
    assert "moved to quarantine, to be built again: Version tag" in log_messages(caplog)[1]


def test_a_plan_that_is_refused_twice_is_an_error(runtime):
    runtime(EngineError("no"), EngineError("no again"))
    with pytest.raises(EngineError, match="no again"):
        open_engine(GRAPH, "tensorrt-rtx")


def test_a_fault_of_the_device_is_not_the_plans(runtime, tmp_path):
    runtime(DeviceError("pycuda is not there"))
    with pytest.raises(DeviceError, match="pycuda is not there"):
        open_engine(GRAPH, "tensorrt-rtx")
    assert len(PlanStore().plans()) == 1
    assert not (tmp_path / "plans" / "quarantine").exists()


def test_a_plan_that_was_built_beforehand_for_these_gpus_is_taken(runtime, caplog, monkeypatch):
    caplog.set_level(logging.WARNING)
    runtime()
    arguments = ("--role", "fusion", "--compute-capability", "86,89", "--level", "0")
    done = CliRunner().invoke(application, ["build", "--runtime", "tensorrt-rtx", *arguments])
    assert done.exit_code == 0, done.exception
    [built] = PlanStore().plans()
    monkeypatch.setattr(gpu, "query_gpu", lambda ordinal=0: replace(CARD, capability=86))
    assert open_engine(GRAPH, "tensorrt-rtx") == built.read()
    assert log_messages(caplog) == []
    monkeypatch.setattr(gpu, "query_gpu", lambda ordinal=0: replace(CARD, capability=120))
    open_engine(GRAPH, "tensorrt-rtx")  # for which nothing is there
    assert len(log_messages(caplog)) == 1 and "building a plan" in log_messages(caplog)[0]
    assert len(PlanStore().plans()) == 2


def test_a_new_plan_is_checked_on_the_gpu_that_it_is_for(runtime, monkeypatch):
    ordinals = []

    def check(plan, source, *, ordinal=0):
        ordinals.append(ordinal)
        return AccuracyCheck("not run", "not here")

    runtime()
    monkeypatch.setattr("affectstream.engines.plans.accuracy.check_plan", check)
    open_engine(GRAPH, "tensorrt-rtx:1")
    assert ordinals == [1]
