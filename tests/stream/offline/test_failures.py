"""One file never stops the others."""

import json

import pytest

from affectstream.stream import OptionError
from affectstream.stream.batch.workers import recording
from affectstream.stream.offline import to_stream
from affectstream.stream.offline.session import Session
from tests.support.command import run_command

WORDS = "1\n00:00:00,000 --> 00:00:01,000\nI am so happy, this is wonderful!\n"


@pytest.fixture
def talks(tmp_path):
    paths = [tmp_path / f"{name}.srt" for name in ("one", "two", "three")]
    for path in paths:
        path.write_text(WORDS)
    return paths


def fail_in(monkeypatch, name, error, *, late=False):
    """Let the session of the file `name` raise `error`, at its first hop or, with `late`, after some."""

    class Failing(Session):
        def __iter__(self):
            hops = super().__iter__()
            if self.name == name:
                if late:
                    yield next(hops)
                raise error
            yield from hops

    for module in (recording, to_stream):
        monkeypatch.setattr(module, "Session", Failing)


@pytest.mark.parametrize("late", [False, True])
def test_an_unexpected_error_names_the_file_and_its_traceback(
    talks, tmp_path, monkeypatch, capsys, late
):
    fail_in(monkeypatch, "two.srt", ValueError("31 is not a valid Type"), late=late)
    assert run_command("score", *talks, "-o", tmp_path / "out", "--workers", 1) == 3
    err = capsys.readouterr().err
    trace = tmp_path / "out/two.srt/traceback.txt"
    assert f"{talks[1]}: unexpected error" in err and "31 is not a valid Type" in err
    assert str(trace) in err and "Traceback" not in err
    assert "Traceback" in trace.read_text() and "31 is not a valid Type" in trace.read_text()
    assert {p.name for p in trace.parent.iterdir()} == {"run.json", "traceback.txt"}
    assert json.loads((trace.parent / "run.json").read_text())["failure"]["kind"] == "program"
    states = {
        p.parent.name: json.loads(p.read_text())["status"]
        for p in (tmp_path / "out").glob("*/run.json")
    }
    assert states == {"one.srt": "complete", "two.srt": "failed", "three.srt": "complete"}
    monkeypatch.undo()
    assert run_command("score", talks[1], "-o", tmp_path / "out") == 0
    assert not trace.exists()


def test_without_an_output_folder_the_traceback_is_a_temporary_file(
    talks, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    fail_in(monkeypatch, "one.srt", MemoryError())
    assert run_command("score", talks[0]) == 3
    (trace,) = tmp_path.glob("affectstream-*.txt")
    assert str(trace) in capsys.readouterr().err
    assert "MemoryError" in trace.read_text()


def test_options_that_do_not_fit_one_file_do_not_stop_the_others(
    talks, tmp_path, monkeypatch, capsys
):
    fail_in(monkeypatch, "one.srt", OptionError("this does not fit"))
    assert run_command("score", *talks, "-o", tmp_path / "out", "--workers", 1) == 3
    assert f"{talks[0]}: this does not fit" in capsys.readouterr().err
    assert len(list((tmp_path / "out").glob("*/events.jsonl"))) == 2
    assert run_command("score", talks[0]) == 2
