"""A folder of recordings in one process and in several, against decoding alone and inference alone; killed at
random instants, in shards, and on a cluster that loses a node.

affectstream bench batch --data DATA
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import av
import psutil

from affectstream.bench.batch.corpus import DAMAGE, write_corpus
from affectstream.bench.batch.killed_node import kill_a_node
from affectstream.bench.batch.kills import kill_again_and_again
from affectstream.bench.batch.outputs import contents
from affectstream.bench.engines.feeds import Calls, record_calls
from affectstream.bench.machine import describe
from affectstream.bench.score.throughput import Cost, cost_of, count_pictures
from affectstream.engines.bundle.folder import POCKET, read_manifest
from affectstream.engines.errors import UsageError
from affectstream.stream import exits
from affectstream.stream.errors import SourceError
from affectstream.stream.recognizer import Recognizer

_FORMATS = ("--format", "jsonl,parquet,vtt")
_TWO_WORKERS = ("--workers", "2")
_WHOLE, _KILLED, _NODE = "undisturbed/results", "killed/results", "cluster/results"
"""Outputs of one name: their summaries bear it."""
_COMPARED = ("events.jsonl", "readings.parquet", "segments.vtt", "failures.csv")


@dataclass(frozen=True, slots=True)
class Run:
    """One run over all recordings."""

    workers: int
    media_s: float
    wall_s: float
    cpu_s: float
    """Processor time of all its processes."""
    peak_mb: float
    """Resident memory of all its processes together, at most."""


def main(
    data: Path, count: int, kills: int, *, only_kills: bool = False, killed_node: bool = False
) -> None:
    """Measure and print; one line of JSON at the end. With `only_kills` no rates are measured, so another
    load on the machine does not matter; with `killed_node` a Ray cluster loses a node. Raises `UsageError`
    without recordings in `data`."""
    sources = sorted(
        path for path in data.glob("video/*") if path.suffix in (".mp4", ".mov", ".wav")
    )
    if not sources:
        raise UsageError(
            f"--data {data}: expected the folder of the data sets, with .mp4, .mov or .wav folder video"
        )
    with tempfile.TemporaryDirectory() as scratch_name:
        scratch = Path(scratch_name)
        write_corpus(sources, scratch / "recordings", count)
        manifest = read_manifest(POCKET)
        found: dict[str, object] = {
            "bench": "batch",
            "bundle": f"{manifest.name} {manifest.version}",
            "recordings": count,
            "damaged": len(DAMAGE),
        }
        if not only_kills:
            found |= _throughput(scratch)
        if kills or killed_node:
            _score_undisturbed(scratch)
        if kills:
            found |= _kills(scratch, kills)
        if killed_node:
            line = _command(scratch, _NODE, formats=())
            found["killed_node"] = asdict(kill_a_node(line, scratch / _NODE, scratch / _WHOLE))
    print(json.dumps(found | {"machine": describe()}))


def _throughput(scratch: Path) -> dict[str, object]:
    """Measure one process and several, decoding and inference alone, and three shards."""
    runs = [_measure(scratch, workers) for workers in (1, os.cpu_count() or 2)]
    first = _contents(scratch / "out1")
    same = all(_contents(scratch / f"out{run.workers}") == first for run in runs)
    for run in runs:
        print(
            f"{run.workers} processes: {run.media_s / run.wall_s:.1f} x real time, "
            f"{run.media_s / run.cpu_s:.1f} s of media for a second of processor, "
            f"{run.peak_mb:.0f} MB"
        )
    decode, infer = bare_costs(scratch / "recordings")
    bare = Cost(decode.wall_s + infer.wall_s, decode.cpu_s + infer.cpu_s)
    print(
        f"decoding and inference alone, one after the other: {bare.wall_s:.1f} s; "
        + ", ".join(
            f"{run.workers} processes take {run.wall_s / bare.wall_s:.2f} of it" for run in runs
        )
    )
    shards_same = _shards(scratch) == first
    failures = (scratch / "out1/failures.csv").read_text().splitlines()[1:]
    return {
        "listed": len(failures),
        "runs": [asdict(run) for run in runs],
        "decode": asdict(decode),
        "inference": asdict(infer),
        "same_results": same,
        "shards_same_results": shards_same,
    }


def bare_costs(folder: Path) -> tuple[Cost, Cost]:
    """What decoding alone takes, and inference alone, of all recordings in `folder` that can be scored.

    They run one after the other in one process and one thread, each engine with exactly the inputs that
    scoring gives it.
    """
    decoding, inference = list[Cost](), list[Cost]()
    with Recognizer.open("pocket", device="cpu", threads=1) as recognizer:
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            try:
                calls = record_calls(recognizer, path)
                decoding.append(cost_of(partial(count_pictures, path)))
            except (SourceError, av.FFmpegError):
                continue  # one of the damaged files
            inference.append(cost_of(partial(_run_all, calls)))
    decode, infer = (
        Cost(round(sum(c.wall_s for c in costs), 1), round(sum(c.cpu_s for c in costs), 1))
        for costs in (decoding, inference)
    )
    return decode, infer


def _run_all(calls: Calls) -> None:
    for engine, feeds in calls:
        engine.run(feeds)


def _command(
    scratch: Path, output: str, *more: str, formats: Sequence[str] = _FORMATS
) -> list[str]:
    program = "from affectstream.stream.cli import main; main()"
    where = (str(scratch / "recordings"), "--output", str(scratch / output))
    return [sys.executable, "-c", program, "score", *where, *formats, "--device", "cpu", *more]


def _measure(scratch: Path, workers: int) -> Run:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    began_s = time.monotonic()
    process = subprocess.Popen(
        _command(scratch, f"out{workers}", "--workers", str(workers)), stderr=subprocess.DEVNULL
    )
    peak = _Peak(process.pid)
    code = process.wait()
    wall_s, after = time.monotonic() - began_s, resource.getrusage(resource.RUSAGE_CHILDREN)
    assert code == exits.PARTLY, code
    runs = [json.loads(path.read_bytes()) for path in (scratch / f"out{workers}").rglob("run.json")]
    return Run(
        workers,
        media_s=round(sum(run["media_s"] for run in runs), 1),
        wall_s=round(wall_s, 1),
        cpu_s=round(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, 1),
        peak_mb=round(peak.stop() / 1e6, 1),
    )


class _Peak:
    """The most memory that a process and its children held together."""

    def __init__(self, pid: int) -> None:
        self._process, self._most, self._over = psutil.Process(pid), 0, threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def stop(self) -> int:
        """Bytes."""
        self._over.set()
        self._thread.join()
        return self._most

    def _watch(self) -> None:
        while not self._over.wait(0.2):
            total = 0
            try:
                for one in (self._process, *self._process.children(recursive=True)):
                    total += one.memory_info().rss
            except psutil.Error:
                continue
            self._most = max(self._most, total)


def _shards(scratch: Path) -> Mapping[str, bytes]:
    """The results of three processes that know nothing of each other, with one output."""
    parts = [
        subprocess.Popen(
            _command(scratch, "shards", "--workers", "1", "--shard", f"{number}/3"),
            stderr=subprocess.DEVNULL,
        )
        for number in (1, 2, 3)
    ]
    for part in parts:
        assert part.wait() in (exits.DONE, exits.PARTLY)
    return _contents(scratch / "shards")


def _score_undisturbed(scratch: Path) -> None:
    """The output, in every default format, that disturbed runs are compared with."""
    subprocess.run(_command(scratch, _WHOLE, *_TWO_WORKERS, formats=()), stderr=subprocess.DEVNULL)


def _kills(scratch: Path, kills: int) -> dict[str, object]:
    """Kill a run over all recordings at random instants, and let it go on; is it as if undisturbed?"""
    expected = contents(scratch / _WHOLE)
    found = kill_again_and_again(
        _command(scratch, _KILLED, *_TWO_WORKERS, formats=()),
        scratch / _KILLED,
        kills,
        sum(name.endswith("run.json") for name in expected),
        expected,
        contents,
    )
    return asdict(found) | {"resumed_same_results": found.resumed_same_results}


def _contents(output: Path) -> dict[str, bytes]:
    return {
        path.relative_to(output).as_posix(): path.read_bytes()
        for path in output.rglob("*")
        if path.name in _COMPARED
    }
