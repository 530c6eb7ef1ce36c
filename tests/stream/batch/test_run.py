"""A folder of recordings in several processes: results, failures, exit codes, and going on after a stop."""

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from filelock import FileLock

from affectstream.engines.bundle.folder import POCKET
from affectstream.stream import OptionError, Recognizer, SourceOptions
from affectstream.stream.batch.output.storage import FolderStorage
from affectstream.stream.batch.workers import recording, worker
from affectstream.stream.errors import OutputError
from affectstream.stream.offline.output import OutputFolder
from tests.support.command import run_command
from tests.support.media import write_video

RESULTS = ("events.jsonl", "readings.parquet", "segments.vtt")


def contents(output):
    """The bytes of every result that must be the same in two runs."""
    return {
        path.relative_to(output).as_posix(): path.read_bytes()
        for path in sorted(output.rglob("*"))
        if path.name in (*RESULTS, "failures.csv")
    }


def status(output):
    return {
        path.parent.relative_to(output).as_posix(): json.loads(path.read_text())["status"]
        for path in output.rglob("run.json")
    }


@pytest.mark.parametrize("workers", [1, 2])
def test_a_folder_is_scored_and_bad_files_are_listed(damaged, tmp_path, capsys, workers):
    output = tmp_path / "out"
    assert run_command("score", damaged, "-o", output, "--workers", workers) == 3
    assert status(output) == {
        "one.srt": "complete",
        "day1/two.srt": "complete",
        "day1/three.vtt": "complete",
        "empty.mp4": "failed",
        "day1/text.mp4": "failed",
    }
    for name in ("one.srt", "day1/two.srt", "day1/three.vtt"):
        assert {path.name for path in (output / name).iterdir()} >= {*RESULTS, "run.json"}
    rows = list(csv.DictReader((output / "failures.csv").open()))
    assert [(row["recording"], row["kind"]) for row in rows] == [
        ("day1/text.mp4", "input"),
        ("empty.mp4", "input"),
    ]
    assert "is empty (0 bytes)" in rows[1]["reason"]
    err = capsys.readouterr().err
    assert "not a media file" in err and "x real time" in err and "2 not complete" in err


def test_several_processes_write_what_one_writes(damaged, tmp_path):
    video = write_video(damaged / "short.mp4", 60)
    shutil.copy(video, damaged / "day1/short.mp4")
    for number in (1, 3):
        assert run_command("score", damaged, "-o", tmp_path / str(number), "--workers", number) == 3
    one, three = (contents(tmp_path / name) for name in ("1", "3"))
    assert len(one) == 5 * len(RESULTS) + 1
    assert one == three


def test_nothing_that_can_be_scored_is_4(tmp_path):
    (tmp_path / "empty.mp4").touch()
    assert run_command("score", tmp_path, "-o", tmp_path / "out") == 4
    assert run_command("score", tmp_path, "-o", tmp_path / "out") == 4


def test_the_same_command_scores_nothing_again(damaged, tmp_path, capsys):
    output = tmp_path / "out"
    line = ("score", damaged, "-o", output, "--workers", 1)
    assert run_command(*line) == 3
    before = {path: path.stat().st_mtime_ns for path in output.rglob("run.json")}
    text = (output / "failures.csv").read_bytes()
    assert run_command(*line) == 3
    assert {path: path.stat().st_mtime_ns for path in output.rglob("run.json")} == before
    assert (output / "failures.csv").read_bytes() == text
    assert "5 of 5 recordings are scored already" in capsys.readouterr().err


def test_a_recording_that_is_left_alone_gets_the_threads_that_it_had_among_others(
    talks, tmp_path, monkeypatch
):
    monkeypatch.setattr("affectstream.stream.batch.run.cores", lambda: 2)
    output = tmp_path / "out"

    def threads():
        assert run_command("score", talks, "-o", output, "--workers", 2, "--threads", 2) == 0
        runs = output.rglob("run.json")
        return {path.parent: json.loads(path.read_text())["threads"] for path in runs}

    undisturbed = threads()
    shutil.rmtree(next(iter(undisturbed)))
    assert threads() == undisturbed


