"""Four thousand mutated recordings and transcripts: each is scored or refused, in little time and memory.

`python -m tests.support.fuzz NUMBER` repeats one input. A crash that this finds becomes a test of its own.
"""

from __future__ import annotations

import queue
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path

import pytest

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform == "win32", reason="has no limit on memory"),
]

INPUTS = 4_000
WORKERS = 2
MEMORY_BYTES = 3 * 2**30
LIMIT_S = 60.0
"""For one input; most take a tenth of a second on an idle machine."""
_CODE = f"""
import resource, runpy
resource.setrlimit(resource.RLIMIT_AS, ({MEMORY_BYTES}, {MEMORY_BYTES}))
runpy.run_module("tests.support.fuzz", run_name="__main__")
"""


class Worker:
    """A process that scores one input after another; it is started again when it dies or is stuck."""

    def __init__(self) -> None:
        self._start()

    def score(self, number: int) -> str:
        """What became of one input."""
        try:
            self._process.stdin.write(f"{number}\n")
            self._process.stdin.flush()
            found = self._lines.get(timeout=LIMIT_S)
        except queue.Empty:
            found = f"took more than {LIMIT_S} s"
        except OSError:
            found = None
        if found in ("scored", "refused"):
            return found
        if found is None or found.startswith("took"):
            self.close()
            found = found or f"ended with {self._process.returncode}"
            self._start()
        return found

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.communicate()

    def _start(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", _CODE],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            cwd=Path(__file__).parents[3],
        )
        self._lines: queue.Queue[str | None] = queue.Queue()
        threading.Thread(
            target=self._read, args=(self._process.stdout, self._lines), daemon=True
        ).start()
        assert self._lines.get(timeout=LIMIT_S) == "ready"

    @staticmethod
    def _read(stdout, lines):
        for line in stdout:
            lines.put(line.strip())
        lines.put(None)


def test_mutated_inputs_are_scored_or_refused():
    found: dict[int, str] = {}

    def work(first: int) -> None:
        worker = Worker()
        try:
            for number in range(first, INPUTS, WORKERS):
                found[number] = worker.score(number)
        finally:
            worker.close()

    threads = [threading.Thread(target=work, args=(first,)) for first in range(WORKERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    counts = Counter(found.values())
    crashes = {n: what for n, what in found.items() if what not in ("scored", "refused")}
    assert not crashes
    assert len(found) == INPUTS
    assert min(counts["scored"], counts["refused"]) > INPUTS // 20  # neither kind is missing
