"""Checkpoints: what they hold, and which are refused."""

import json
from dataclasses import replace

import pytest

torch = pytest.importorskip("torch", reason="training needs the 'train' extra")

from affectstream.stream.errors import OutputError
from affectstream.train.errors import RunError
from affectstream.train.fit.checkpoint import load, load_run
from affectstream.train.fit.loop import evaluate
from affectstream.train.recipe import FitConfig
from tests.support.toy_recipes import (
    Line,
    column,
    fit_quietly,
)


def test_a_checkpoint_holds_settings_and_versions(tmp_path):
    config = replace(Line.defaults, epochs=1, seed=7)
    fit_quietly(Line(), tmp_path, config)
    for name in ("last.pt", "best.pt"):
        saved = load(tmp_path / name)
        assert saved["config"]["seed"] == 7
        assert FitConfig(**saved["config"]) == config
        assert {"python", "torch", "affectstream"} <= set(saved["versions"])
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["parameters"] == 4 * 8 + 8 + 8 * 2 + 2
    assert (
        summary["best_epoch"] == 0
        and summary["minutes"] > 0
        and summary["peak_megabytes"]["ram"] > 0
    )


def test_a_run_of_another_recipe_is_refused(tmp_path):
    config = replace(Line.defaults, epochs=1)
    fit_quietly(Line(), tmp_path, config)

    class Other(Line):
        name = "other"

    with pytest.raises(RunError, match="holds recipe 'line', expected 'other'"):
        load_run(Other(), tmp_path)
    with pytest.raises(RunError, match="holds recipe 'line', expected 'other'"):
        fit_quietly(Other(), tmp_path, config, resume=True)
    with pytest.raises(RunError, match="train 'line' first"):
        load_run(Line(), tmp_path / "nowhere")


def test_a_damaged_checkpoint_is_refused(tmp_path):
    fit_quietly(Line(), tmp_path, replace(Line.defaults, epochs=1))
    (tmp_path / "last.pt").write_bytes((tmp_path / "last.pt").read_bytes()[:500])
    with pytest.raises(RunError, match=r"last\.pt is no readable checkpoint"):
        fit_quietly(Line(), tmp_path, resume=True)


@pytest.mark.parametrize("lost", ["average", "figures"])
def test_a_best_epoch_of_an_incompatible_version_is_refused(tmp_path, lost):
    fit_quietly(Line(), tmp_path, replace(Line.defaults, epochs=1))
    saved = load(tmp_path / "best.pt")
    if lost == "average":
        saved["average"].popitem()
    else:
        del saved[lost]
    torch.save(saved, tmp_path / "best.pt")
    made = saved["versions"]["affectstream"]
    with pytest.raises(RunError, match=rf"best\.pt does not fit this version .* made by {made}"):
        evaluate(Line(), Line.defaults, tmp_path, tmp_path)


def test_a_run_of_an_incompatible_version_is_not_resumed(tmp_path):
    fit_quietly(Line(), tmp_path, replace(Line.defaults, epochs=1))
    saved = load(tmp_path / "last.pt")
    del saved["optimiser"]
    torch.save(saved, tmp_path / "last.pt")
    before = (tmp_path / "last.pt").read_bytes()
    with pytest.raises(RunError, match=r"last\.pt does not fit this version .*'optimiser'"):
        fit_quietly(Line(), tmp_path, replace(Line.defaults, epochs=2), resume=True)
    assert (tmp_path / "last.pt").read_bytes() == before


def test_a_run_of_a_version_with_another_order_of_parameters_is_not_resumed(tmp_path):
    """The optimizer's state goes by position: a bias would get that of a weight."""
    fit_quietly(Line(), tmp_path, replace(Line.defaults, epochs=1))
    saved = load(tmp_path / "last.pt")
    optimizer = saved["optimiser"]
    names = [name for group in optimizer["param_groups"] for name in group["param_names"]]
    assert names == ["0.weight", "2.weight", "0.bias", "2.bias"]
    states, first = optimizer["state"], optimizer["param_groups"][0]
    for changed in ("names", "shapes"):
        if changed == "names":
            first["param_names"].reverse()
        else:  # as a version that kept no names
            for group in optimizer["param_groups"]:
                del group["param_names"]
            states[0], states[1] = states[1], states[0]
        torch.save(saved, tmp_path / "last.pt")
        with pytest.raises(RunError, match=r"orders the parameters .* 0\.weight .*--init"):
            fit_quietly(Line(), tmp_path, replace(Line.defaults, epochs=2), resume=True)


@pytest.mark.parametrize("name", ["log.csv", "summary.json"])
def test_a_file_that_cannot_be_written_is_named(tmp_path, name):
    (tmp_path / name).mkdir()
    with pytest.raises(OutputError, match=r"cannot write .*: Is a directory"):
        fit_quietly(Line(), tmp_path, replace(Line.defaults, epochs=1))


def test_a_checkpoint_of_an_older_version_is_resumed(tmp_path):
    config = replace(Line.defaults, epochs=2)
    fit_quietly(Line(), tmp_path, replace(config, epochs=1))
    saved = load(tmp_path / "last.pt")
    old = {
        "recipe": "line",
        "setting": None,
        "config": {k: saved["config"][k] for k in ("epochs", "batch_size", "learning_rate")},
        **{k: saved[k] for k in ("epoch", "best", "figures", "module", "average", "optimiser")},
        "rng": saved["random"][0]["cpu"],
        "torch": torch.__version__,
    }
    torch.save(old, tmp_path / "last.pt")
    fit_quietly(Line(), tmp_path, config, resume=True)
    assert column(tmp_path, "epoch") == [0, 1]
