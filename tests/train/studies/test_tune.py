"""A study: it searches what the recipe says, goes on where it stopped, and leaves the best to be repeated."""

import subprocess
import sys
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="training needs the 'train' extra")
optuna = pytest.importorskip("optuna", reason="studies need the 'train' extra")

from affectstream.stream import exits
from affectstream.stream.errors import OptionError, OutputError
from affectstream.train.config import FitConfig, override
from affectstream.train.errors import DataMissing, RunError
from affectstream.train.recipes.registry import recipes
from affectstream.train.search_space import (
    LATE_FUSION,
    Between,
    OneOf,
    sampled_settings,
    space_of,
)
from affectstream.train.studies.tune import tune
from tests.support.command import run_command
from tests.support.prepared import samples, write
from tests.support.toy_recipes import Line


class Rated(Line):
    """Its figure is known beforehand: the better the nearer the rate is to 0.01, in every epoch."""

    defaults = replace(Line.defaults, epochs=2, batch_size=128)
    space = {"learning_rate": Between(1e-4, 1.0, log=True), "options.depth": OneOf((1, 2))}  # noqa: RUF012

    def loaders(self, data, config):
        self.config = config
        return super().loaders(data, config)

    def validate(self, module, batches):
        far = abs(torch.log10(torch.tensor(self.config.learning_rate)) + 2)
        return {"nearness": float(1 - far / 4)}


def study(recipe, folder, trials, config=None):
    said = []
    found = tune(recipe, config or recipe.defaults, folder, folder, trials, said.append)
    return found, said


def test_a_study_finds_the_best_settings_and_writes_them(tmp_path):
    found, said = study(Rated(), tmp_path, 14)
    assert found.trials == 14 and len(said) == 14
    assert found.metric > 0.85 and 1e-3 < found.config.learning_rate < 1e-1
    assert found.pruned == sum(line.endswith("pruned") for line in said) > 0
    left = tomllib.loads((tmp_path / "tune/best.toml").read_text())
    assert left.pop("recipe") == "line" and left.pop("data") == str(tmp_path)
    assert override(FitConfig(), left, "best.toml") == found.config
    assert found.config.options["depth"] in (1, 2)
    plots = sorted((tmp_path / "tune").glob("*.png"))
    assert [path.stem for path in plots] == ["history", "importances", "parallel", "slice"]
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in plots)


@pytest.mark.parametrize("trials", [1, 5])
def test_only_the_best_trial_keeps_its_weights(tmp_path, trials):
    found, _ = study(Rated(), tmp_path, trials)
    kept = {path.parent.name for path in (tmp_path / "tune").glob("*/best.pt")}
    assert kept == {f"trial-{found.best:03d}"}
    assert not list((tmp_path / "tune").glob("*/last.pt"))
    assert len(list((tmp_path / "tune").glob("*/log.csv"))) == trials


def test_a_trial_that_ctrl_c_ended_keeps_no_weights(tmp_path):
    class Stopped(Rated):
        def validate(self, module, batches):
            if (tmp_path / "tune/trial-000/last.pt").exists():
                raise KeyboardInterrupt
            return super().validate(module, batches)

    with pytest.raises(KeyboardInterrupt):
        study(Stopped(), tmp_path, 1)
    assert (tmp_path / "tune/trial-000/log.csv").exists()
    assert not list((tmp_path / "tune").glob("*/*.pt"))


def test_without_data_there_is_no_study(tmp_path, capfd):
    with pytest.raises(DataMissing, match=r"no dataset\.json in it"):
        study(recipes()["cnn"], tmp_path / "run", 2)
    assert not (tmp_path / "run").exists() and "Traceback" not in capfd.readouterr().err


def test_trials_of_other_settings_are_not_compared(tmp_path):
    study(Rated(), tmp_path, 1)
    study(Rated(), tmp_path, 1, replace(Rated.defaults, workers=1))
    with pytest.raises(OptionError, match=r"other data or settings \(epochs\)"):
        study(Rated(), tmp_path, 2, replace(Rated.defaults, epochs=3))


