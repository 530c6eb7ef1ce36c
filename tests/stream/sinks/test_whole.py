"""Formats that need the whole recording get everything of it, live from the run and again from the files."""

import json

import pytest

from affectstream.stream import OutputError
from affectstream.stream.cli import flags
from affectstream.stream.offline import output
from affectstream.stream.results.scored import ScoredRecording
from affectstream.stream.sinks import by_format, whole
from affectstream.stream.sinks.whole import RecordingWriter
from tests.support.command import run_command

WORDS = """1
00:00:00,000 --> 00:00:01,000
I am so happy, this is wonderful!

2
00:00:05,000 --> 00:00:06,000
Bob: what a pity
"""


@pytest.fixture
def written(monkeypatch):
    """The recordings that a writer of this test was given."""
    found = []

    def write(recording, path):
        found.append(recording)
        path.write_text(f"{len(recording.events)} events\n")

    monkeypatch.setitem(whole.RECORDING_WRITERS, "note", RecordingWriter("note.txt", write))
    monkeypatch.setattr(flags, "RECORDING_FORMATS", ("note",))
    return found


@pytest.fixture
def talk(tmp_path):
    path = tmp_path / "talk.srt"
    path.write_text(WORDS)
    return path


def test_a_writer_gets_the_whole_recording(talk, tmp_path, written):
    formats = ("--format", "jsonl,parquet,note", "--language", "en")
    assert run_command("score", talk, "-o", tmp_path / "out", *formats) == 0
    (recording,) = written
    folder = tmp_path / "out/talk.srt"
    assert (folder / "note.txt").read_text() == f"{len(recording.events)} events\n"
    assert not list(folder.glob("*.tmp"))
    assert recording.path == talk and recording.name == "talk.srt"
    assert [cue.text for cue in recording.words] == [
        "I am so happy, this is wonderful!",
        "what a pity",
    ]
    assert recording.options == {"language": "en"}
    assert recording.bundle["name"] == "pocket" and "joy" in recording.labels
    assert recording.events[0].what == "started" and recording.events[-1].what == "ended"
    again = ScoredRecording.load(folder, recording.words)
    assert again.events == recording.events
    assert again.segments == recording.segments
    assert again.readings.equals(recording.readings)
    assert again.readings.schema.equals(recording.readings.schema, check_metadata=True)
    assert again.run == json.loads((folder / "run.json").read_text())
    assert again.path == recording.path.absolute()


def test_a_writer_that_fails_leaves_no_file_and_no_run(talk, tmp_path, monkeypatch, capsys):
    def write(recording, path):
        path.write_text("half")
        raise OSError(28, "No space left on device")

    monkeypatch.setitem(whole.RECORDING_WRITERS, "note", RecordingWriter("note.txt", write))
    monkeypatch.setattr(flags, "RECORDING_FORMATS", ("note",))
    assert run_command("score", talk, "-o", tmp_path / "out", "--format", "note") == 4
    assert "note.txt: No space left on device" in capsys.readouterr().err
    assert list((tmp_path / "out/talk.srt").iterdir()) == []


def test_results_that_are_none_are_named(tmp_path):
    with pytest.raises(OutputError, match="these results cannot be read"):
        ScoredRecording.load(tmp_path)


def test_live_takes_no_format_of_whole_recordings(written, tmp_path, capsys):
    line = ("live", "--source", "0", "-o", tmp_path / "out", "--format", "note")
    assert run_command(*line) == 2
    assert "expected some of jsonl, parquet, csv, vtt" in " ".join(
        capsys.readouterr().err.replace("│", " ").split()
    )
    assert by_format.file_writer("note").filename == "note.txt"
    assert output.RUN == "run.json"
