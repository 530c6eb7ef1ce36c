"""The table of recordings: what each line may say, and mistakes by line."""

import pytest

from affectstream.stream import OptionError, SourceOptions
from affectstream.stream.batch.plan.manifest import read_manifest
from tests.support.command import run_command

WORDS = "1\n00:00:00,000 --> 00:00:01,000\nI am so happy!\n"


@pytest.fixture
def folder(tmp_path):
    for name in ("day1/a.mp4", "day1/b.mp4", "c.mp4"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "words.srt").write_text(WORDS)
    (tmp_path / "people.json").write_text('{"recording": {"age": 34}}')
    return tmp_path


def write(folder, text, encoding="utf-8"):
    path = folder / "table.csv"
    path.write_bytes(text.encode(encoding))
    return path


def test_each_line_gives_options_of_its_own(folder):
    path = write(
        folder,
        "path,transcript,language,speakers,channels,start,end,metadata,group,x_note\n"
        "day1/a.mp4,words.srt,de,Alice=1;Bob=2,,10,00:01:00,people.json,patients,whatever\n"
        '\n"day1/b.mp4",,,,"left=1,right=2",,,,controls,\n'
        "c.mp4,,,2,,,,,,\n",
    )
    one, two, three = read_manifest(path, SourceOptions(language="en", min_confidence=0.5))
    assert [task.name for task in (one, two, three)] == ["day1/a.mp4", "day1/b.mp4", "c.mp4"]
    assert [task.group for task in (one, two, three)] == ["patients", "controls", ""]
    assert one.path == folder / "day1/a.mp4"
    assert one.options.transcript == folder / "words.srt"
    assert (one.options.language, two.options.language) == ("de", "en")
    assert (one.options.start_us, one.options.end_us) == (10_000_000, 60_000_000)
    assert one.options.assignment.names == {"Alice": 1, "Bob": 2}
    assert two.options.assignment.channels == (1, 2)
    assert three.options.assignment.everything == 2
    assert one.options.metadata.recording.age == 34
    assert one.options.described()["metadata"] == "people.json"
    assert {task.options.min_confidence for task in (one, two, three)} == {0.5}


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_a_spreadsheet_may_separate_cells_in_other_ways(folder, separator):
    text = f"Path{separator}Group\r\nc.mp4{separator}é\r\n"
    (task,) = read_manifest(write(folder, text, "utf-8-sig"), SourceOptions())
    assert (task.name, task.group) == ("c.mp4", "é")


def test_every_mistake_is_named_with_its_line(folder):
    path = write(
        folder,
        "path,start,end,language,speakers,transcript,metadata\n"
        "c.mp4,,,,,,\n"
        "day1/b.mp4,,,,,,none.json\n"
        "day1/a.mp4,noon,,,,,\n"
        "day1/a.mp4,20,10,,,,\n"
        "day1/a.mp4,,,klingon,,,\n"
        "day1/a.mp4,,,,Alice,,\n"
        "day1/a.mp4,,,,,none.srt,\n"
        "day1/a.mp4,,,,,,words.srt\n"
        "day1/a.mp4,,\n"
        ",1,,,,,\n"
        "c.mp4,,,,,,\n",
    )
    with pytest.raises(OptionError) as raised:
        read_manifest(path, SourceOptions())
    text = str(raised.value)
    for line, what in {
        3: "none.json",
        4: "start 'noon': expected seconds",
        5: "must come after start",
        6: "language 'klingon' is not known",
        7: "expected a track",
        8: "none.srt",
        9: "words.srt",
        10: "expected 7 cells, found 3",
        11: "the cell of path is empty",
        12: "stands in line 2 already",
    }.items():
        assert f"line {line}: " in text and what in text, text
    assert "line 2: " not in text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file,start\nc.mp4,1\n", "path among them, found file, start"),
        ("path,transcipt\nc.mp4,\n", "did you mean 'transcript'"),
        ("path,path\nc.mp4,c.mp4\n", "stands there twice"),
        ("path,group\n", "names no recording"),
        ("", "found nothing"),
        ('path\n"c.mp4\n', "line 2: is no line of a CSV"),
    ],
)
def test_a_table_of_another_kind_is_refused(folder, text, message):
    with pytest.raises(OptionError, match=message):
        read_manifest(write(folder, text), SourceOptions())


def test_a_table_in_another_encoding_is_refused(folder):
    with pytest.raises(OptionError, match="line 2: is not UTF-8"):
        read_manifest(write(folder, "path,group\nc.mp4,é\n", "latin-1"), SourceOptions())
    with pytest.raises(OptionError, match="cannot be read"):
        read_manifest(folder / "none.csv", SourceOptions())


def test_a_recording_that_is_missing_fails_alone(folder, capsys):
    (folder / "words.srt").write_text("1\n00:00:00,000 --> 00:00:01,000\nwonderful\n")
    table = write(folder, "path\nwords.srt\ngone.mp4\n")
    assert run_command("score", table, "-o", folder / "out", "--workers", 1) == 3
    listed = (folder / "out/failures.csv").read_text()
    assert "gone.mp4,failed,input," in listed and "words.srt" not in listed
    (folder / "gone.mp4").write_text("here now, and no film")
    capsys.readouterr()
    assert run_command("score", table, "-o", folder / "out", "--workers", 1) == 3
    assert "1 recording has changed since" in capsys.readouterr().err


def test_a_table_of_which_nothing_is_there_is_refused(folder):
    with pytest.raises(OptionError, match=r"none of its 2 recordings is there, such as .*x\.mp4"):
        read_manifest(write(folder, "path\nx.mp4\ny.mp4\n"), SourceOptions())
