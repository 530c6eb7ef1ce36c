from __future__ import annotations

import tomllib
from pathlib import Path
from typing import get_args

import pytest

from affectstream.engines.extras import Extra, install_hint, module_hint


def test_a_hint_names_the_package_so_that_pip_leaves_an_editable_checkout_alone():
    assert install_hint("rtx", "pycuda") == "pip install 'affectstream[rtx,pycuda]'"


@pytest.mark.parametrize(
    ("module", "hint"),
    [
        ("starlette.routing", "pip install 'affectstream[serve]'"),
        ("onnx", "pip install onnx"),
        ("nothing_known", None),
    ],
)
def test_the_hint_for_a_module_that_is_missing(module, hint):
    assert module_hint(module) == hint


def test_every_extra_is_one_of_the_project():
    project = tomllib.loads(Path("pyproject.toml").read_text("utf-8"))["project"]
    assert set(get_args(Extra)) <= project["optional-dependencies"].keys()
