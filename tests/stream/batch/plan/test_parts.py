"""Several parts of one recording in a table: names, mistakes, going on, and removing all of them."""

import csv
import json
import shutil

import pytest

from affectstream.stream import OptionError, SourceOptions
from affectstream.stream.batch.plan.find import find_tasks
from affectstream.stream.batch.plan.manifest import read_manifest
from affectstream.stream.batch.plan.task import is_name_of
from tests.stream.batch.test_run import status
from tests.support.command import run_command

CUES = "".join(
    f"{n}\n00:00:{10 * n:02d},000 --> 00:00:{10 * n + 4:02d},000\nI am so {word} about it!\n\n"
    for n, word in enumerate(("happy", "sad", "angry", "glad"), 1)
)


@pytest.fixture
def talk(tmp_path):
    (tmp_path / "day1").mkdir()
    (tmp_path / "day1/talk.srt").write_text(CUES)
    (tmp_path / "other.srt").write_text(CUES.replace("happy", "pleased"))
    return tmp_path / "day1/talk.srt"


def table(talk, *lines):
    path = talk.parent.parent / "table.csv"
    path.write_text("path,start,end,name\n" + "".join(f"{line}\n" for line in lines))
    return path


def names(path):
    return [task.name for task in read_manifest(path, SourceOptions())]


def test_parts_are_named_by_their_range_or_as_the_table_says(talk):
    lines = (
        "day1/talk.srt,,20,",
        "day1/talk.srt,20,0:30.5,",
        "day1/talk.srt,30,,",
        "other.srt,1,9,",
    )
    found = ["day1/talk.srt.0-20", "day1/talk.srt.20-30.5", "day1/talk.srt.30-end", "other.srt"]
    assert names(table(talk, *lines)) == found
    assert names(table(talk, *reversed(lines))) == found[::-1]
    more = ("day1/talk.srt,,,", "day1/talk.srt,5,6,anna/first", "day1/talk.srt,5,6,anna/again")
    assert names(table(talk, *lines, *more))[4:] == ["day1/talk.srt", "anna/first", "anna/again"]
    assert names(table(talk, "other.srt,1,9,mine")) == ["mine"]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (
            ["other.srt,5,,", "other.srt,0:05,,"],
            "line 3: .* stands in line 2 already: expected another",
        ),
        (
            ["other.srt,,,a", "day1/talk.srt,,,a"],
            "line 3: name 'a': the results of line 3 would lie",
        ),
        (["other.srt,,,", "day1/talk.srt,,,other.srt"], "line 3: name 'other.srt'"),
        (["other.srt,,,day1", "day1/talk.srt,,,"], "line 2: name 'day1': the results of line 3"),
        (
            ["other.srt,,,a/b/c", "day1/talk.srt,,,a"],
            "line 2: name 'a/b/c': .* folder of line 3, 'a'",
        ),
        (["other.srt,,,../a"], "line 2: name '../a': expected a folder in the output"),
        (["other.srt,,,/a"], "line 2: name '/a'"),
        (["other.srt,,,summary.csv"], "the output has a file called summary.csv"),
        (["other.srt,,,Failures.csv/x"], "the output has a file called failures.csv"),
        (
            ["other.srt,,,Anna", "day1/talk.srt,,,anna"],
            "line 3: name 'anna': the results of line 3",
        ),
        (["other.srt,,,Anna", "day1/talk.srt,,,anna/b"], "folder of line 2, 'Anna'"),
    ],
)
def test_names_that_cannot_be_are_mistakes_of_their_line(talk, lines, message):
    with pytest.raises(OptionError, match=message):
        names(table(talk, *lines))


@pytest.mark.parametrize(
    "name",
    [*("C:/x", "a:b", "a*", "a?", "a|b", "<a", "con", "day1/NUL.txt", "com1", "anna.", "anna /b")],
)
def test_names_that_windows_does_not_take_are_mistakes_everywhere(talk, name):
    with pytest.raises(OptionError, match=r"line 2: name .*: expected a folder in the output"):
        names(table(talk, f"other.srt,,,{name}"))
    assert names(table(talk, "other.srt,,,console/com10")) == ["console/com10"]


def second_table(talk, *lines):
    path = talk.parent.parent / "second.csv"
    table(talk, *lines).rename(path)
    return path


def test_parts_of_several_tables_are_all_found(talk):
    second = second_table(talk, "day1/talk.srt,20,30,", "day1/talk.srt,30,,last")
    tables = [table(talk, "day1/talk.srt,5,20,"), second, second]
    found = find_tasks([*tables, talk.parent], SourceOptions())
    assert [task.name for task in found] == [
        *("day1/talk.srt.5-20", "day1/talk.srt.20-30", "last", "talk.srt")
    ]
    # The first that has a part decides on its name.
    again = second_table(talk, "day1/talk.srt,5,20,mine", "other.srt,,,other")
    found = find_tasks([table(talk, "day1/talk.srt,5,20,"), again], SourceOptions())
    assert [task.name for task in found] == ["day1/talk.srt", "other"]


