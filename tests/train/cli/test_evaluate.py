"""`affectstream train evaluate`: how the bundle is named."""

import pytest

pytest.importorskip("torch", reason="training needs the 'train' extra")

from tests.support.command import run_command


def test_two_bundles_are_refused(capsys, tmp_path):
    asked = ("train", "evaluate", "pocket", "--bundle", "mine", "--data", tmp_path)
    assert run_command(*asked) == 2
    assert "pocket and --bundle mine are two bundles: give one" in capsys.readouterr().err
