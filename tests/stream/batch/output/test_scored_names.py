"""Names beside the results of an output: nothing is lost, and no part of a recording counts twice."""

import csv
import json
import shutil

import pytest

from affectstream.stream import OptionError, Recognizer
from affectstream.stream.batch.output.scored_names import check_names
from affectstream.stream.batch.output.storage import FolderStorage, ObjectStorage
from affectstream.stream.batch.plan.find import find_tasks
from affectstream.stream.options import SourceOptions
from tests.stream.batch.conftest import WORDS
from tests.stream.batch.test_run import status


@pytest.fixture(scope="module")
def recognizer():
    with Recognizer.open(threads=1) as opened:
        yield opened


@pytest.fixture
def score(recognizer, tmp_path):
    """Scores a table with these lines into one output, in this process."""
    (tmp_path / "out").mkdir()
    for number, name in enumerate(("anna.srt", "ben.srt"), 1):
        cues = (f"{n + 1}\n00:00:0{2 * n},000 --> 00:00:0{2 * n + 1},000\n" for n in range(5))
        (tmp_path / name).write_text(
            "".join(f"{cue}I am so {'happy ' * number}\n\n" for cue in cues)
        )

    def run(*lines, **options):
        result = recognizer.score_many(
            table(tmp_path, *lines),
            tmp_path / "out",
            formats=["jsonl"],
            workers=1,
            progress=False,
            **options,
        )
        return {outcome.name: outcome.done_before for outcome in result.outcomes}

    return run


def table(folder, *lines):
    path = folder / "table.csv"
    path.write_text("path,start,end,name\n" + "".join(f"{line}\n" for line in lines))
    return path


def rows(output):
    return {row["recording"] for row in csv.DictReader((output / "summary.csv").open())}


@pytest.mark.parametrize(
    ("before", "now"), [("one", "one/two"), ("one/two", "one"), ("One", "one/a/b")]
)
def test_no_results_lie_in_those_of_an_earlier_command(score, tmp_path, before, now):
    score(f"anna.srt,,,{before}")
    with pytest.raises(OptionError, match=rf"(?s)within.*out/{now} of .*ben.srt, and .*anna.srt"):
        score(f"ben.srt,,,{now}")
    assert status(tmp_path / "out") == {before: "complete"}
    score("ben.srt,,,other")
    assert rows(tmp_path / "out") == {before, "other"}


@pytest.mark.parametrize("storage", ["folder", "store"])
def test_results_within_others_are_found_wherever_they_lie(storage, tmp_path):
    """As earlier versions left them."""
    if storage == "folder":
        place = FolderStorage(tmp_path)
    else:
        pytest.importorskip("fsspec", reason="the 'cluster' extra is not installed")
        place = ObjectStorage("memory://within")
    for name in ("one", "one/two", "three"):
        place.write(f"{name}/run.json", b"{}") if storage == "store" else _folder(tmp_path / name)
    place.write("run.json", b"{}")  # of a recording that is alone in the output
    assert [name for name, _ in place.runs()] == ["one", "one/two", "three"]


def _folder(folder):
    folder.mkdir()
    (folder / "run.json").write_text("{}")


FIRST, SECOND = "anna.srt,0,5,", "anna.srt,5,10,"


@pytest.mark.parametrize(
    ("before", "now", "name"),
    [
        ([FIRST, SECOND], [SECOND], "anna.srt.5-10"),  # one line was removed
        ([FIRST], [FIRST + "anna-1", SECOND + "anna-2"], "anna.srt"),
        ([FIRST], [FIRST + "anna-1"], "anna.srt"),  # it only gets a name
        ([FIRST + "anna-1"], [FIRST], "anna-1"),
        (["anna.srt,,,"], ["anna.srt,,,whole"], "anna.srt"),
    ],
)
def test_no_part_is_scored_again_under_another_name(score, tmp_path, before, now, name):
    scored = {*score(*before)}
    with pytest.raises(OptionError, match=rf"(?s)twice.*write {name} in its column name"):
        score(*now)
    with pytest.raises(OptionError, match="counted twice"):
        score(*now, overwrite=True)
    assert {*status(tmp_path / "out")} == scored
    first, *others = now
    path, start, end, _ = first.split(",")
    assert score(f"{path},{start},{end},{name}", *others)[name]


def test_no_part_with_a_hash_in_its_name_is_scored_again(recognizer, tmp_path, score):
    again = tmp_path / "again"
    again.mkdir()
    shutil.copy(tmp_path / "anna.srt", again / "anna.srt")
    tables = [table(folder, FIRST, SECOND) for folder in (tmp_path, again)]
    how = {"formats": ["jsonl"], "workers": 1, "progress": False}
    scored = recognizer.score_many(tables, tmp_path / "out", **how).outcomes
    assert len(scored) == 4
    with pytest.raises(OptionError, match=r"(?s)twice.*out/anna.srt.0-5.\w{8} holds the results"):
        score(FIRST, SECOND)
    shutil.rmtree(again)
    (tmp_path / "anna.srt").rename(tmp_path / "moved.srt")  # its content tells what it is
    with pytest.raises(OptionError, match=r"holds the results of .*moved.srt, 0-5 s"):
        score("moved.srt,0,5,")


def test_other_parts_and_names_of_the_same_table_are_scored(score, tmp_path):
    score("anna.srt,,,")
    score("anna.srt,,,", FIRST, SECOND + "second", SECOND + "voices")
    (tmp_path / "out/voices/run.json").unlink()
    again = score("anna.srt,,,", FIRST, SECOND + "second", SECOND + "voices")
    assert again == {"anna.srt": True, "anna.srt.0-5": True, "second": True, "voices": False}
    (tmp_path / "out/voices/run.json").unlink()
    every = ("anna.srt,,,", FIRST, SECOND + "second", SECOND + "voices")
    shards = [score(*every, shard=f"{number}/3") for number in (1, 2, 3)]
    assert {name for shard in shards for name, done in shard.items() if not done} == {"voices"}


def test_an_output_is_not_searched_when_nothing_is_to_do(tmp_path):
    class Unread(FolderStorage):
        def runs(self):
            raise AssertionError

    (tmp_path / "a.srt").write_text(WORDS)
    tasks = find_tasks([tmp_path / "a.srt"], SourceOptions())
    check_names([], tasks, Unread(tmp_path))


def test_ten_names_of_one_folder_are_not_all_listed(tmp_path):
    for number in range(10):
        (tmp_path / f"{number}.srt").write_text(WORDS)
        folder = tmp_path / f"out/was-{number}"
        folder.mkdir(parents=True)
        run = {"source": str(tmp_path / f"{number}.srt"), "options": {"start_s": 0.0}}
        (folder / "run.json").write_text(json.dumps(run))
    tasks = find_tasks([tmp_path], SourceOptions(), tmp_path / "out")
    with pytest.raises(OptionError, match=r"out/was-4 .*\nand 5 more\nOr remove"):
        check_names(tasks, tasks, FolderStorage(tmp_path / "out"))