def test_a_study_continues_where_it_stopped(tmp_path):
    first, _ = study(Rated(), tmp_path, 3)
    again, said = study(Rated(), tmp_path, 6)
    assert first.trials == 3 and again.trials == 6
    assert said[0] == f"{tmp_path}/study.db holds 3 trials: continuing to 6" and len(said) == 4
    storage = f"sqlite:///{tmp_path}/study.db"
    trials = optuna.load_study(study_name="line", storage=storage).trials
    assert len({trial.params["learning_rate"] for trial in trials}) == 6
    whole, said = study(Rated(), tmp_path, 6)
    assert len(said) == 1 and whole.best == again.best


def test_a_study_without_trials_may_change_its_settings(tmp_path):
    """A first call that named something wrong may be put right in the same folder."""
    storage = f"sqlite:///{tmp_path}/study.db"
    begun = optuna.create_study(storage=storage, study_name="line", direction="maximize")
    begun.set_user_attr("space", {"learning_rate": "another"})
    begun.set_user_attr("same", {"epochs": 99})
    assert study(Rated(), tmp_path, 1)[0].trials == 1
    with pytest.raises(OptionError, match=r"other data or settings \(epochs\)"):
        study(Rated(), tmp_path, 2, replace(Rated.defaults, epochs=3))


@pytest.mark.parametrize("name", ["runs?a=1#b", "100%41", "{x}"])
def test_a_study_works_in_a_folder_of_any_name(tmp_path, name):
    study(Rated(), tmp_path / name, 1)
    assert (tmp_path / name / "study.db").is_file()
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_study_takes_the_largest_seed(tmp_path):
    study(Rated(), tmp_path, 1, replace(Rated.defaults, seed=2**32 - 1))


def test_a_damaged_study_is_refused(tmp_path):
    (tmp_path / "study.db").write_text("a diary, and no database at all")
    with pytest.raises(
        RunError, match=r"study\.db cannot be read or written: file is not a database"
    ):
        study(Rated(), tmp_path, 1)
    (tmp_path / "other/study.db").mkdir(parents=True)
    with pytest.raises(RunError, match=r"unable to open database file"):
        study(Rated(), tmp_path / "other", 1)
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match=r"cannot write .*file/x: Not a directory"):
        study(Rated(), tmp_path / "file/x", 1)


def test_a_study_of_another_space_is_not_continued(tmp_path):
    study(Rated(), tmp_path, 1)

    class Wider(Rated):
        space = {**Rated.space, "learning_rate": Between(1e-6, 1.0, log=True)}  # noqa: RUF012

    with pytest.raises(OptionError, match=r"searches another space \(learning_rate\)"):
        study(Wider(), tmp_path, 2)


def test_a_failed_trial_does_not_end_the_study(tmp_path):
    class Fragile(Rated):
        def loss(self, module, batch):
            loss = super().loss(module, batch)
            return loss * float("nan") if self.config.learning_rate > 0.01 else loss

    found, said = study(Fragile(), tmp_path, 8)
    failed = [line for line in said if "failed: the loss is nan" in line]
    assert found.trials == 8 and found.failed == len(failed) > 0
    assert found.config.learning_rate <= 0.01

    class Broken(Rated):
        def loss(self, module, batch):
            return super().loss(module, batch) * float("nan")

    with pytest.raises(RunError, match="none of the 2 trials in"):
        study(Broken(), tmp_path / "other", 2)


HANGS = """
import sys, time
from pathlib import Path
from tests.train.studies.test_tune import Rated, study

class Hangs(Rated):
    def loss(self, module, batch):
        if (folder / "tune/trial-001").exists():
            print("in the middle", flush=True)
            time.sleep(600)
        return super().loss(module, batch)

folder = Path(sys.argv[1])
study(Hangs(), folder, 3)
"""


@pytest.fixture
def working(tmp_path):
    """A process in the middle of its second trial."""
    command = [sys.executable, "-c", HANGS, str(tmp_path)]
    root = Path(__file__).parents[3]
    with subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout.readline() == "in the middle\n"
            yield process
        finally:
            process.kill()


