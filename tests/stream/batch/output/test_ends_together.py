"""Several runs with one output that end at the same time: the files about all recordings lose nothing."""

import csv
import json
import subprocess
import sys
import time

import pyarrow.parquet as pq
import pytest

from affectstream.stream.batch.output.outcome import Outcome
from affectstream.stream.batch.output.report import write_across
from affectstream.stream.batch.output.storage import FolderStorage, ObjectStorage
from affectstream.stream.batch.workers import recording
from affectstream.stream.offline.failure import Failure
from affectstream.stream.summary.files import SUMMARY_FILES
from tests.support.command import run_command

SLOW = """
import pathlib, sys, time
recordings = int(sys.argv.pop())
from affectstream.stream.batch.output.storage import FolderStorage
write = FolderStorage.write
def write_later(self, filename, content):
    output = pathlib.Path(self.folder)
    (output / "about_to_write").touch()
    until = time.monotonic() + 60
    while len(list(output.rglob("run.json"))) < recordings and time.monotonic() < until:
        time.sleep(0.02)
    time.sleep(2)
    FolderStorage.write = write
    write(self, filename, content)
FolderStorage.write = write_later
from affectstream.stream.cli import main
main()
"""
"""A run that has read all results, and writes the first file about them once there are as many as its last
argument says, and a moment later: the other run ends then."""


def start(program, *line):
    return subprocess.Popen(
        [sys.executable, "-c", program, *map(str, line)], stderr=subprocess.PIPE, text=True
    )


def test_two_shards_that_end_together_lose_no_row(damaged, tmp_path):
    output = tmp_path / "out"
    line = ("score", damaged, "-o", output, "-f", "jsonl,parquet,report", "--workers", 1)
    first = start(SLOW, *line, "--shard", "1/2", 5)
    for _ in range(1200):
        if (output / "about_to_write").exists() or first.poll() is not None:
            break
        time.sleep(0.05)
    second = start("from affectstream.stream.cli import main; main()", *line, "--shard", "2/2")
    ends = {}
    for name, one in (("first", first), ("second", second)):
        _, ends[name] = one.communicate(timeout=120)
        assert one.returncode in (0, 3), ends[name]
    (output / "about_to_write").unlink()
    rows = list(csv.DictReader((output / "failures.csv").open()))
    assert [row["recording"] for row in rows] == ["day1/text.mp4", "empty.mp4"]
    names = set(pq.read_table(output / "summary.parquet")["recording"].to_pylist())
    assert names == {p.parent.relative_to(output).as_posix() for p in output.rglob("run.json")}
    assert len(names) == 5
    alone = tmp_path / "alone"
    assert run_command(*line[:3], alone, *line[4:]) == 3
    for name in ("failures.csv", "summary.csv", "summary.parquet", "pairs.csv"):
        assert (output / name).read_bytes() == (alone / name).read_bytes(), name
    assert not list(output.glob("*.tmp")) and not (output / ".lock").exists()


def test_what_another_run_could_not_write_stays_listed_until_it_is_scored(talks, tmp_path):
    storage = FolderStorage(tmp_path / "out")
    full = Outcome("day1/two.srt", "failed", Failure("output", "No space left on device"))
    write_across(storage, [full])
    assert run_command("score", talks / "one.srt", "-o", tmp_path / "out", "-f", "jsonl") == 0
    listed = (tmp_path / "out/failures.csv").read_text()
    assert "day1/two.srt,failed,output,No space left on device" in listed
    assert run_command("score", talks, "-o", tmp_path / "out", "-f", "jsonl", "--workers", 1) == 0
    assert (tmp_path / "out/failures.csv").read_text() == "recording,status,kind,reason\n"


def test_what_another_run_has_finished_meanwhile_is_not_listed(talks, tmp_path):
    storage = FolderStorage(tmp_path / "out")
    line = ("score", talks / "one.srt", "-o", tmp_path / "out", "-f", "jsonl", "--workers", 1)
    assert run_command(*line) == 0
    locked = Failure("output", "one.srt is being written by another process")
    write_across(storage, [Outcome("one.srt", "failed", locked)])
    assert (tmp_path / "out/failures.csv").read_text() == "recording,status,kind,reason\n"
    run = json.loads((tmp_path / "out/one.srt/run.json").read_text())
    stopped = {"status": "incomplete", "failure": {"kind": "interrupted", "reason": "stopped"}}
    storage.replace_run("one.srt", run | stopped)
    write_across(storage, [Outcome("one.srt", "failed", locked)])
    assert "one.srt,failed,output,one.srt is being" in (tmp_path / "out/failures.csv").read_text()


def test_old_results_on_a_store_hide_no_failure(talks, memory, monkeypatch):
    line = ("score", talks / "one.srt", "-o", memory, "-f", "jsonl", "--workers", 1)
    assert run_command(*line) == 0
    full = Outcome("one.srt", "failed", Failure("output", "No space left on device"))
    monkeypatch.setattr(recording, "_score_into", lambda *given: full)
    assert run_command(*line, "--end", "1", "--overwrite") == 4
    listed = (ObjectStorage(memory).read("failures.csv") or b"").decode()
    assert "one.srt,failed,output,No space left on device" in listed


def test_what_a_killed_run_left_half_written_is_removed(tmp_path):
    for name in ("failures.csv.0a1b2c3d.tmp", "summary.html.0a1b2c3d.tmp"):
        (tmp_path / name).write_text("torn")
    (tmp_path / "mine.tmp").write_text("of the user")
    (tmp_path / "failures.csv").write_bytes(b"a,b\rc\n\x00")
    write_across(FolderStorage(tmp_path))
    assert {path.name for path in tmp_path.iterdir()} == {"failures.csv", "mine.tmp"}


@pytest.fixture
def memory():
    """The address of an object store in this process."""
    fsspec = pytest.importorskip("fsspec", reason="the 'cluster' extra is not installed")
    files = fsspec.filesystem("memory")
    files.store.clear()
    yield "memory://study"
    files.store.clear()


def test_a_store_has_what_came_while_the_summary_was_made(memory, monkeypatch):
    """A store has no locks: this run has read the results, then another one publishes and ends."""
    storage, other = ObjectStorage(memory), ObjectStorage(memory)

    def publish(name, status):
        failure = None if status == "complete" else {"kind": "input", "reason": "cut off"}
        run = {"status": status, "failure": failure, "media_s": 1.0, "source": name}
        other.write(f"{name}/run.json", json.dumps(run).encode())

    publish("one.mp4", "failed")
    write, waiting = ObjectStorage.write, ["two.mp4"]

    def write_later(self, filename, content):
        if self is storage and waiting:
            publish(waiting.pop(), "failed")
            write_across(other)
        write(self, filename, content)

    monkeypatch.setattr(ObjectStorage, "write", write_later)
    write_across(storage)
    rows = csv.DictReader((other.read("failures.csv") or b"").decode().splitlines())
    assert [row["recording"] for row in rows] == ["one.mp4", "two.mp4"]
    assert all(name in (other.read("summary.csv") or b"").decode() for name in ("one", "two"))
    assert all(other.read(name) for name in SUMMARY_FILES)
