"""A bundle takes its place whole, and what it would replace outlives a failure."""

import shutil
from pathlib import Path

import pytest

from affectstream.stream.errors import OutputError
from affectstream.train.errors import RunError
from affectstream.train.export.bundle_folder import atomic_bundle, check_output


def bundle(folder, content):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "bundle.json").write_text(content)


def test_a_new_bundle_is_there_at_the_end_only(tmp_path):
    output = tmp_path / "deep" / "mine"
    with atomic_bundle(output) as folder:
        bundle(folder, "new")
        assert not output.exists()
    assert (output / "bundle.json").read_text() == "new"
    assert [path.name for path in output.parent.iterdir()] == ["mine"]


def test_an_older_bundle_is_replaced_whole(tmp_path):
    bundle(tmp_path / "mine", "old")
    (tmp_path / "mine" / "text_encoder.onnx").write_bytes(b"of the old one")
    with atomic_bundle(tmp_path / "mine") as folder:
        bundle(folder, "new")
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["bundle.json"]
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


@pytest.mark.parametrize("fault", [ValueError, KeyboardInterrupt])
def test_a_failure_leaves_the_older_one(tmp_path, fault):
    bundle(tmp_path / "mine", "old")

    def spoil():
        with atomic_bundle(tmp_path / "mine") as folder:
            bundle(folder, "half")
            raise fault

    with pytest.raises(fault):
        spoil()
    assert (tmp_path / "mine" / "bundle.json").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_the_older_bundle_is_restored_if_the_rename_fails(tmp_path):
    bundle(tmp_path / "mine", "old")
    with (
        pytest.raises(OutputError, match="cannot write"),
        atomic_bundle(tmp_path / "mine") as folder,
    ):
        shutil.rmtree(folder)  # so that renaming it fails
    assert (tmp_path / "mine" / "bundle.json").read_text() == "old"


def test_a_folder_that_is_no_bundle_is_left_alone(tmp_path):
    (tmp_path / "thesis.txt").write_text("words")
    for output in (tmp_path, tmp_path / "thesis.txt"):
        with (
            pytest.raises(RunError, match="holds something that is no bundle"),
            atomic_bundle(output),
        ):
            pytest.fail("the block must not begin")
    assert (tmp_path / "thesis.txt").read_text() == "words"


def test_a_folder_that_cannot_be_created_is_reported(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    output = Path(tmp_path / "file" / "mine")
    with pytest.raises(OutputError, match=r"cannot write .*mine"), atomic_bundle(output):
        pytest.fail("the block must not begin")


def test_a_folder_that_cannot_be_written_is_refused_before_anything_is_computed(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OutputError, match=r"cannot write .*mine: Not a directory"):
        check_output(tmp_path / "file" / "mine")
    check_output(tmp_path / "deep" / "mine")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
