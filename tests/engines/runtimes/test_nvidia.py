"""The bindings are loaded on use and once, and errors explain what is wrong with them."""

import ctypes
import os
import subprocess
import sys
import textwrap
import threading
from importlib.util import find_spec
from pathlib import Path

import pytest

from affectstream.engines.errors import DeviceError
from affectstream.engines.runtimes import nvidia
from affectstream.engines.runtimes.cuda.driver import query_gpu
from affectstream.engines.runtimes.nvidia import NvidiaLog, errors_of, load
from tests.support.fake_cuda.driver import build_driver, has_driver


@pytest.fixture
def afresh(monkeypatch):
    """As in a process that has loaded nothing yet."""
    monkeypatch.setattr(nvidia, "_loaded", {})
    for name in ("tensorrt", "tensorrt_bindings", "tensorrt_rtx", "tensorrt_rtx_bindings"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return monkeypatch


def module(afresh, tmp_path, code):
    """Install a module `tensorrt` with this code."""
    (tmp_path / "tensorrt.py").write_text(code)
    afresh.syspath_prepend(tmp_path)


def test_nvidia_modules_are_imported_on_use():
    code = "import affectstream.engines.plans.store, sys; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not [name for name in done.stdout.split() if name.startswith("tensorrt")]


def test_an_unknown_runtime_names_those_there_are():
    with pytest.raises(DeviceError, match="'trt' is not known: choose tensorrt or tensorrt-rtx"):
        load("trt")


@pytest.mark.parametrize(
    ("runtime", "modules", "command"),
    [
        (
            "tensorrt",
            ("tensorrt", "tensorrt_bindings"),
            "pip install 'tensorrt>=11'",
        ),
        (
            "tensorrt-rtx",
            ("tensorrt_rtx", "tensorrt_rtx_bindings"),
            r"pip install 'affectstream\[rtx\]'",
        ),
    ],
)
def test_an_absent_runtime_gives_its_install_command(afresh, runtime, modules, command):
    for name in modules:
        afresh.setitem(sys.modules, name, None)  # importing it raises ModuleNotFoundError
    with pytest.raises(
        DeviceError, match=f"{runtime} is not installed.*{' nor '.join(modules)}.*{command}"
    ):
        load(runtime)


def test_a_library_that_is_missing_is_named(afresh, tmp_path):
    module(afresh, tmp_path, "import ctypes; ctypes.CDLL('libnvinfer-of-nobody.so.11')")
    with pytest.raises(DeviceError, match=r"does not load: libnvinfer-of-nobody\.so\.11: cannot"):
        load("tensorrt")


def test_a_module_that_the_bindings_need_is_named(afresh, tmp_path):
    module(afresh, tmp_path, "import a_module_of_nobody")
    with pytest.raises(DeviceError, match="does not load: No module named 'a_module_of_nobody'"):
        load("tensorrt")


def test_an_old_version_would_build_fp32_for_fp16_and_is_refused(afresh, tmp_path):
    module(afresh, tmp_path, "__version__ = '10.13.2.6'")
    with pytest.raises(DeviceError, match=r"tensorrt 10\.13\.2\.6 is too old, 11\.0 or later"):
        load("tensorrt")


def test_many_threads_get_the_same_bindings():
    pytest.importorskip("tensorrt_rtx_bindings", reason="TensorRT for RTX is not installed")
    found = []
    threads = [
        threading.Thread(target=lambda: found.append(load("tensorrt-rtx"))) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert {id(bindings.logger) for bindings in found} == {id(found[0].logger)}


def test_the_log_of_the_library_is_collected():
    pytest.importorskip("tensorrt_rtx_bindings", reason="TensorRT for RTX is not installed")
    bindings = load("tensorrt-rtx")
    mark = bindings.log.mark()
    network = bindings.trt.Builder(bindings.logger).create_network(0)
    parser = bindings.trt.OnnxParser(network, bindings.logger)
    assert not parser.parse_from_file("/nowhere.onnx")
    assert any("/nowhere.onnx" in text for text in errors_of(bindings.log.since(mark)))


def test_since_returns_the_lines_after_a_mark():
    log = NvidiaLog(size=3)
    log.add("ERROR", "before")
    mark = log.mark()
    assert log.since(mark) == []
    log.add("INFO", "one")
    log.add("ERROR", "two")
    assert [line.text for line in log.since(mark)] == ["one", "two"]
    assert errors_of(log.since(mark)) == ["two"]


def test_a_full_log_drops_the_oldest_lines():
    log = NvidiaLog(size=3)
    mark = log.mark()
    for number in range(5):
        log.add("INFO", str(number))
    assert [line.text for line in log.since(mark)] == ["2", "3", "4"]


def test_a_gpu_is_described_or_reported_missing():
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        with pytest.raises(DeviceError, match="cuda:0: NVIDIA's driver does not load: libcuda"):
            query_gpu()
        return
    gpu = query_gpu()
    assert gpu.capability >= 50 and gpu.memory_bytes > 1 << 30 and gpu.name
    with pytest.raises(DeviceError, match="cuda:99 was requested, but the driver shows"):
        query_gpu(99)


@pytest.fixture
def with_stubs(tmp_path):
    """Run code in a process with TensorRT's real bindings, stand-ins for its libraries and two GPUs."""
    if find_spec("tensorrt_bindings") is None or find_spec("tensorrt_libs") is not None:
        pytest.skip(
            "pip install --no-deps tensorrt_cu13_bindings brings bindings without libraries"
        )
    if has_driver():
        pytest.skip("this machine has a driver, which a fake one would hide")
    root = Path(__file__).parents[3]
    environment = {**os.environ, "LD_LIBRARY_PATH": str(build_driver(tmp_path, "GPUS=2"))}

    def run(code):
        start = "from pathlib import Path; from tests.support.nvidia_stubs.names import load_stubs"
        code = f"{start}; load_stubs(Path({str(tmp_path)!r}))\n" + textwrap.dedent(code)
        done = subprocess.run(
            [sys.executable, "-c", code],
            cwd=root,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


def test_tensorrt_targets_the_gpu_of_this_machine(with_stubs):
    output = with_stubs("""
        from affectstream.engines.plans.target import target_for
        target = target_for("tensorrt")
        print(target.device, target.capabilities, target.gpu)
        """)
    gpu = "name='Fake RTX 0', capability=89, memory_bytes=12884901888, multiprocessors=46, cuda='13.2'"
    assert output == f"fake-rtx-0-sm89 (89,) Gpu({gpu})\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            "ordinal=1",
            "builds on cuda:0, here Fake RTX 0, but cuda:1 is Fake RTX 1: make ",
        ),
        ("(86,)", "builds for the GPU that it runs on, here Fake RTX 0 with compute capability 89"),
        ("ordinal=2", "cuda:2 was requested, but the driver shows 2 GPUs"),
    ],
)
def test_tensorrt_builds_for_nothing_else(with_stubs, arguments, message):
    output = with_stubs(f"""
        from affectstream.engines.plans.target import target_for
        try:
            target_for("tensorrt", {arguments})
        except Exception as error:
            print(type(error).__name__, error)
        """)
    assert message in output


def test_tensorrt_without_its_libraries_makes_no_builder_and_says_so(with_stubs):
    output = with_stubs("""
        from affectstream.engines.plans.build import BuildOptions, build
        from affectstream.engines.plans.target import target_for
        try:
            build(Path("graph.onnx"), BuildOptions(), target_for("tensorrt"))
        except Exception as error:
            print(type(error).__name__, error)
        """)
    assert output.startswith("DeviceError tensorrt 11.")
    assert "makes no builder" in output