@pytest.mark.parametrize("name", ["one", "ONE", "one/two"])
def test_names_of_several_tables_are_not_shared(talk, name):
    second = second_table(talk, "other.srt,,,one")
    with pytest.raises(OptionError, match=r"would lie in .* give one of them another name"):
        find_tasks([second, table(talk, f"day1/talk.srt,,,{name}")], SourceOptions())


def test_names_stay_apart_whatever_else_is_called_so(talk, tmp_path):
    shutil.copy(talk, tmp_path / "day1/talk.srt.5-9.srt")
    again = tmp_path / "more/day1/talk.srt"
    again.parent.mkdir(parents=True)
    shutil.copy(talk, again)
    parts = table(talk, "day1/talk.srt,5,9,", "day1/talk.srt,9,,")
    tasks = find_tasks([parts, tmp_path, tmp_path / "more"], SourceOptions())
    assert len({task.name for task in tasks}) == len(tasks) == 6
    long = tmp_path / f"{'n' * 250}.srt"
    shutil.copy(talk, long)
    found = names(table(talk, f"{long.name},1,2,", f"{long.name},2,3,"))
    assert len(set(found)) == 2 and all(len(name) <= 255 for name in found)
    assert all(is_name_of(name, long) for name in found)


def test_the_name_of_a_part_is_known_for_one_of_its_recording(talk, tmp_path):
    parts = table(talk, "day1/talk.srt,5,9,", "day1/talk.srt,9,,")
    again = tmp_path / "day2"
    shutil.copytree(tmp_path / "day1", again / "day1")
    shutil.copy(parts, again / "table.csv")
    hashed = find_tasks([parts, again / "table.csv"], SourceOptions())
    for task in hashed:
        name = task.name.rpartition("/")[2]
        assert name.startswith("talk.srt.") and name.count(".") == 3
        assert is_name_of(name, task.path)
        assert not is_name_of(name, tmp_path / "talk.srt")
    assert not is_name_of("talk.srt.old", talk) and not is_name_of(
        "talk.srt.5-9", tmp_path / "a.srt"
    )


def test_parts_are_scored_each_and_resumed_and_all_removed(talk, tmp_path, capsys):
    parts = table(talk, "day1/talk.srt,,20,", "day1/talk.srt,20,,anna/second", "other.srt,,,")
    output = tmp_path / "out"
    line = ("score", parts, "-o", output, "-f", "jsonl,parquet,report", "--workers", 1)
    assert run_command(*line) == 0
    assert set(status(output)) == {"day1/talk.srt.0-20", "anna/second", "other.srt"}
    first, second = (
        (output / name / "events.jsonl").read_text()
        for name in ("day1/talk.srt.0-20", "anna/second")
    )
    assert first != second
    rows = list(csv.DictReader((output / "summary.csv").open()))
    assert {row["recording"] for row in rows} == {*status(output)}
    capsys.readouterr()
    (output / "anna/second/run.json").unlink()
    assert run_command(*line) == 0
    assert "2 of 3 recordings are scored already" in capsys.readouterr().err
    assert (output / "anna/second/events.jsonl").read_text() == second
    (output / "day1/talk.srt.0-20/run.json").unlink()  # as a kill leaves it
    assert run_command("purge", talk, "-o", output) == 0
    assert set(status(output)) == {"other.srt"}
    assert json.loads(capsys.readouterr().out)["left"] == []


def test_a_part_that_was_scored_alone_is_not_scored_twice(talk, tmp_path, capsys):
    output = tmp_path / "out"
    line = ("-o", output, "-f", "jsonl", "--workers", 1)
    assert run_command("score", table(talk, "day1/talk.srt,5,20,"), *line) == 0
    assert (
        run_command("score", table(talk, "day1/talk.srt,5,20,", "day1/talk.srt,20,,"), *line) == 2
    )
    assert "write day1/talk.srt in its column name" in " ".join(capsys.readouterr().err.split())
    named = table(talk, "day1/talk.srt,5,20,day1/talk.srt", "day1/talk.srt,20,,")
    assert run_command("score", named, *line) == 0
    assert "1 of 2 recordings are scored already" in capsys.readouterr().err
    # The whole recording is no part of it.
    whole = table(talk, "other.srt,,,", "other.srt,5,20,")
    assert run_command("score", tmp_path / "other.srt", *line) == 0
    assert run_command("score", whole, *line) == 0
