"""How many processes a machine gets: by cores, by memory that is free, and by what a container allows."""

import pytest

from affectstream.engines.bundle.bundle import Bundle
from affectstream.stream.batch.plan import sizing
from affectstream.stream.batch.workers.cluster import ranges_each


@pytest.fixture(scope="module")
def bundle():
    with Bundle.open() as opened:
        yield opened


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """A machine of 8 cores whose container says what the test writes."""
    monkeypatch.setattr(sizing, "_CGROUP", tmp_path)
    monkeypatch.setattr(sizing.os, "sched_getaffinity", lambda pid: set(range(8)), raising=False)
    return tmp_path


def test_as_many_as_cores_and_memory_allow(bundle, machine, monkeypatch):
    monkeypatch.setattr(sizing, "free_bytes", lambda: 64 * 2**30)
    assert sizing.worker_count(bundle, "cpu") == 8
    assert sizing.worker_count(bundle, "cuda:0") == sizing.TASKS_ON_GPU
    monkeypatch.setattr(sizing, "free_bytes", lambda: 2 * 2**30)
    assert 1 < sizing.worker_count(bundle, "cpu") < 5
    monkeypatch.setattr(sizing, "free_bytes", lambda: 0)
    assert sizing.worker_count(bundle, "cpu") == 1


def test_processes_that_are_left_perceive_ranges():
    assert sizing.share_out(16, 40, chosen=False) == (16, 1)
    assert sizing.share_out(16, 3, chosen=False) == (3, 5)
    assert sizing.share_out(2, 1, chosen=False) == (1, 1)
    assert sizing.share_out(2, 1, chosen=True) == (1, 2)
    assert sizing.share_out(1, 1, chosen=True) == (1, 1)


@pytest.mark.parametrize(
    ("limit", "cores"), [("max 100000", 8), ("250000 100000", 2), ("50000 100000", 1), ("", 8)]
)
def test_a_container_may_have_fewer_cores(machine, limit, cores):
    (machine / "cpu.max").write_text(limit)
    assert sizing.cores() == cores


def test_a_container_may_have_less_memory(machine):
    free = sizing.free_bytes()
    assert free > 0
    (machine / "memory.max").write_text("3000000\n")
    (machine / "memory.current").write_text("1000000\n")
    assert sizing.free_bytes() == 2_000_000
    (machine / "memory.max").write_text("max\n")
    assert sizing.free_bytes() > 2_000_000


@pytest.mark.parametrize(
    ("cores", "recordings", "chosen", "each"),
    [
        ([8, 8], 1, None, 8),  # a task runs on one node
        ([8, 8], 2, None, 8),
        ([8, 4], 2, None, 4),  # the smaller node may have to take the task of the other one
        ([16, 1], 1, None, 16),  # but for a head that only schedules
        ([8, 8], 16, None, 1),
        ([4, 4], 3, None, 1),  # two cores each are not worth it
        ([4, 4], 2, 4, 2),  # unless somebody says so
        ([2], 1, 2, 2),
        ([1], 1, 8, 1),
    ],
)
def test_how_many_cores_a_task_of_a_cluster_gets(cores, recordings, chosen, each):
    assert ranges_each(cores, recordings, chosen) == each
