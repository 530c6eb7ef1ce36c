"""`affectstream train evaluate` and `compare`: how bundles are named, and folders that cannot be written."""

import pytest

pytest.importorskip("torch", reason="training needs the 'train' extra")

from tests.support.command import run_command


def test_two_bundles_are_refused(capsys, tmp_path):
    asked = ("train", "evaluate", "pocket", "--bundle", "mine", "--data", tmp_path)
    assert run_command(*asked) == 2
    assert "pocket and --bundle mine are two bundles: give one" in capsys.readouterr().err


@pytest.mark.parametrize("asked", [("evaluate", "pocket"), ("compare", "pocket", "pocket")])
def test_a_folder_that_cannot_be_written_is_refused_before_data_is_read(capsys, tmp_path, asked):
    (tmp_path / "file").write_bytes(b"")
    output = tmp_path / "file" / "out"
    assert run_command("train", *asked, "--data", tmp_path / "absent", "--output", output) == 4
    assert "out: Not a directory" in capsys.readouterr().err