def test_only_damaged_recordings_are_retried_if_asked(damaged, tmp_path):
    output = tmp_path / "out"
    line = ("score", damaged, "-o", output, "--workers", 1)
    assert run_command(*line) == 3
    before = {path: path.stat().st_mtime_ns for path in output.rglob("run.json")}
    assert run_command(*line, "--retry-failed") == 3
    changed = {p.parent.name for p, t in before.items() if p.stat().st_mtime_ns != t}
    assert changed == {"empty.mp4", "text.mp4"}


def test_a_changed_recording_or_transcript_is_scored_again(talks, tmp_path, capsys):
    output = tmp_path / "out"
    video = write_video(talks / "short.mp4", 30)
    line = ("score", talks, "-o", output, "--workers", 1)
    assert run_command(*line) == 0
    os.utime(talks / "one.srt")  # a copy of a folder has other times
    assert run_command(*line) == 0
    assert "4 of 4 recordings are scored already" in capsys.readouterr().err
    (talks / "one.srt").write_text((talks / "one.srt").read_text().replace("wonderful", "awful"))
    video.with_suffix(".srt").write_text((talks / "one.srt").read_text())
    assert run_command(*line) == 0
    err = capsys.readouterr().err
    assert "2 of 4 recordings are scored already" in err
    assert "2 recordings have changed since" in err
    assert run_command(*line) == 0
    assert "4 of 4 recordings are scored already" in capsys.readouterr().err


def test_a_pipe_or_a_link_to_nothing_in_a_folder_is_listed_and_finished(talks, tmp_path, capsys):
    os.mkfifo(talks / "pipe.mp4")  # which a reader would wait for without end
    (talks / "gone.mp4").symlink_to(tmp_path / "nothing.mp4")
    line = ("score", talks, "-o", tmp_path / "out", "-f", "jsonl", "--workers", 1)
    assert run_command(*line) == 3
    assert "pipe.mp4: is not a regular file" in capsys.readouterr().err
    assert run_command(*line) == 3
    err = capsys.readouterr().err
    assert "5 of 5 recordings are scored already" in err and "changed" not in err
    (talks / "pipe.mp4").unlink()
    (talks / "pipe.mp4").write_bytes(b"")
    assert run_command(*line) == 3
    assert "1 recording has changed since" in capsys.readouterr().err


def test_long_names_and_control_characters_stop_nothing(talks, tmp_path, capsys):
    name = f"{'n' * 251}.srt"  # as long as file systems allow
    for folder in ("day1", "day2"):
        (talks / folder).mkdir(exist_ok=True)
        shutil.copy(talks / "one.srt", talks / folder / name)
    (talks / "bad\x1b[31m.srt").write_text("no cue in here")
    deep = talks  # a path that leaves no room for the names of results
    while (room := 4080 - len(os.fsencode(deep))) > 1:
        deep /= "d" * min(200, room - 1)
    deep.mkdir(parents=True)
    shutil.copy(talks / "one.srt", deep / "one.srt")
    files = (talks / "day1" / name, talks / "day2" / name, talks)
    output = tmp_path / "out"
    line = ("score", *files, "-o", output, "-f", "jsonl", "--workers", 1)
    assert run_command(*line) == 3
    err = capsys.readouterr().err
    assert "\x1b" not in err and "bad\ufffd[31m.srt: holds no cues" in err
    assert "File name too long" in err and "2 not complete" in err
    found = status(output)
    assert list(found.values()).count("complete") == 5
    assert all(len(os.fsencode(Path(folder).name)) <= 255 for folder in found)
    assert run_command(*line) == 3
    assert "6 of 7 recordings are scored already" in capsys.readouterr().err


