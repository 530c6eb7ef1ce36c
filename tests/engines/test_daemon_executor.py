import subprocess
import sys
import threading

import pytest

from affectstream.engines.daemon_executor import DaemonExecutor

STUCK = """
import threading
from affectstream.engines.daemon_executor import DaemonExecutor

executor = DaemonExecutor(1, "stuck")
began = threading.Event()
executor.submit(lambda: (began.set(), threading.Event().wait()))
began.wait()
executor.shutdown(wait=False, cancel_futures=True)
print("done")
"""


def test_results_errors_and_cancelled_calls():
    executor, free = DaemonExecutor(1, "test"), threading.Event()
    first = executor.submit(lambda: free.wait(20) and 7)
    broken, waiting = executor.submit(int, "x"), executor.submit(int, "5")
    executor.submit(int, "1").cancel()
    free.set()
    assert (first.result(20), waiting.result(20)) == (7, 5)
    with pytest.raises(ValueError, match="invalid literal"):
        broken.result(20)
    executor.shutdown()
    with pytest.raises(RuntimeError, match="shut down"):
        executor.submit(int)


def test_calls_run_at_the_same_time_on_as_many_threads_as_they_need():
    together = threading.Barrier(3)
    executor = DaemonExecutor(8, "test")
    calls = [executor.submit(together.wait, 20) for _ in range(3)]
    assert sorted(call.result(20) for call in calls) == [0, 1, 2]
    assert len(executor._threads) == 3
    executor.shutdown()


def test_shutdown_cancels_what_waits():
    executor, began, free = DaemonExecutor(1, "test"), threading.Event(), threading.Event()
    running = executor.submit(lambda: (began.set(), free.wait(20)))
    waiting = executor.submit(int)
    assert began.wait(20)
    executor.shutdown(wait=False, cancel_futures=True)
    free.set()
    running.result(20)
    assert waiting.cancelled()


BUSY = """
import time
from affectstream.engines.daemon_executor import DaemonExecutor

executor = DaemonExecutor(1, "busy")
executor.submit(lambda: (time.sleep(0.3), print("whole")))
executor.shutdown(wait=False)
"""


def test_a_call_that_still_runs_is_waited_for():
    done = subprocess.run([sys.executable, "-c", BUSY], capture_output=True, text=True, timeout=30)
    assert done.stdout == "whole\n", done.stderr


def test_a_call_that_is_stuck_does_not_keep_the_program_from_ending():
    done = subprocess.run([sys.executable, "-c", STUCK], capture_output=True, text=True, timeout=30)
    assert done.stdout == "done\n", done.stderr
