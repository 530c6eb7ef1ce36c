"""Whatever goes wrong in a capture, the stream leaves it and no graph stays behind.

cuda-python stands in: what counts here is which of its calls are made.
"""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace

import pytest

from affectstream.engines.runtimes.cuda.memory import NotCaptured, _CudaGraph

DONE, FAILED = SimpleNamespace(name="CUDA_SUCCESS"), SimpleNamespace(name="CUDA_ERROR")


class Driver(ModuleType):
    """Counts graphs that were captured and not destroyed, and streams left in capture."""

    CUresult = SimpleNamespace(CUDA_SUCCESS=DONE)
    CUstreamCaptureMode = SimpleNamespace(CU_STREAM_CAPTURE_MODE_THREAD_LOCAL=1)
    CUstream = int

    def __init__(self, ended=DONE, instantiated=DONE):
        super().__init__("cuda.bindings.driver")
        self.ended, self.instantiated = ended, instantiated
        self.graphs = self.capturing = self.executables = 0

    def cuStreamBeginCapture(self, stream, mode):  # noqa: N802
        self.capturing += 1
        return (DONE,)

    def cuStreamEndCapture(self, stream):  # noqa: N802
        self.capturing -= 1
        self.graphs += 1
        return self.ended, 7

    def cuGraphDestroy(self, graph):  # noqa: N802
        self.graphs -= 1

    def cuGraphInstantiate(self, graph, flags):  # noqa: N802
        self.executables += self.instantiated is DONE
        return self.instantiated, 8

    def cuGraphExecDestroy(self, graph):  # noqa: N802
        self.executables -= 1

    @property
    def left(self):
        return self.graphs, self.capturing, self.executables


@pytest.fixture
def capture(monkeypatch):
    def run(driver, enqueue):
        for name in ("cuda", "cuda.bindings"):
            monkeypatch.setitem(sys.modules, name, ModuleType(name))
        monkeypatch.setitem(sys.modules, "cuda.bindings.driver", driver)
        return _CudaGraph(SimpleNamespace(handle=3), enqueue)

    return run


def test_a_captured_graph_is_kept_until_it_is_closed(capture):
    driver = Driver()
    graph = capture(driver, lambda: True)
    assert driver.left == (0, 0, 1)
    graph.close()
    assert driver.left == (0, 0, 0)


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_exception_while_enqueueing_leaves_nothing(capture, error):
    def enqueue():
        raise error

    driver = Driver()
    with pytest.raises(error):
        capture(driver, enqueue)
    assert driver.left == (0, 0, 0)


@pytest.mark.parametrize(
    ("driver", "done", "message"),
    [
        (Driver(), False, "enqueue refused"),
        (Driver(ended=FAILED), True, "CUDA_ERROR"),
        (Driver(instantiated=FAILED), True, "CUDA refused: CUDA_ERROR"),
    ],
)
def test_a_capture_that_is_refused_leaves_nothing(capture, driver, done, message):
    with pytest.raises(NotCaptured, match=message):
        capture(driver, lambda: done)
    assert driver.left == (0, 0, 0)
