"""Engines that sessions share: the same outputs in batches, and an error stays with its request."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from affectstream.engines.bundle.bundle import Bundle
from affectstream.engines.errors import EngineError
from affectstream.engines.spec import Array, Engine
from affectstream.stream.serve.batching import BatchingEngine, TimedEngine, share_engines


@pytest.fixture(scope="module")
def pocket() -> Iterator[Bundle]:
    with Bundle.open("pocket") as bundle:
        yield bundle


class Gated:
    """A real engine that can be held up, and notes how many rows each run had."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.inputs, self.outputs, self.runtime = engine.inputs, engine.outputs, engine.runtime
        self.rows: list[int] = []
        self.entered = threading.Semaphore(0)
        self.gate = threading.Event()
        self.gate.set()
        self.fault: EngineError | None = None

    def run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        self.rows.append(len(next(iter(feeds.values()))))
        self.entered.release()
        assert self.gate.wait(10)
        if self.fault is not None:
            raise self.fault
        return self._engine.run(feeds)

    def __enter__(self) -> Gated:
        return self

    def __exit__(self, *_: object) -> None: ...


def pixels(engine: Engine, rows: int, seed: int) -> dict[str, Array]:
    shape = (rows, *engine.inputs["pixels"].shape[1:])
    return {"pixels": np.random.default_rng(seed).integers(0, 255, shape, np.uint8)}


def wait_in_line(shared: BatchingEngine, count: int) -> None:
    for _ in range(2000):
        if len(shared._waiting) == count:
            return
        threading.Event().wait(0.002)
    raise AssertionError(f"{len(shared._waiting)} of {count} wait in line")


def test_waiting_requests_run_as_one_batch_and_get_their_own_rows(pocket: Bundle) -> None:
    engine = pocket.engines["face_encoder"]
    gated = Gated(engine)
    shared = BatchingEngine(gated, "face_encoder")
    feeds = [pixels(engine, rows, rows) for rows in (1, 2, 1, 3)]
    gated.gate.clear()
    with ThreadPoolExecutor(4) as pool:
        first = pool.submit(shared.run, feeds[0])
        assert gated.entered.acquire(timeout=10)
        others = []
        for waiting, feed in enumerate(feeds[1:], 1):
            others.append(pool.submit(shared.run, feed))
            wait_in_line(shared, waiting)
        gated.gate.set()
        answers = [one.result(10) for one in (first, *others)]
    assert gated.rows == [1, 8], "one alone, then 2 + 1 + 3 rows padded to a slot"
    for feed, answer in zip(feeds, answers, strict=True):
        expected = engine.run(feed)["embedding"]
        np.testing.assert_allclose(answer["embedding"], expected, atol=1e-4)


def test_a_batch_is_bounded_and_the_rest_runs_next(pocket: Bundle) -> None:
    engine = pocket.engines["face_encoder"]
    gated = Gated(engine)
    shared = BatchingEngine(gated, "face_encoder")
    gated.gate.clear()
    with ThreadPoolExecutor(4) as pool:
        jobs = [pool.submit(shared.run, pixels(engine, 1, 0))]
        assert gated.entered.acquire(timeout=10)
        for waiting, rows in enumerate((60, 8, 2), 1):
            jobs.append(pool.submit(shared.run, pixels(engine, rows, rows)))
            wait_in_line(shared, waiting)
        gated.gate.set()
        rows = [len(job.result(20)["embedding"]) for job in jobs]
    assert rows == [1, 60, 8, 2]
    assert gated.rows == [1, 64, 8], "60 + 2 fit together, 8 come next"


def test_a_wrong_feed_fails_alone(pocket: Bundle) -> None:
    engine = pocket.engines["face_encoder"]
    shared = BatchingEngine(engine, "face_encoder")
    with pytest.raises(EngineError, match="pixels"):
        shared.run({"pixels": np.zeros((1, 3), np.float32)})
    assert len(shared.run(pixels(engine, 2, 0))["embedding"]) == 2


def test_an_engine_error_reaches_its_batch_and_later_requests_run(pocket: Bundle) -> None:
    engine = pocket.engines["face_encoder"]
    gated = Gated(engine)
    shared = BatchingEngine(gated, "face_encoder")
    gated.gate.clear()
    with ThreadPoolExecutor(3) as pool:
        jobs = [pool.submit(shared.run, pixels(engine, 1, 0))]
        assert gated.entered.acquire(timeout=10)
        for waiting in (1, 2):
            jobs.append(pool.submit(shared.run, pixels(engine, 1, waiting)))
            wait_in_line(shared, waiting)
        gated.fault = EngineError("the device is gone")
        gated.gate.set()
        for job in jobs:
            with pytest.raises(EngineError, match="gone"):
                job.result(10)
    gated.fault = None
    assert len(shared.run(pixels(engine, 1, 0))["embedding"]) == 1


def test_many_threads_each_get_their_own_rows(pocket: Bundle) -> None:
    engine = pocket.engines["face_encoder"]
    shared = BatchingEngine(engine, "face_encoder")

    def work(seed: int) -> float:
        feed = pixels(engine, 1 + seed % 3, seed)
        found = shared.run(feed)["embedding"]
        return float(np.abs(found - engine.run(feed)["embedding"]).max())

    with ThreadPoolExecutor(8) as pool:
        assert max(pool.map(work, range(64))) < 1e-4


def test_sharing_measures_every_role(pocket: Bundle) -> None:
    observed: list[tuple[str, float]] = []
    shared = share_engines(pocket, lambda role, s: observed.append((role, s)), batch=True)
    assert set(shared.engines) == set(pocket.engines)
    assert all(isinstance(engine, TimedEngine) for engine in shared.engines.values())
    shared.engines["face_encoder"].run(pixels(pocket.engines["face_encoder"], 1, 0))
    assert [role for role, _ in observed] == ["face_encoder"]
    assert observed[0][1] > 0
