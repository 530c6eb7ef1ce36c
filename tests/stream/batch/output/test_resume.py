"""A run that is killed at any instant: the same command ends with the results of an undisturbed run."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager, suppress

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from affectstream.stream import Recognizer, SourceOptions
from affectstream.stream.batch.output.storage import FolderStorage
from affectstream.stream.batch.plan.find import find_tasks
from affectstream.stream.batch.run import BatchOptions, score_batch
from affectstream.stream.errors import OptionError, OutputError
from tests.stream.batch.test_run import contents
from tests.support.media import write_video

_KILL = {"left": None, "place": ""}
_CHANGES = {"open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate"}


def _count(event, arguments):
    """Let every change of a file fail after those that the test allows, as if the process were dead."""
    if _KILL["left"] is None or event not in _CHANGES:
        return
    path = os.fspath(arguments[0]) if isinstance(arguments[0], str | bytes | os.PathLike) else ""
    is_read = event == "open" and not (arguments[2] or 0) & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
    if is_read or not os.fsdecode(path).startswith(_KILL["place"]):
        return
    _KILL["left"] -= 1
    if _KILL["left"] < 0:
        raise OSError(5, "the process is dead")


@contextmanager
def dead_after(changes, place):
    """Within the block only so many changes of files in `place` happen."""
    _KILL.update(left=changes, place=str(place))
    try:
        yield
    finally:
        _KILL.update(left=None)


@pytest.fixture(scope="module")
def recognizer():
    sys.addaudithook(_count)  # stays, but does nothing outside `dead_after`
    with Recognizer.open(threads=1) as opened:
        yield opened


def run(recognizer, folder, output, options=None, **named):
    tasks = find_tasks([folder], options or SourceOptions(), output)
    how = BatchOptions(workers=1, progress=False, **named)
    return score_batch(recognizer, tasks, FolderStorage(output), how).exit_code


def all_files(output):
    return {
        path.relative_to(output).as_posix() for path in output.rglob("*") if path.name != ".lock"
    }


@given(changes=st.lists(st.integers(0, 60), min_size=1, max_size=3))
@settings(
    max_examples=5, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_after_any_change_of_a_file(damaged, tmp_path, recognizer, changes):
    undisturbed, output = tmp_path / "undisturbed", tmp_path / "out"
    if not undisturbed.exists():
        assert run(recognizer, damaged, undisturbed) == 3
    shutil.rmtree(output, ignore_errors=True)
    for number in changes:
        with dead_after(number, output), suppress(OutputError):  # of the table of failures
            run(recognizer, damaged, output)
    assert run(recognizer, damaged, output) == 3
    assert contents(output) == contents(undisturbed)
    assert all_files(output) == all_files(undisturbed)


@given(changes=st.integers(0, 40))
@settings(
    max_examples=5, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_while_other_results_are_overwritten(talks, tmp_path, recognizer, changes):
    """Old results are never taken for new ones, and what was scored anew is not scored again."""
    undisturbed, output = tmp_path / "undisturbed", tmp_path / "out"
    strict = SourceOptions(min_confidence=0.9)
    if not undisturbed.exists():
        assert run(recognizer, talks, undisturbed, strict) == 0
    shutil.rmtree(output, ignore_errors=True)
    assert run(recognizer, talks, output) == 0
    with dead_after(changes, output), suppress(OutputError):
        run(recognizer, talks, output, strict, overwrite=True)
    new = [path for path in output.rglob("run.json") if "min_confidence" in path.read_text()]
    before = [path.stat().st_mtime_ns for path in new]
    assert run(recognizer, talks, output, strict, overwrite=True) == 0
    assert [path.stat().st_mtime_ns for path in new] == before
    assert contents(output) == contents(undisturbed)


@pytest.mark.slow
def test_a_process_killed_at_40_random_instants(damaged, tmp_path):
    kills(damaged, tmp_path, 40)


def kills(folder, tmp_path, count):
    """Kill a run with two processes `count` times, each time later than the one before, and compare."""
    for number in range(3):
        write_video(folder / f"video{number}.mp4", 60)
    program = [sys.executable, "-c", "from affectstream.stream.cli import main; main()"]
    undisturbed, output = tmp_path / "undisturbed", tmp_path / "out"
    began_s = time.monotonic()
    line = [*program, "score", str(folder), "--workers", "2", "--output"]
    done = subprocess.run([*line, str(undisturbed)], capture_output=True, text=True)
    assert done.returncode == 3, done.stderr
    whole_s = time.monotonic() - began_s
    chance = random.Random(count)
    for _ in range(count):
        process = subprocess.Popen([*line, str(output)], stderr=subprocess.DEVNULL)
        try:
            process.wait(chance.uniform(0.2, 1.2) * whole_s)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
        process.wait()
    done = subprocess.run([*line, str(output)], capture_output=True, text=True)
    assert done.returncode == 3, done.stderr
    assert contents(output) == contents(undisturbed)


def test_the_last_recording_alone_gets_the_same_bytes(talks, tmp_path):
    """It then has all cores, and in a whole run one of them; its page does not show it."""
    (tmp_path / "one").mkdir()
    (talks / "one.srt").rename(tmp_path / "one/one.srt")
    with Recognizer.open(device="cpu", threads=2) as opened:
        opened.score_many(tmp_path / "one", tmp_path / "two threads", progress=False)
    with Recognizer.open(device="cpu", threads=1) as opened:
        opened.score_many(tmp_path / "one", tmp_path / "one thread", progress=False)
    pages = [tmp_path / name / "one.srt/report.html" for name in ("two threads", "one thread")]
    assert pages[0].read_bytes() == pages[1].read_bytes()


def test_a_recording_whose_name_another_shares_now_is_not_counted_twice(
    recognizer, talks, tmp_path
):
    for place in ("one", "two"):
        (tmp_path / place).mkdir()
        shutil.copy(talks / "one.srt", tmp_path / place / "a.srt")
    (tmp_path / "two/a.srt").write_text((talks / "day1/two.srt").read_text())
    recognizer.score_many(tmp_path / "one", tmp_path / "out", progress=False)
    both = [tmp_path / "one", tmp_path / "two"]
    with pytest.raises(OptionError, match=r"out/a.srt holds the results of .*one/a.srt"):
        recognizer.score_many(both, tmp_path / "out", progress=False)
    recognizer.score_many(both, tmp_path / "other", progress=False)
    again = recognizer.score_many(both, tmp_path / "other", progress=False)
    assert len(again.outcomes) == 2 and all(one.done_before for one in again.outcomes)


def test_another_recording_of_the_same_name_does_not_replace_the_first(recognizer, talks, tmp_path):
    for place, name in (("one", "one.srt"), ("two", "day1/two.srt")):
        (tmp_path / place).mkdir()
        shutil.copy(talks / name, tmp_path / place / "a.srt")
    recognizer.score_many(tmp_path / "one", tmp_path / "out", progress=False)
    with pytest.raises(OptionError, match=r"a.srt: recording .*one/a.srt, now .*two/a.srt"):
        recognizer.score_many(tmp_path / "two", tmp_path / "out", progress=False)
    (tmp_path / "one").rename(tmp_path / "moved")
    (moved,) = recognizer.score_many(tmp_path / "moved", tmp_path / "out", progress=False).outcomes
    assert moved.done_before
