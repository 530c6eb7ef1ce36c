"""The options of `affectstream score`, and what it prints where."""

import io
import json
import os
import pty
import subprocess
import sys

import pytest
import typer
from rich.console import Console

from affectstream.stream.cli.flags import _parse_time
from affectstream.stream.offline.progress import ProgressDisplay
from tests.support.command import run_command
from tests.support.scoring import run

WORDS = "1\n00:00:00,000 --> 00:00:01,000\nI am so happy, this is wonderful!\n"


@pytest.fixture
def talk(tmp_path):
    path = tmp_path / "talk.srt"
    path.write_text(WORDS)
    return path


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", 90), ("90s", 90), ("1:30", 90), ("00:01:30", 90), ("1:00:00.5", 3600.5), ("0", 0)],
)
def test_times_are_seconds_or_clock_times(text, seconds):
    assert _parse_time(text, "--start") == seconds * 1e6


@pytest.mark.parametrize("text", ["", "soon", "1:2:3:4", "1h", "nan", "inf", "1e3", "٣", "9" * 400])
def test_other_times_are_refused(text):
    with pytest.raises(typer.BadParameter, match="expected seconds such as 90"):
        _parse_time(text, "--start")


def test_a_url_is_for_live(capsys):
    assert run_command("score", "rtsp://me:secret@camera.local/door") == 2
    err = capsys.readouterr().err
    assert "rtsp://camera.local/door" in err and "affectstream live --source" in err
    assert "secret" not in err


def _on_terminal(*arguments):
    """What `score` prints on a terminal."""
    control, terminal = pty.openpty()
    code = "from affectstream.stream.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code, "score", *map(str, arguments)],
        stdout=terminal,
        stderr=subprocess.PIPE,
        env={**os.environ, "COLUMNS": "100", "TERM": "dumb"},
        timeout=120,
    )
    os.close(terminal)
    printed = b""
    try:
        while data := os.read(control, 65536):
            printed += data
    except OSError:  # Linux: the terminal is closed
        pass
    os.close(control)
    assert done.returncode == 0, done.stderr
    return printed.decode()


def test_a_terminal_gets_lines_to_read_and_json_if_asked(talk):
    printed = _on_terminal(talk)
    assert "started talk.srt" in printed and "recording" in printed and "{" not in printed
    assert all(json.loads(line) for line in _on_terminal(talk, "--json").splitlines())


def test_a_pipe_gets_json_and_stderr_a_summary(talk):
    done = run("score", talk)
    assert [json.loads(line)["stream"] for line in done.stdout.splitlines()]
    assert "1 of 1 file complete: 6.0 s of media" in done.stderr
    assert "[1/1] talk.srt: done" in done.stderr


def test_progress_without_a_terminal_is_a_line_now_and_then():
    printed, now = io.StringIO(), iter([0.0, 4.0, 11.0, 11.0, 12.0])
    console = Console(file=printed, width=200)
    with (
        ProgressDisplay(console, 2, now_s=lambda: next(now)) as display,
        display.file("a.mp4", (0, 100_000_000)) as one,
    ):
        for end_us in (10_000_000, 50_000_000, 60_000_000):
            one.advance(end_us)
    assert printed.getvalue() == "[1/2] a.mp4: 50 s of media (50%)\n[1/2] a.mp4: done\n"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--modalities", "video,smell"], "expected some of video, voice, text"),
        (["--min-confidence", "2"], "--min-confidence"),
        (["--start", "noon"], "expected seconds such as 90"),
        (["--modalities", "voice"], "with these options, reads: voice"),
    ],
)
def test_a_wrong_choice_is_named(talk, capsys, options, message):
    assert run_command("score", talk, *options) in (2, 4)
    assert message in " ".join(capsys.readouterr().err.replace("│", " ").split())


def test_a_timeline_has_a_lane_for_each_stage(talk, tmp_path, capfd):
    assert run_command("score", talk, "--trace", tmp_path / "out.json") == 0
    assert capfd.readouterr().out.startswith("{")
    events = json.loads((tmp_path / "out.json").read_text())["traceEvents"]
    lanes = {event["args"]["name"] for event in events if event["name"] == "thread_name"}
    assert lanes == {"encode text", "fuse", "emit"}


def test_a_timeline_that_cannot_be_written_is_said_first(talk, tmp_path, capfd):
    assert run_command("score", talk, "--trace", tmp_path / "no" / "out.json") != 0
    found = capfd.readouterr()
    assert "cannot write --trace" in found.err and not found.out


def test_a_timeline_follows_one_process(talk, tmp_path, capfd):
    out = tmp_path / "out"
    assert run_command("score", talk, "--output", out, "--trace", tmp_path / "t.json") == 2
    assert "--trace follows one process" in capfd.readouterr().err
