"""What the benchmark compares of two outputs: every file, but for the times of a run."""

import json
import sys

import pytest

from affectstream.bench.batch.killed_node import kill_a_node
from affectstream.bench.batch.outputs import PROCESS, TIMES, contents, differing
from affectstream.stream.sinks import DEFAULT_FORMATS
from affectstream.stream.sinks.by_format import file_writer
from affectstream.stream.summary.files import SUMMARY_FILES
from tests.support.command import run_command

WORDS = "1\n00:00:00,000 --> 00:00:01,000\nI am so happy, this is wonderful!\n"


@pytest.fixture
def recordings(tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    for name in ("one", "two"):
        (folder / f"{name}.srt").write_text(WORDS.replace("happy", name))
    (folder / "empty.mp4").touch()
    return folder


def test_every_file_of_two_runs_is_the_same_but_for_their_times(recordings, tmp_path):
    outputs = tmp_path / "a/results", tmp_path / "b/results"
    for output in outputs:
        assert run_command("score", recordings, "-o", output, "--workers", 1) == 3
    first, second = map(contents, outputs)
    assert differing(first, second) == []
    files = {file_writer(name).filename for name in DEFAULT_FORMATS} | {"run.json"}
    assert {name for name in files if f"one.srt/{name}" in first} == files
    assert {"failures.csv", *SUMMARY_FILES} < set(first)
    for output in outputs:
        assert (output / "one.srt/run.json").exists()
    changed = outputs[1] / "one.srt/report.html"
    changed.write_text(changed.read_text() + "\n")
    run = json.loads((outputs[1] / "two.srt/run.json").read_text())
    (outputs[1] / "two.srt/run.json").write_text(json.dumps(run | {"media_s": 99.0}))
    (outputs[1] / "two.srt/.lock").touch()
    (outputs[1] / "summary.csv").unlink()
    assert differing(first, contents(outputs[1])) == [
        "one.srt/report.html",
        "summary.csv",
        "two.srt/.lock",
        "two.srt/run.json",
    ]


def test_only_times_and_threads_are_left_out(tmp_path):
    run = {"status": "complete", "purpose": None} | dict.fromkeys((*TIMES, *PROCESS), 1)
    (tmp_path / "run.json").write_text(json.dumps(run))
    assert json.loads(contents(tmp_path, (*TIMES, *PROCESS))["run.json"]) == {
        "status": "complete",
        "purpose": None,
    }
    (tmp_path / "run.json").write_text("{")
    assert contents(tmp_path)["run.json"] == b"{"


@pytest.mark.slow
def test_a_cluster_that_loses_a_node_writes_what_one_machine_writes(
    recordings, tmp_path, monkeypatch
):
    pytest.importorskip("ray", reason="the 'cluster' extra is not installed")
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    for number in range(10):
        (recordings / f"{number}.srt").write_text(WORDS.replace("happy", str(number)))
    whole, output = tmp_path / "whole/results", tmp_path / "cluster/results"
    assert run_command("score", recordings, "-o", whole, "--workers", 1) == 3
    program = "from affectstream.stream.cli import main; main()"
    line = [sys.executable, "-c", program, "score", str(recordings), "-o", str(output)]
    found = kill_a_node([*line, "--device", "cpu"], output, whole)
    assert found.differing == [] and found.recordings == 13 and found.exit_code == 3
    assert found.lost == found.scored_twice == 0 and 4 <= found.finished_before < 13
