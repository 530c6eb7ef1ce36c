"""What `affectstream bench soak` makes of the readings of a server."""

from __future__ import annotations

import math
import os

import pytest

for module in ("psutil", "prometheus_client"):
    pytest.importorskip(module, reason="comes with the 'serve' and 'dev' extras")

from affectstream.bench.serve.usage import ServerUsage, compare, parse
from affectstream.stream.errors import SourceError
from affectstream.stream.serve.metrics import Metrics
from affectstream.stream.serve.workers.merging import merge_metrics


def reading(at_s, memory_mb=250.0, *, hops, latency_s=0.0, age_s=0.0, dropped=0):
    return ServerUsage(
        at_s, memory_mb, 9, 4, 17, 4, 2, dropped, 0, hops, latency_s=latency_s, age_s=age_s
    )


def steady(minutes, latency_ms=5.0):
    """A reading every 10 s: 8 hops a second."""
    return [
        reading(60.0 + 10 * n, hops=80 * n, latency_s=0.08 * latency_ms * n, age_s=80 * n * 0.09)
        for n in range(minutes * 6 + 1)
    ]


def test_a_steady_server_is_stable_and_does_not_drift():
    found = compare(steady(9))
    assert [(w["from_min"], w["to_min"]) for w in found["windows"]] == [(1, 4), (4, 7), (7, 10)]
    for window in found["windows"]:
        assert window["events_per_s"] == 8
        assert window["latency_ms"] == pytest.approx(5.0)
        assert window["age_ms"] == pytest.approx(90.0)
    assert found["stable"] and found["queue_most"] == 2
    assert set(found["drift"].values()) == {0.0}


def test_growth_and_slower_answers_are_drift_and_unstable():
    usage = [
        reading(60.0 + 10 * n, 250 + n, hops=80 * n, latency_s=0.4 * n + 0.01 * n * n, dropped=n)
        for n in range(55)
    ]
    found = compare(usage)
    assert found["drift"]["memory_mb"] == pytest.approx(360, rel=0.01)
    assert found["drift"]["latency_ms"] > 10
    assert not found["stable"] and found["spread"]["latency_ms"] > 0.1
    assert [window["frames_dropped"] for window in found["windows"]] == [18, 18, 18]


def test_a_short_run_says_nothing_about_hours():
    found = compare(steady(1)[:2])
    assert not found["stable"] and found["drift"] == {}
    assert math.isnan(steady(1)[0].mean_ms("age", since=steady(1)[0]))


async def text_of(metrics):
    return metrics.text().decode()


def test_the_metrics_of_all_workers_are_added():
    import asyncio

    texts = {}
    for number in (1, 2):
        metrics = Metrics()
        metrics.count_waiting(3 * number)
        metrics.count_waiting(1)
        metrics.count_lines_dropped(number)
        metrics.sessions.set_function(lambda: 2)
        texts[number] = asyncio.run(text_of(metrics))
    for text, sessions, most, dropped in (
        (texts[1], 2, 3, 1),
        (merge_metrics(texts, []), 4, 6, 3),
    ):
        found = parse(text, os.getpid(), 12.34)
        assert (found.sessions, found.queue_most, found.lines_dropped) == (sessions, most, dropped)
        assert found.at_s == 12.3 and found.memory_mb > 10 and found.threads >= 1
    with pytest.raises(SourceError, match="no metric affectstream_tasks"):
        parse("affectstream_sessions 1.0\n", os.getpid(), 0.0)
