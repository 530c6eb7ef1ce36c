"""A hop on the GPU: how long it takes, and how far its FP16 is from FP32 on the processor."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from affectstream.bench.distribution import is_stable, runs_needed, summarize
from affectstream.bench.engines.feeds import Feeds, record_feeds
from affectstream.bench.engines.hop_calls import HopCalls, run_calls
from affectstream.engines.bundle.folder import engine_files
from affectstream.engines.devices.open import open_engine
from affectstream.engines.graphs.compare import Comparison, compare
from affectstream.engines.graphs.feeds import random_feeds
from affectstream.stream.recognizer import Recognizer

GOAL_MS = 5.0
"""p99 of the hop of one session."""
_WINDOWS = 3
_PERIOD_S = 0.02
"""Between paced hops. A session has one every 0.5 s: 25 sessions have as many."""


def measure_latency(calls: HopCalls, seconds: float) -> Iterator[dict[str, Any]]:
    """The engine calls of a hop for 1, 8 and 64 sessions, one hop after another, then paced for one session.

    Each takes about a quarter of `seconds`.
    """
    for sessions in (1, 8, 64):
        yield {"sessions": sessions, "pace": "none", **_latency(calls, sessions, seconds / 4, 0.0)}
    yield {
        "sessions": 1,
        "pace": f"a hop every {1e3 * _PERIOD_S:g} ms",
        **_latency(calls, 1, seconds / 4, _PERIOD_S),
    }


def _latency(calls: HopCalls, sessions: int, seconds: float, period_s: float) -> dict[str, Any]:
    batch = calls.hop(sessions)
    for _ in range(5):
        run_calls(batch)
    found: list[float] = []
    began = due = time.perf_counter()
    until, needed = began + seconds, runs_needed(99)
    # A few more runs for a p99, if they take no more than twice the time.
    while (now := time.perf_counter()) < until or (len(found) < needed and now < until + seconds):
        if period_s:
            due += period_s
            time.sleep(max(0.0, due - now))
        start = time.perf_counter()
        run_calls(batch)
        found.append(time.perf_counter() - start)
    third = -(-len(found) // _WINDOWS)
    summary = summarize(found)
    return {
        **summary,
        "stable": is_stable([found[n : n + third] for n in range(0, len(found), third)]),
        "hops_per_s": round(sessions * len(found) / sum(found), 1),
        **(
            {"within_goal": summary["p99"] <= GOAL_MS} if sessions == 1 and "p99" in summary else {}
        ),
    }


def measure_parity(
    recognizer: Recognizer, source: Path, extra: dict[str, Feeds] | None = None
) -> Iterator[dict[str, Any]]:
    """Every engine as `recognizer` runs it against FP32 on the processor.

    Inputs: those while `source` is scored, random ones, and `extra` by role.
    """
    recorded = record_feeds(recognizer, source)
    bundle = recognizer.bundle
    for role, (path, _) in engine_files(bundle.folder, bundle.manifest).items():
        engine = bundle.all_engines[role]
        with open_engine(path) as truth:
            inputs: dict[str, Feeds] = {
                "recording": recorded.get(role, []),
                "random": [dict(feeds) for feeds in random_feeds(truth.inputs, 4, 0)],
                "extra": (extra or {}).get(role, []),
            }
            for name, feeds in inputs.items():
                if feeds:
                    yield _row(role, engine.runtime, name, compare(truth, engine, feeds, 1), feeds)


def _row(role: str, runtime: str, name: str, found: Comparison, feeds: Feeds) -> dict[str, Any]:
    outputs: dict[str, dict[str, Any]] = {}
    for output in found.outputs:
        outputs[output.output] = {
            "largest_difference": float(f"{output.max_abs:.3g}"),
            "scale": float(f"{output.scale:.3g}"),
            "cosine": round(output.cosine, 7),
        }
        if (labels := output.agreement) is not None:
            outputs[output.output] |= {
                "labels": f"{labels.agreed} of {labels.clear} clear ones agree",
                "largest_probability_difference": float(f"{labels.largest:.3g}"),
            }
    rows = sum(len(next(iter(feed.values()))) for feed in feeds)
    return {
        "engine": role,
        "runtime": runtime,
        "inputs": name,
        "rows": rows,
        "passed": found.passed,
        "outputs": outputs,
    }