@pytest.mark.parametrize("change", ["grow", "remove"])
def test_a_recording_that_changes_while_it_is_scored_is_not_complete(
    talks, tmp_path, monkeypatch, capsys, change
):
    path, output, score = talks / "one.srt", tmp_path / "out", recording._score
    whole = path.read_text()

    def meanwhile(session, folder, task, *given):
        if task.path == path:
            path.write_text(whole + "\n") if change == "grow" else path.unlink()
        return score(session, folder, task, *given)

    monkeypatch.setattr(recording, "_score", meanwhile)
    line = ("score", talks, "-o", output, "-f", "jsonl,eaf", "--workers", 1)
    assert run_command(*line) == 3
    assert status(output)["one.srt"] == "incomplete"
    assert "one.srt,incomplete,input,changed or was removed while" in (
        output / "failures.csv"
    ).read_text().replace('"', "")
    monkeypatch.undo()
    path.write_text(whole + "\nIt goes on.\n")
    assert run_command(*line) == 0
    assert "1 recording has changed since" in capsys.readouterr().err
    assert set(status(output).values()) == {"complete"}


def test_on_a_full_disk_the_table_still_says_what_became_of_the_recordings(
    talks, tmp_path, monkeypatch, capsys
):
    def full(self, filename, content):
        raise OutputError(f"cannot write {filename}: No space left on device")

    monkeypatch.setattr(FolderStorage, "write", full)
    assert run_command("score", talks, "-o", tmp_path / "out", "-f", "jsonl", "--workers", 1) == 4
    err = capsys.readouterr().err
    assert "x real time" in err and "cannot write failures.csv: No space left" in err


def test_results_made_in_another_way_are_refused_with_the_choice(talks, tmp_path, capsys):
    output = tmp_path / "out"
    line = ("score", talks, "-o", output, "--workers", 1)
    assert run_command(*line) == 0
    before = contents(output)
    assert run_command(*line, "--min-confidence", 0.4) == 2
    err = capsys.readouterr().err
    assert "3 of these recordings that were made in another way" in err
    assert "one.srt: min_confidence default, now 0.4" in err
    assert "Choose --overwrite to score them again, or another --output" in err
    assert run_command(*line, "--format", "jsonl,csv") == 2
    assert "without --format csv" in capsys.readouterr().err
    other = shutil.copytree(POCKET, tmp_path / "bundle")
    manifest = json.loads((other / "bundle.json").read_text())
    manifest["version"] = "9.9.9"
    (other / "bundle.json").write_text(json.dumps(manifest))
    assert run_command(*line, "--bundle", other) == 2
    assert "now pocket 9.9.9" in capsys.readouterr().err
    assert contents(output) == before
    assert run_command(*line, "--min-confidence", 0.4, "--overwrite") == 0
    assert contents(output) != before


def test_options_that_older_results_do_not_state_are_not_named_as_changed(talks, tmp_path, capsys):
    (tmp_path / "spk.json").write_text('{"recording": {"age": 34}}')
    output = tmp_path / "out"
    line = ("score", talks / "one.srt", "-o", output, "--workers", 1, "--metadata")
    assert run_command(*line, tmp_path / "spk.json") == 0
    document = output / "one.srt/run.json"
    run = json.loads(document.read_text())
    del run["options"]["metadata"]
    document.write_text(json.dumps(run))
    assert run_command(*line, tmp_path / "spk.json") == 0
    assert run_command(*line, tmp_path / "spk.json", "--end", "1") == 2
    assert "one.srt: end_s default, now 1.0\nChoose" in capsys.readouterr().err
    (tmp_path / "other.json").write_text('{"recording": {"age": 50}}')
    assert run_command(*line, tmp_path / "other.json", "--end", "1") == 2
    err = capsys.readouterr().err
    assert "one.srt: end_s default, now 1.0; metadata default, now other.json" in err


