"""A device is used or refused, never replaced; `auto` gives the reason for its choice."""

import os
import subprocess
import sys

import pytest

from affectstream.engines import Bundle, DeviceError
from affectstream.engines.bundle.bundle_plans import build_options
from affectstream.engines.bundle.folder import POCKET
from affectstream.engines.devices.choose import Device, candidates, choose, parse_device
from affectstream.engines.devices.open import open_engine
from affectstream.engines.errors import UsageError
from tests.support.fake_cuda.driver import build_driver, has_driver

no_driver = pytest.mark.skipif(has_driver(), reason="this machine has a driver")


@pytest.mark.parametrize(
    ("text", "device"),
    [
        ("cpu", Device("cpu")),
        ("cuda", Device("cuda", 0)),
        ("cuda:1", Device("cuda", 1)),
        ("tensorrt", Device("tensorrt", 0)),
        ("tensorrt:12", Device("tensorrt", 12)),
        ("tensorrt-rtx:2", Device("tensorrt-rtx", 2)),
    ],
)
def test_devices_are_read_and_written(text, device):
    assert parse_device(text) == device
    assert parse_device(str(device)) == device


@pytest.mark.parametrize(
    "text", ["", "gpu", "cpu:0", "cuda:", "cuda:x", "cuda:-1", "CUDA:0", "cuda:0 "]
)
def test_an_unknown_device_is_refused_with_the_known_ones(text):
    with pytest.raises(UsageError, match=r"is not known: choose auto, cpu, cuda:0, tensorrt:0"):
        parse_device(text)
    with pytest.raises(UsageError, match="is not known"):
        choose(text)


def test_the_cpu_is_always_there():
    assert choose("cpu").device == "cpu"


@no_driver
def test_auto_takes_the_cpu_without_a_driver_and_gives_the_reason():
    choice = choose()
    assert choice.device == "cpu"
    assert "no GPU can be used: NVIDIA's driver does not load (libcuda.so.1" in choice.reason


@no_driver
@pytest.mark.parametrize(
    ("device", "command"),
    [
        ("cuda:1", "onnxruntime-gpu"),
        ("tensorrt", r"pip install 'affectstream\[tensorrt\]'"),
        ("tensorrt-rtx:0", r"pip install 'affectstream\[rtx,pycuda\]'"),
    ],
)
def test_a_device_that_is_named_and_missing_is_refused_with_the_command(device, command):
    with pytest.raises(
        DeviceError,
        match=rf"{device}.* was requested, but NVIDIA's driver does not load.*{command}",
    ):
        choose(device)


@no_driver
def test_opening_on_a_gpu_that_is_not_there_is_refused():
    for device in ("cuda:0", "tensorrt:0", "tensorrt-rtx:0"):
        with pytest.raises(DeviceError):
            open_engine(POCKET / "fusion.onnx", device)
    with pytest.raises(DeviceError, match="bundle pocket, fusion: "), Bundle.open(device="cuda:0"):
        pass


def test_only_devices_with_plans_have_build_options():
    with Bundle.open() as bundle:
        assert build_options(bundle.folder, bundle.manifest, "cpu") == {}
        assert build_options(bundle.folder, bundle.manifest, "cuda:0") == {}
        options = build_options(bundle.folder, bundle.manifest, "tensorrt:0")
        assert options.keys() == bundle.engines.keys()


def chosen(folder, device):
    code = f"from affectstream.engines.devices.choose import choose\nprint(choose({device!r}))\n"
    return subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"LD_LIBRARY_PATH": str(folder)},
        capture_output=True,
        text=True,
        timeout=300,
    )


@no_driver
def test_auto_names_every_device_that_did_not_work(tmp_path):
    """A GPU that is none: each runtime is tried on it, and fails in its own way."""
    done = chosen(build_driver(tmp_path), "auto")
    assert done.returncode == 0, done.stderr
    assert "device='cpu'" in done.stdout
    for kind in ("tensorrt:0: ", "tensorrt-rtx:0: ", "cuda:0: "):
        assert kind in done.stdout


@no_driver
def test_a_gpu_of_a_number_that_is_not_there(tmp_path):
    done = chosen(build_driver(tmp_path), "cuda:3")
    assert "there is no GPU 3: the driver shows 0 Fake RTX 0" in done.stderr


@pytest.mark.skipif(not has_driver(), reason="needs a GPU with its driver")
def test_what_works_on_this_gpu_can_be_opened():
    working = [device for device, found in candidates() if found.works]
    if not working:
        pytest.skip("; ".join(f"{device}: {found.text}" for device, found in candidates()))
    assert choose().device == str(working[0])
    for device in working:
        with open_engine(POCKET / "fusion.onnx", str(device)) as engine:
            assert "logits" in engine.outputs
