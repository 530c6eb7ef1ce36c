"""The runtime on the real pycuda and the real cuda-python, which run on a stand-in for the driver.

A thread or an interpreter that ends with a pushed context makes pycuda abort the process, so each
scenario has a process of its own.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.fake_cuda import build

ABORTED = -6
INTERRUPTED = (-2, 130)
NOTHING_LEFT = str(
    dict.fromkeys(("memory", "pinned", "streams", "events", "graphs", "retained"), 0)
)
Scenario = Callable[[str], subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def libcuda(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if reason := build.missing():
        pytest.skip(reason)
    return build.compile_into(tmp_path_factory.mktemp("libcuda"))


@pytest.fixture
def play(libcuda: Path) -> Scenario:
    def run(name: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "tests.support.fake_cuda.scenarios", name],
            cwd=Path(__file__).parents[3],
            env={**os.environ, "LD_LIBRARY_PATH": str(libcuda.parent)},
            capture_output=True,
            text=True,
            timeout=60,
        )

    return run


def test_threads_and_asyncio_on_one_engine_with_graphs(play: Scenario) -> None:
    done = play("use")
    assert done.returncode == 0, done.stderr
    assert "cuda:0, CUDA graphs\n" in done.stdout
    assert done.stdout.endswith(f"{NOTHING_LEFT}\n")


@pytest.mark.parametrize("name", ["without_graphs", "failing_run", "cancelled", "closed_again"])
def test_no_use_leaks_gpu_memory(play: Scenario, name: str) -> None:
    done = play(name)
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith(f"{NOTHING_LEFT}\n")
    assert "PyCUDA" not in done.stderr, "pycuda complains of what it could not free"


def test_an_engine_that_is_dropped_closes_itself(play: Scenario) -> None:
    done = play("dropped")
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{NOTHING_LEFT}\n"


def test_whatever_call_fails_while_opening_all_is_freed(play: Scenario) -> None:
    done = play("failing_open")
    assert done.returncode == 0, done.stderr
    tried = dict(line.split() for line in done.stdout.splitlines())
    assert tried.keys() >= {"cuInit", "cuMemAlloc_v2", "cuStreamSynchronize"}
    assert all(int(count) > 0 for count in tried.values()), "a failure that did not reach opening"


def test_a_context_that_cannot_be_popped_is_lost_and_the_process_is_not(play: Scenario) -> None:
    done = play("failing_pop")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("context was lost") >= 2


def test_a_device_fault_is_reported_and_ends_the_engine(play: Scenario) -> None:
    first, second = play("failing_run").stdout.splitlines()[:2]
    assert "CUDA failed while computing" in first
    assert "failed before, open it again" in second


def test_a_gpu_that_is_not_there_is_named(play: Scenario) -> None:
    assert "cuda:3 was requested, but the driver shows 1 GPU" in play("no_device").stdout


def test_an_exit_without_close_finishes_and_frees(play: Scenario) -> None:
    done = play("exit_without_close")
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"20 {NOTHING_LEFT}\n"


def test_an_exit_with_several_engines_in_use_frees_them_all(play: Scenario) -> None:
    done = play("several")
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{NOTHING_LEFT}\n"


def test_a_fork_ends_without_the_thread_that_it_does_not_have(play: Scenario) -> None:
    done = play("forked")
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"7 [9.]\n{NOTHING_LEFT}\n"


def test_an_exit_while_a_thread_opens_an_engine_does_not_abort(play: Scenario) -> None:
    done = play("exit_while_opening")
    assert done.returncode == 0, done.stderr


def test_interrupts_end_the_process_as_they_do_and_the_gpu_is_freed_first(play: Scenario) -> None:
    done = play("interrupted")
    assert done.returncode in INTERRUPTED, done.stderr
    assert "KeyboardInterrupt" in done.stderr
    assert done.stdout == f"4 {NOTHING_LEFT}\n"


def test_an_interrupt_while_opening_does_not_abort(play: Scenario) -> None:
    done = play("interrupted_opening")
    assert done.returncode in INTERRUPTED, done.stderr
    assert "KeyboardInterrupt" in done.stderr


@pytest.mark.parametrize("name", ["naive_thread", "naive_exit"])
def test_control_a_context_that_stays_pushed_aborts_the_process(play: Scenario, name: str) -> None:
    done = play(name)
    assert done.returncode == ABORTED, done.stderr
    assert "context stack was not empty" in done.stderr