def test_a_process_that_dies_takes_no_other_recording_with_it(talks, tmp_path, capfd, monkeypatch):
    """A decoder that crashes: the recording is tried twice, and listed."""
    bad = tmp_path / "site/sitecustomize.py"
    bad.parent.mkdir()
    bad.write_text(
        "import os, sys\n"
        "if 'affectstream.stream.batch.workers.worker' in ' '.join(sys.orig_argv):\n"
        "    import affectstream.stream.batch.workers.recording as recording\n"
        "    score = recording.score_recording\n"
        "    def crash(recognizer, task, *rest, **named):\n"
        "        if task.name == 'day1/two.srt':\n"
        "            os.kill(os.getpid(), 11)\n"
        "        return score(recognizer, task, *rest, **named)\n"
        "    recording.score_recording = crash\n"
    )
    monkeypatch.syspath_prepend(bad.parent)
    output = tmp_path / "out"
    assert run_command("score", talks, "-o", output, "--workers", 2) == 3
    err = capfd.readouterr().err
    assert "its process died (signal 11, SIGSEGV): once more" in err
    assert status(output) == {
        "one.srt": "complete",
        "day1/three.vtt": "complete",
        "day1/two.srt": "failed",
    }
    assert "the process that scored it died" in (output / "summary.csv").read_text()
    (row,) = csv.DictReader((output / "failures.csv").open())
    assert (row["recording"], row["kind"]) == ("day1/two.srt", "crash")
    assert "use fewer --workers" in row["reason"]
    (
        bad.parent / "sitecustomize.py"
    ).unlink()  # another part, or the same command: it is not forgotten
    assert run_command("score", talks / "one.srt", "-o", output) == 0
    assert "day1/two.srt,failed,crash" in (output / "failures.csv").read_text()
    assert run_command("score", talks, "-o", output, "--workers", 2) == 0


def test_a_worker_ends_with_its_caller(tmp_path):
    """Also where the caller was killed: an orphan would hold the folder of its recording."""
    code = (
        "import subprocess, sys, os\n"
        "from affectstream.stream.batch.workers.pool import _Worker\n"
        "from affectstream.stream.batch.workers.worker import Settings\n"
        "from affectstream.engines.devices.choose import Choice\n"
        "from pathlib import Path\n"
        f"one = _Worker(Settings(Path({str(POCKET)!r}), Choice('cpu', ''), 1, 1, '.', (), ()))\n"
        "one.connection.recv()\n"
        "print(one.process.pid, flush=True)\n"
        "os.kill(os.getpid(), 9)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == -signal.SIGKILL, done.stderr
    pid = int(done.stdout)
    for _ in range(200):
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0]
        except FileNotFoundError:
            return
        if state == "Z":
            return
        signal.sigtimedwait([], 0.05)
    pytest.fail(f"worker {pid} still runs")


def test_what_several_recordings_need(talks, capsys, tmp_path):
    assert run_command("score", talks) == 2
    assert "it needs --output" in capsys.readouterr().err
    words = talks / "one.srt"
    for option in (("--shard", "1/2"), ("--overwrite",), ("--cluster", "auto")):
        assert run_command("score", words, *option) == 2
        assert f"{option[0]} needs --output" in capsys.readouterr().err
    assert run_command("score", talks, "-o", tmp_path / "out", "--transcript", words) == 2
    assert "give each its own in a table" in capsys.readouterr().err
    assert worker.ADVANCE_S > 0


def test_a_manifest_gives_each_recording_its_options_and_group(talks, tmp_path):
    (talks / "table.csv").write_text("path,language,group\none.srt,de,a\nday1/two.srt,,b\n")
    assert run_command("score", talks / "table.csv", "-o", tmp_path / "out") == 0
    runs = {
        name: json.loads((tmp_path / "out" / name / "run.json").read_text())
        for name in ("one.srt", "day1/two.srt")
    }
    assert [run["group"] for run in runs.values()] == ["a", "b"]
    assert [run["options"].get("language") for run in runs.values()] == ["de", None]


