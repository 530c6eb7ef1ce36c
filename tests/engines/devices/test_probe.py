"""A driver that is missing, faulty, crashing or hanging is recognized, and does not crash this process."""

import os
import subprocess
import sys
import time

import msgspec
import numpy as np
import pytest

from affectstream.engines.devices.probe import SQUARE_GRAPH, ProbeResult, probe
from affectstream.engines.runtimes.onnx import OnnxEngine
from tests.support.fake_cuda.driver import build_driver, has_driver


def probed(folder, what="driver", limit_s=60.0):
    """`probe` in a process that finds the driver in `folder`."""
    code = (
        "import msgspec, sys\n"
        "from affectstream.engines.devices.probe import probe\n"
        f"print(msgspec.json.encode(probe({what!r}, limit_s={limit_s})).decode())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"LD_LIBRARY_PATH": str(folder)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return msgspec.json.decode(done.stdout, type=ProbeResult)


@pytest.mark.skipif(has_driver(), reason="this machine has a driver")
def test_without_a_driver_no_process_is_started():
    for what in ("driver", "cuda", "tensorrt"):
        found = probe(what)
        assert not found.works and not found.loads
        assert "NVIDIA's driver does not load (libcuda.so.1" in found.text


def test_a_driver_describes_its_gpus(tmp_path):
    found = probed(build_driver(tmp_path, "GPUS=2"))
    assert found.works, found.text
    assert found.text == "NVIDIA's driver, for CUDA 13.2"
    assert [gpu.name for gpu in found.gpus] == ["Fake RTX 0", "Fake RTX 1"]
    assert found.gpus[0].capability == 89
    assert found.gpus[0].memory_bytes == 12 << 30


@pytest.mark.parametrize(
    ("define", "text"),
    [
        ("FAULT=100", "refuses cuInit: CUDA error 100, it finds no GPU"),
        ("FAULT=999", "CUDA error 999, unknown error: reload the driver or restart"),
        ("FAULT=7", "refuses cuInit: CUDA error 7"),
        ("GPUS=0", "shows no GPU"),
        ("CRASH", "cuInit ended the process with SIGSEGV"),
    ],
)
def test_a_faulty_driver_is_explained(tmp_path, define, text):
    found = probed(build_driver(tmp_path, define))
    assert not found.works and found.loads
    assert text in found.text


@pytest.mark.slow
def test_a_driver_that_hangs_is_given_up(tmp_path):
    found = probed(build_driver(tmp_path, "HANG"), limit_s=3.0)
    assert not found.works
    assert "was not done after 3 s" in found.text


@pytest.mark.slow
def test_children_of_a_hanging_driver_are_not_waited_for(tmp_path):
    """It holds the output open, as a process does that the kernel does not let go of."""
    began = time.monotonic()
    found = probed(build_driver(tmp_path, "FORK", "HANG"), limit_s=3.0)
    assert "was not done after 3 s" in found.text
    assert time.monotonic() - began < 25  # what was started lasts 30


def test_a_file_that_is_not_a_driver_does_not_load(tmp_path):
    (tmp_path / "libcuda.so.1").write_bytes(b"not a library")
    found = probed(tmp_path)
    assert not found.works
    assert "does not load" in found.text and "libcuda.so.1" in found.text


def test_onnxruntime_without_cuda_is_reported_with_the_install_command(tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("this onnxruntime has CUDA")
    found = probed(build_driver(tmp_path), "cuda")
    assert not found.works
    assert "has no CUDA" in found.text and "onnxruntime-gpu" in found.text


@pytest.mark.skipif(not has_driver(), reason="needs NVIDIA's driver")
def test_the_driver_of_this_machine():
    found = probe("driver")
    assert found.works, found.text
    assert all(gpu.memory_bytes > 0 for gpu in found.gpus)


def test_the_tiny_graph_squares(tmp_path):
    path = tmp_path / "square.onnx"
    path.write_bytes(SQUARE_GRAPH)
    with OnnxEngine(path) as engine:
        found = engine.run({"x": np.array([[1, 2, 3, -4]], np.float32)})["y"]
    assert found.tolist() == [[1, 4, 9, 16]]