def states(folder):
    storage = f"sqlite:///{folder}/study.db"
    return [t.state.name for t in optuna.load_study(study_name="line", storage=storage).trials]


def test_a_trial_whose_process_was_killed_is_failed_and_not_counted(tmp_path, working):
    working.kill()
    working.wait()
    assert states(tmp_path) == ["COMPLETE", "RUNNING"]
    found, said = study(Rated(), tmp_path, 3)
    assert states(tmp_path) == ["COMPLETE", "FAIL", "COMPLETE", "COMPLETE"]
    assert (found.trials, found.failed) == (3, 0)
    assert said[:2] == [
        "interrupted earlier, not counted: trial 1",
        f"{tmp_path}/study.db holds 1 trials: continuing to 3",
    ]


def test_a_trial_of_another_process_at_work_is_left_alone(tmp_path, working):
    kept = tmp_path / "tune/trial-001/best.pt"
    kept.write_bytes(b"of the other process")
    found, said = study(Rated(), tmp_path, 3)
    assert states(tmp_path) == ["COMPLETE", "RUNNING", "COMPLETE", "COMPLETE"]
    assert found.trials == 3 and kept.exists() and not any("interrupted" in line for line in said)


def test_a_trial_that_ctrl_c_ended_is_not_counted(tmp_path):
    class Stopped(Rated):
        def loss(self, module, batch):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        study(Stopped(), tmp_path, 2)
    found, _ = study(Rated(), tmp_path, 2)
    assert (found.trials, found.failed) == (2, 0)
    assert states(tmp_path) == ["FAIL", "COMPLETE", "COMPLETE"]


def test_trials_run_on_one_device(tmp_path):
    with pytest.raises(OptionError, match="a trial runs on one device"):
        study(Rated(), tmp_path, 1, replace(Rated.defaults, devices="2"))


def test_every_recipe_has_a_valid_search_space():
    for recipe in recipes().values():
        space = space_of(recipe)
        assert "learning_rate" in space
        for end in (0, -1):
            picked = {
                name: part.values[end] if isinstance(part, OneOf) else (part.low, part.high)[end]
                for name, part in space.items()
            }
            override(recipe.defaults, sampled_settings(picked, {}), "study")


def test_the_documented_study_is_that_of_the_reports():
    assert {name: str(part) for name, part in LATE_FUSION.items()} == {
        "learning_rate": "1e-05 to 0.001, by its logarithm",
        "batch_size": "one of 4, 6, 8",
        "options.video_weight": "0.3 to 0.8",
    }
    assert sampled_settings({"batch_size": 4, "options.video_weight": 0.5}, {"bias": 1}) == {
        "batch_size": 4,
        "options": {"bias": 1, "video_weight": 0.5},
    }


def test_the_command_studies_a_real_recipe(tmp_path, capsys):
    data = write(tmp_path / "data", [*samples(16, "train"), *samples(8, "valid")])
    small = ("--size", 48, "--tiny", "--epochs", 1, "--threads", 1)
    command = ("train", "tune", "--recipe", "tiny_vit", "--data", data, "--runs", tmp_path / "runs")
    assert run_command(*command, *small, "--trials", 2) == exits.DONE
    said = capsys.readouterr().out
    assert "2 trials, 0 of them pruned and 0 failed; the best is trial " in said
    best = tmp_path / "runs/tiny_vit/tune/best.toml"
    again = ("--threads", 1, "--track", "none", "--runs", tmp_path / "again")
    assert run_command("train", "fit", "--config", best, *again) == exits.DONE
    figure = said.partition("trial ")[2].split("accuracy ")[1].split()[0]
    assert "best: accuracy" in capsys.readouterr().out and 0 <= float(figure) <= 1


def test_a_missing_optuna_is_reported_with_its_installation(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "optuna", None)
    command = ("train", "tune", "--recipe", "cnn", "--data", tmp_path, "--runs", tmp_path)
    assert run_command(*command) == exits.USAGE
    assert "this needs 'optuna': pip install 'affectstream[train]'" in capsys.readouterr().err
