"""Result files: one writer for each folder, no input replaced, and what the tables say about themselves."""

import json
import os

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from affectstream.stream import OutputError, Recognizer, SourceOptions
from affectstream.stream.offline.output import OutputFolder
from affectstream.stream.results.origin import METADATA_KEY
from affectstream.stream.sinks import FORMATS
from tests.support.command import run_command

WORDS = "1\n00:00:00,000 --> 00:00:01,000\nI am so happy, this is wonderful!\n"


@pytest.fixture(scope="module")
def recognizer():
    with Recognizer.open(threads=1) as opened:
        yield opened


@pytest.fixture
def talk(tmp_path):
    """The fastest recording: words alone."""
    path = tmp_path / "talk.srt"
    path.write_text(WORDS)
    return path


def test_a_folder_has_one_writer_at_a_time(recognizer, tmp_path):
    with OutputFolder(tmp_path / "out", FORMATS, recognizer, "a"):
        before = sorted((tmp_path / "out").iterdir())
        with pytest.raises(OutputError, match="written by another process"):
            OutputFolder(tmp_path / "out", FORMATS, recognizer, "a")
        assert sorted((tmp_path / "out").iterdir()) == before
    with OutputFolder(tmp_path / "out", FORMATS, recognizer, "a") as second:
        second.discard()
    assert list((tmp_path / "out").iterdir()) == []


def test_leftovers_of_a_killed_run_are_removed_and_no_link_is_followed(talk, tmp_path):
    victim, folder = tmp_path / "victim", tmp_path / "out/talk.srt"
    victim.write_text("precious")
    folder.mkdir(parents=True)
    for name in (".events.jsonl.part", ".events.jsonl.0123abcd.part", "events.jsonl", ".lock"):
        (folder / name).symlink_to(victim)
    code = run_command("score", talk, "-o", tmp_path / "out")
    assert victim.read_text() == "precious"
    if code == 0:  # the lock may refuse a link, or remove it
        assert not any(path.is_symlink() for path in folder.iterdir())


@pytest.mark.parametrize(
    "name", ["events.jsonl/events.jsonl", "run.json/run.json", "segments.vtt/segments.vtt"]
)
def test_a_result_never_replaces_an_input(talk, tmp_path, capsys, name):
    path = tmp_path / "out" / name
    path.parent.mkdir(parents=True)
    path.write_text("WEBVTT\n\n00:00.000 --> 00:01.000\nhello\n")
    before = path.read_bytes()
    assert run_command("score", path, talk, "-o", tmp_path / "out") == 3
    assert path.read_bytes() == before
    assert (tmp_path / "out/talk.srt/run.json").exists()
    assert name in capsys.readouterr().err


def test_a_result_never_replaces_the_transcript_that_was_found(clip, tmp_path, capsys):
    folder = tmp_path / "out/segments.mp4"
    folder.mkdir(parents=True)
    os.link(clip, folder / "segments.mp4")
    (folder / "segments.vtt").write_text("WEBVTT\n\n00:00.000 --> 00:01.000\nhello\n")
    code = run_command("score", folder / "segments.mp4", "-o", tmp_path / "out", "--end", "1")
    assert code == 4
    assert "would replace the input" in capsys.readouterr().err
    assert "hello" in (folder / "segments.vtt").read_text()


def test_tables_name_their_stream_and_options_and_can_be_joined(talk, recognizer, tmp_path):
    other = tmp_path / "other.srt"
    other.write_text(WORDS)
    options = ("--min-confidence", "0.25", "--language", "en", "--start", "0:00")
    assert run_command("score", talk, other, "-o", tmp_path / "out", *options) == 0
    one, two = (
        pq.read_table(tmp_path / "out" / n / "readings.parquet") for n in ("talk.srt", "other.srt")
    )
    about = json.loads(one.schema.metadata[METADATA_KEY])
    assert about["stream"] == "talk.srt"
    assert about["bundle"]["name"] == "pocket" and about["bundle"]["version"]
    assert about["options"] == {"start_s": 0.0, "language": "en", "min_confidence": 0.25}
    assert str(tmp_path) not in json.dumps(about)
    empty = one["engagement"]  # pocket predicts none
    assert empty.null_count == one.num_rows > 0 and empty.type == pa.float64()
    joined = pa.concat_tables([one, two])
    assert set(joined["stream"].to_pylist()) == {"talk.srt", "other.srt"}
    readings = recognizer.score(talk, SourceOptions(language="en")).readings
    assert readings.schema.equals(one.schema)
    assert json.loads(readings.schema.metadata[METADATA_KEY])["options"] == {"language": "en"}
