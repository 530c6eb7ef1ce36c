"""A command that is killed and started again, by a program that leaves a file for each step."""

import sys

from affectstream.bench.batch.kills import kill_again_and_again

PROGRAM = """
import pathlib, sys, time
output = pathlib.Path(sys.argv[1])
for number in range(4):
    folder = output / str(number)
    folder.mkdir(parents=True, exist_ok=True)
    if (folder / "run.json").exists():
        continue
    (folder / "events").write_text(str(number))
    time.sleep(0.1)
    (folder / "run.json").write_text("{}")
"""


def contents(output):
    return {path.name: (path / "events").read_bytes() for path in output.iterdir()}


def test_kills_are_counted_and_outputs_compared(tmp_path):
    line = [sys.executable, "-c", PROGRAM, str(tmp_path / "out")]
    expected = {str(number): str(number).encode() for number in range(4)}
    found = kill_again_and_again(line, tmp_path / "out", 4, 4, expected, contents)
    assert found.kills == 4 and found.killed_runs_ended >= 1 and found.resumed_same_results
    assert found.unfinished <= found.kills and found.rescored == 0
    other = kill_again_and_again(line, tmp_path / "out", 0, 4, {}, contents)
    assert not other.resumed_same_results and other.killed_runs_ended == 1
    assert other.differing == ["0", "1", "2", "3"] and found.compared == 4
