"""`bench loadgen`: the queue of hops, LoadGen's summaries, and LoadGen itself on engines that only sleep."""

import threading
import time

import numpy as np
import pytest

from affectstream.bench.loadgen.hop_queue import HopQueue
from affectstream.bench.loadgen.summary import parse_summary

SUMMARY = """
================================================
MLPerf Results Summary
================================================
Scenario : Server
Completed samples per second    : 50.25
Result is : INVALID
  Performance constraints satisfied : Yes
  Early stopping satisfied: NO
Early Stopping Result:
 * Run unsuccessful.
================================================
Additional Stats
================================================
Scheduled samples per second : 50.75
Min latency (ns)                : 10185872
Max latency (ns)                : 19992031
Mean latency (ns)               : 12592872
99.00 percentile latency (ns)   : 19992031
99.90 percentile latency (ns)   : 20000000
"""


class Sleeper:
    """An engine that remembers how many rows each run had."""

    def __init__(self, seconds=0.001):
        self.rows, self.seconds, self.go = [], seconds, threading.Event()
        self.go.set()

    def run(self, feeds):
        assert self.go.wait(10)
        time.sleep(self.seconds)
        self.rows.append(len(feeds["x"]))
        return {}

    def hop(self, sessions):
        return [(self, {"x": np.zeros(sessions)})]


def test_what_loadgen_says_is_read():
    found = parse_summary(SUMMARY)
    assert not found["valid"]
    assert found["completed_per_s"] == 50.25 and found["scheduled_per_s"] == 50.75
    assert found["conditions"] == {"performance constraints": True, "early stopping": False}
    assert found["latency_ms"] == {
        "min": 10.186,
        "max": 19.992,
        "mean": 12.593,
        "p99": 19.992,
        "p99.9": 20.0,
    }


@pytest.mark.parametrize(("batch", "rows"), [(1, [1] * 7), (4, [1, 4, 2])])
def test_hops_that_wait_are_computed_together(batch, rows):
    engine, done = Sleeper(), []
    queue = HopQueue(engine, 1, batch, done.extend)
    engine.rows.clear()
    with queue:
        engine.go.clear()
        queue.put([0])
        time.sleep(0.05)  # the worker has taken the first
        queue.put(range(1, 7))
        engine.go.set()
    assert engine.rows == rows
    assert done == list(range(7)), "no hop is lost when the queue is closed"


def test_an_error_is_kept_and_no_hop_waits_for_ever():
    engine, done = Sleeper(), []
    queue = HopQueue(engine, 2, 1, done.extend)
    engine.run = None
    with queue:
        queue.put([1, 2, 3])
    assert sorted(done) == [1, 2, 3] and isinstance(queue.error, TypeError)


def test_loadgen_drives_the_queue(tmp_path, monkeypatch):
    pytest.importorskip("mlperf_loadgen", reason="LoadGen comes with the 'loadgen' extra")
    from affectstream.bench.loadgen import command
    from affectstream.bench.loadgen.command import System, run, search

    monkeypatch.setattr(command, "QUERIES", 40)
    monkeypatch.setattr(command, "_STEPS", 2)
    system = System(Sleeper(), 1, 8, 0.2, 1000.0, tmp_path)
    single, offline = run(system, "SingleStream", 500), run(system, "Offline", 500)
    assert single["valid"] and single["latency_ms"]["mean"] >= 1
    assert offline["completed_per_s"] > 0 and "Offline" in offline["summary"]
    assert (tmp_path / "Offline/mlperf_log_summary.txt").is_file()
    rows = list(search(system, 400.0))
    assert rows[0]["asked_per_s"] == 200 and rows[1]["asked_per_s"] in (100, 300)
    assert all(row["latency_ms"]["p99"] > 0 for row in rows)


def test_an_unknown_scenario_is_named():
    pytest.importorskip("mlperf_loadgen", reason="LoadGen comes with the 'loadgen' extra")
    from affectstream.bench.loadgen.command import main
    from affectstream.engines.errors import UsageError

    with pytest.raises(UsageError, match=r"Multi.*SingleStream,Offline,Server"):
        main("pocket", "cpu", None, ["Multi"], [1], 1.0, 100.0, None, None)