def test_another_group_in_the_table_is_taken_over_without_scoring_again(talks, tmp_path, capsys):
    output, table = tmp_path / "out", talks / "table.csv"
    table.write_text("path,group\none.srt,a\nday1/two.srt,b\n")
    assert run_command("score", table, "-o", output) == 0
    before = contents(output)
    capsys.readouterr()
    table.write_text("path,group\none.srt,c\nday1/two.srt,b\n")
    assert run_command("score", table, "-o", output) == 0
    err = capsys.readouterr().err
    assert "2 of 2 recordings are scored already" in err
    assert "1 of them have another group now" in err
    assert json.loads((output / "one.srt/run.json").read_text())["group"] == "c"
    rows = csv.DictReader((output / "summary.csv").open())
    assert [row["group"] for row in rows] == ["b", "c"]
    assert contents(output) == before
    assert run_command("score", table, "-o", output) == 0
    assert "another group" not in capsys.readouterr().err
    table.write_text("path,group\none.srt,\nday1/two.srt,b\n")
    assert run_command("score", table, "-o", output) == 0
    assert [row["group"] for row in csv.DictReader((output / "summary.csv").open())] == ["b", ""]
    table.write_text("path\none.srt\nday1/two.srt\n")  # no column: groups stay
    assert run_command("score", table, "-o", output) == 0
    assert json.loads((output / "day1/two.srt/run.json").read_text())["group"] == "b"


def test_many_recordings_from_python(damaged, tmp_path, capsys):
    with Recognizer.open(threads=1) as recognizer:
        result = recognizer.score_many(
            damaged, tmp_path / "out", formats=("jsonl",), workers=2, progress=False
        )
        assert [one.name for one in result.failures] == ["day1/text.mp4", "empty.mp4"]
        assert {one.status for one in result.outcomes} == {"complete", "failed"}
        assert capsys.readouterr().err == ""
        again = recognizer.score_many(
            [damaged / "one.srt"], str(tmp_path / "out"), formats=["jsonl"], progress=False
        )
        assert [one.done_before for one in again.outcomes] == [True]
        with pytest.raises(OptionError, match="formats: xls not known; expected some of jsonl"):
            recognizer.score_many(damaged, tmp_path / "out", formats=["xls"])
        with pytest.raises(OptionError, match="min_confidence default, now"):
            recognizer.score_many(damaged, tmp_path / "out", SourceOptions(min_confidence=0.5))


@pytest.mark.slow
def test_ctrl_c_keeps_the_results_of_all_processes_and_the_same_command_goes_on(tmp_path):
    folder, output = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    write_video(folder / "0.mp4", 2000)
    for number in (1, 2, 3):
        shutil.copy(folder / "0.mp4", folder / f"{number}.mp4")
    program = [sys.executable, "-c", "from affectstream.stream.cli import main; main()"]
    line = [*program, "score", str(folder), "-o", str(output), "--workers", "2", "-f", "jsonl"]
    process = subprocess.Popen(line, stderr=subprocess.PIPE, text=True)
    for _ in range(1200):
        if any(p.stat().st_size for p in output.rglob(".events.jsonl.*.part")):
            break
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, messages = process.communicate(timeout=60)
    assert process.returncode == 130, messages
    assert "the same command goes on" in messages and "Traceback" not in messages
    kinds = [
        json.loads(path.read_text())["failure"]["kind"]
        for path in output.rglob("run.json")
        if '"incomplete"' in path.read_text()
    ]
    assert set(kinds) <= {"interrupted"}
    assert not list(output.rglob(".*.part"))
    for number in range(4):
        write_video(folder / f"{number}.mp4", 10)
    assert subprocess.run(line, stderr=subprocess.DEVNULL).returncode == 0
    assert set(status(output).values()) == {"complete"}


def test_a_recording_that_another_run_is_writing_is_reported_unless_that_run_ends_it(
    talks, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(recording, "_PATIENCE_S", 0.0)
    output = tmp_path / "out"
    line = ("score", talks / "one.srt", "-o", output, "-f", "jsonl", "--workers", 1)
    with Recognizer.open(threads=1) as recognizer:
        folder = output / "one.srt"
        with OutputFolder(folder, ("jsonl",), recognizer, "one.srt"):
            assert run_command(*line) == 4
            assert "is being written by another process" in capsys.readouterr().err
    assert run_command(*line) == 0
    document = (folder / "run.json").read_bytes()
    (folder / "run.json").unlink()
    with FileLock(folder / ".lock"):
        score = recording._score_into

        def meanwhile(*given):
            outcome = score(*given)
            (folder / "run.json").write_bytes(document)
            return outcome

        monkeypatch.setattr(recording, "_score_into", meanwhile)
        assert run_command(*line) == 0
