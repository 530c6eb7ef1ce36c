"""Which recordings an argument stands for, and the folders of their results."""

import pytest

from affectstream.stream import OptionError, SourceOptions
from affectstream.stream.batch.plan.find import find_tasks, stands_for_several

OPTIONS = SourceOptions()


@pytest.fixture
def tree(tmp_path):
    """Recordings in folders, with what else lies there."""
    for name in (
        *("a/one.mp4", "a/one.en.srt", "a/one.vtt", "a/two.wav", "b/deep/three.MKV", "b/alone.srt"),
        *("notes.txt", ".hidden.mp4", ".cache/four.mp4", "b/old/run.json", "b/old/overlay.mp4"),
        *("b/deep/explanation.json", "b/deep/explanation.mp4"),
    ):
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    return tmp_path / "in"


def names(tasks):
    return [task.name for task in tasks]


def test_a_folder_is_searched_without_transcripts_of_others_hidden_files_and_results(tree):
    found = ["a/one.mp4", "a/two.wav", "b/alone.srt", "b/deep/three.MKV"]
    assert names(find_tasks([tree], OPTIONS)) == found
    (tree / "results/a/one.mp4").mkdir(parents=True)
    (tree / "results/a/one.mp4/segments.vtt").touch()
    assert names(find_tasks([tree], OPTIONS, tree / "results")) == found


def test_a_folder_is_searched_once_where_links_make_a_circle(tree):
    (tree / "a/again").symlink_to(tree)
    assert len(find_tasks([tree], OPTIONS)) == 4


def test_a_pattern_names_results_by_the_path_below_its_fixed_part(tree):
    assert names(find_tasks([f"{tree}/**/*.mp4"], OPTIONS)) == ["a/one.mp4"]
    assert names(find_tasks([f"{tree}/a/*"], OPTIONS)) == ["one.mp4", "two.wav"]
    assert names(find_tasks([f"{tree}/b/*.srt", tree / "a/one.mp4"], OPTIONS)) == [
        "alone.srt",
        "one.mp4",
    ]


def test_a_file_whose_name_looks_like_a_pattern_is_a_file(tree):
    path = tree / "talk [1].mp4"
    path.touch()
    assert not stands_for_several(path)
    assert names(find_tasks([path], OPTIONS)) == ["talk [1].mp4"]


def test_recordings_of_one_name_get_folders_of_their_own_and_each_is_taken_once(tree):
    other = tree / "b/one.mp4"
    other.touch()
    first = names(find_tasks([tree / "a/one.mp4", other, other, tree / "a/../a/two.wav"], OPTIONS))
    assert first[2] == "two.wav" and len(set(first)) == 3
    assert all(name.startswith("one.mp4.") for name in first[:2])
    assert names(find_tasks([other, tree / "a/one.mp4"], OPTIONS)) == [first[1], first[0]]


def test_what_stands_for_nothing_is_named(tree):
    (tree / "empty").mkdir()
    with pytest.raises(OptionError, match=r"empty: this folder holds no recording"):
        find_tasks([tree / "empty"], OPTIONS)
    with pytest.raises(OptionError, match=r"no recording matches this pattern"):
        find_tasks([f"{tree}/*.flac"], OPTIONS)
    with pytest.raises(OptionError, match=r"is the folder of the recordings itself"):
        find_tasks([tree], OPTIONS, tree / "a/..")


def test_no_name_leaves_the_output(tree, monkeypatch):
    monkeypatch.chdir(tree / "a")
    assert names(find_tasks(["../b/deep/three.MKV"], OPTIONS)) == ["three.MKV"]
    assert names(find_tasks(["../b"], OPTIONS)) == ["alone.srt", "deep/three.MKV"]
