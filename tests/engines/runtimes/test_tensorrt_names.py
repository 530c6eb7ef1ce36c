"""Every name of NVIDIA's API that our code uses exists in the real bindings."""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.nvidia_stubs.names import used

ROOT = Path(__file__).parents[3]
RTX_ONLY = {
    "BuilderFlag.REQUIRE_USER_ALLOCATION",
    "ComputeCapability",
    "ComputeCapability.__members__",
    "DynamicShapesKernelSpecializationStrategy",
    "DynamicShapesKernelSpecializationStrategy.EAGER",
    "IBuilderConfig.num_compute_capabilities",
    "IBuilderConfig.set_compute_capability",
    "IExecutionContext.is_stream_capturable",
    "IRuntimeConfig.dynamic_shapes_kernel_specialization_strategy",
}
NO_LIBRARIES = importlib.util.find_spec("tensorrt_libs") is None


def run(tmp_path: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """In a process of its own: stubs stay loaded."""
    return subprocess.run(
        [sys.executable, *command, str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.fixture
def bindings() -> None:
    if importlib.util.find_spec("tensorrt_bindings") is None:
        pytest.skip("pip install --no-deps tensorrt_cu13_bindings==11.4.0.106 brings the bindings")
    if shutil.which("gcc") is None:
        pytest.skip("gcc is needed to compile stand-ins for TensorRT's libraries")


def test_the_scan_finds_the_names_that_matter() -> None:
    assert used() >= {
        "Runtime",
        "Runtime.deserialize_cuda_engine",
        "ICudaEngine.create_execution_context",
        "ICudaEngine.get_tensor_profile_shape",
        "IExecutionContext.execute_async_v3",
        "IExecutionContext.set_device_memory",
        "ExecutionContextAllocationStrategy.USER_MANAGED",
        "TensorIOMode.INPUT",
        "Builder.build_serialized_network",
        "IBuilderConfig.progress_monitor",
        "OnnxParser.parse_from_file",
        "IProgressMonitor.__init__",
        *RTX_ONLY,
    }


@pytest.mark.usefixtures("bindings")
def test_every_name_is_in_tensorrt_11(tmp_path: Path) -> None:
    done = run(tmp_path, "-m", "tests.support.nvidia_stubs.names", "tensorrt")
    assert done.returncode == 0, done.stderr
    assert set(json.loads(done.stdout)) == RTX_ONLY


def test_every_name_is_in_tensorrt_for_rtx(tmp_path: Path) -> None:
    if importlib.util.find_spec("tensorrt_rtx_bindings") is None:
        pytest.skip("pip install 'affectstream[rtx]' brings TensorRT for RTX")
    done = run(tmp_path, "-m", "tests.support.nvidia_stubs.names", "tensorrt-rtx")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == []


@pytest.mark.usefixtures("bindings")
@pytest.mark.skipif(not NO_LIBRARIES, reason="TensorRT's libraries are installed")
def test_real_bindings_that_make_no_runtime_raise_an_error(tmp_path: Path) -> None:
    code = """
import sys
from pathlib import Path
from tests.support.fake_cuda.device import LazyDevice
from tests.support.nvidia_stubs.names import load_stubs
from affectstream.engines.errors import EngineError
from affectstream.engines.runtimes.nvidia import load
from affectstream.engines.runtimes.tensorrt import TensorRTEngine
load_stubs(Path(sys.argv[1]))
try:
    TensorRTEngine(b"plan", load("tensorrt"), open_device=LazyDevice().opened)
except EngineError as error:
    print(error)
"""
    done = run(tmp_path, "-c", code)
    assert done.returncode == 0, done.stderr
    assert "plan: tensorrt makes no runtime: " in done.stdout


@pytest.mark.parametrize(
    ("plan", "message"), [("b''", "it is empty"), ("b'vtrt'", "it is cut short, or not a plan")]
)
def test_the_real_tensorrt_for_rtx_explains_data_that_is_not_a_plan(
    tmp_path: Path, plan: str, message: str
) -> None:
    if importlib.util.find_spec("tensorrt_rtx_bindings") is None:
        pytest.skip("pip install 'affectstream[rtx]' brings TensorRT for RTX")
    code = f"""
from tests.support.fake_cuda.device import LazyDevice
from affectstream.engines.errors import EngineError
from affectstream.engines.runtimes.nvidia import load
from affectstream.engines.runtimes.tensorrt import TensorRTEngine
try:
    TensorRTEngine({plan}, load("tensorrt-rtx"), open_device=LazyDevice().opened)
except EngineError as error:
    print(error)
"""
    done = run(tmp_path, "-c", code)
    assert done.returncode == 0, done.stderr
    assert f"does not open the plan: {message}; build it again" in done.stdout
