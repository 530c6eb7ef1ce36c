"""`affectstream train fit` and `train list`: flags, files of settings, and what they refuse."""

import csv
import inspect
import json
import re
import subprocess
import sys
import tomllib
from dataclasses import asdict, replace
from importlib.metadata import EntryPoint
from importlib.util import find_spec
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

torch = pytest.importorskip("torch", reason="training needs the 'train' extra")

import tomli_w
import typer

from affectstream.engines import plugins
from affectstream.stream import exits
from affectstream.stream.errors import OptionError
from affectstream.train import recipes as recipes_package
from affectstream.train.cli import application
from affectstream.train.cli.fit import fit as fit_command
from affectstream.train.cli.fit import folds as folds_command
from affectstream.train.cli.flags import run_request
from affectstream.train.config import (
    PRECISIONS,
    SCHEDULES,
    SETTINGS,
    FitConfig,
    override,
    to_plain,
)
from affectstream.train.errors import DataMissing
from affectstream.train.fit.loggers import open_logger
from affectstream.train.fit.phases import phase_spans
from affectstream.train.networks.network import Head, Network, VideoEncoder
from affectstream.train.recipes.net_recipe import NetRecipe
from affectstream.train.recipes.registry import recipes
from tests.support.command import run_command
from tests.support.prepared import samples, write

SMALL = ["--size", "48", "--tiny", "--batch-size", "8", "--threads", "1", "--track", "none"]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "set"
    return write(folder, [*samples(24, "train"), *samples(12, "valid")])


def fit(runs, *arguments):
    return run_command("train", "fit", "--recipe", "tiny_vit", "--runs", runs, *SMALL, *arguments)


def curve(runs):
    return (runs / "tiny_vit/log.csv").read_text()


numbers = st.integers(0, 99)
texts = st.text(max_size=12)
configs = st.builds(
    FitConfig,
    epochs=st.integers(1, 99),
    learning_rate=st.floats(1e-9, 1.0),
    warmup_epochs=st.floats(0, 9),
    precision=st.sampled_from(PRECISIONS),
    schedule=st.sampled_from(SCHEDULES),
    compile=st.booleans(),
    devices=st.sampled_from(["1", "2", "0,1", "auto"]),
    phase_epochs=st.none() | st.tuples(numbers, numbers),
    size=st.none() | st.integers(16, 512),
    focal_gamma=st.none() | st.floats(0, 5),
    tasks=st.lists(texts, min_size=1, max_size=3, unique=True).map(tuple),
    options=st.dictionaries(texts, numbers | st.floats(-1, 1) | texts, max_size=3),
    weights=st.dictionaries(texts, texts, max_size=3),
    init=st.none() | texts,
    members=st.lists(texts, max_size=2).map(tuple),
)


@given(configs)
def test_every_config_comes_back_from_toml(config):
    said = tomllib.loads(tomli_w.dumps(to_plain(config)))
    assert override(FitConfig(), said, "a file") == config


@given(configs)
def test_every_config_comes_back_from_a_checkpoint(config):
    assert FitConfig(**asdict(config)) == config


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"learningrate": 1}, "there is no setting 'learningrate'; did you mean 'learning_rate'?"),
        ({"zzz": 1}, "there is no setting 'zzz'; there is epochs, batch_size"),
        ({"epochs": "ten"}, "epochs: expected `int`, got `str`"),
        ({"tasks": "emotion"}, "tasks: expected `array`, got `str`"),
        ({"options": {"depth": [1]}}, "options"),
        ({"epochs": 0}, "epochs 0: expected 1 or more"),
        ({"seed": 2**32}, "seed 4294967296: expected 0 or more, and under 4294967296"),
        ({"learning_rate": -1.0}, "learning_rate -1.0: expected more than 0"),
        ({"label_smoothing": 1.0}, "label_smoothing 1.0: expected 0 or more, and under 1"),
        ({"schedule": "linear"}, "schedule: .*'linear'; expected cosine or restarts"),
        ({"precision": "8"}, "precision: .*'8'; expected 32-true or 16-mixed or bf16-mixed"),
        ({"devices": "two"}, "devices 'two': expected a number"),
        ({"tasks": ["a", "a"]}, "expected one or more, each once"),
    ],
)
def test_an_invalid_setting_is_named(said, message):
    with pytest.raises(OptionError, match=message.replace("?", r"\?").replace("[", r"\[")):
        override(FitConfig(), said, "run.toml")


def test_fit_writes_a_file_that_repeats_the_run(tmp_path, data, capsys):
    assert fit(tmp_path / "one", "--data", data, "--epochs", 2, "--seed", 3) == exits.DONE
    assert "best: accuracy" in capsys.readouterr().out
    left = tmp_path / "one/tiny_vit/config.toml"
    said = tomllib.loads(left.read_text())
    assert said["recipe"] == "tiny_vit" and said["seed"] == 3 and said["tiny"] is True
    again = ("--threads", 1, "--track", "none", "--runs", tmp_path / "two")
    assert run_command("train", "fit", "--config", left, *again) == exits.DONE
    assert curve(tmp_path / "two") == curve(tmp_path / "one")
    # A flag wins over the file.
    assert (
        run_command("train", "fit", "--config", left, *again, "--epochs", 3, "--resume")
        == exits.DONE
    )
    assert len(curve(tmp_path / "two").splitlines()) == 4


def test_resume_and_eval_only_need_nothing_but_the_run(tmp_path, data, capsys):
    whole, half = tmp_path / "whole", tmp_path / "half"
    assert fit(whole, "--data", data, "--epochs", 3, "--schedule", "constant") == exits.DONE
    assert fit(half, "--data", data, "--epochs", 2, "--schedule", "constant") == exits.DONE
    short = ("train", "fit", "--recipe", "tiny_vit", "--threads", 1, "--track", "none")
    assert run_command(*short, "--runs", half, "--resume", "--epochs", 3) == exits.DONE
    assert curve(half) == curve(whole)
    best = [line for line in capsys.readouterr().out.splitlines() if line.startswith("best: ")]
    assert run_command(*short, "--runs", half, "--eval-only") == exits.DONE
    assert capsys.readouterr().out.splitlines() == best[-1:]
    assert curve(half) == curve(whole)
    assert run_command(*short, "--runs", half, "--resume", "--seed", 9) == exits.NOTHING
    assert "was started with --seed 0, now 9" in capsys.readouterr().err


def test_an_existing_run_hides_no_other_error(tmp_path, data, capsys):
    assert fit(tmp_path, "--data", data, "--epochs", 1) == exits.DONE
    capsys.readouterr()
    for wrong, code, message in (
        (("--data", tmp_path / "nofolder"), exits.NOTHING, "no dataset.json in it"),
        (("--data", data, "--size", 57), exits.USAGE, "--size 57"),
        (("--data", data, "--set", "layer=4"), exits.USAGE, "did you mean 'layers'?"),
        (("--data", data, "--task", "attention"), exits.NOTHING, "task attention"),
    ):
        assert fit(tmp_path, *wrong) == code
        said = capsys.readouterr().err
        assert message in said and "already holds" not in said
    assert fit(tmp_path, "--data", data) == exits.NOTHING
    assert "--resume, or choose another folder with --runs" in capsys.readouterr().err


def test_metrics_go_to_tensorboard(tmp_path, data):
    pytest.importorskip("tensorboard", reason="tensorboard is not installed")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    assert fit(tmp_path, "--data", data, "--epochs", 2, "--track", "tensorboard") == exits.DONE
    events = EventAccumulator(str(tmp_path / "tiny_vit/tensorboard"))
    events.Reload()
    with (tmp_path / "tiny_vit/log.csv").open() as file:
        logged = [float(row["loss"]) for row in csv.DictReader(file)]
    assert [e.value for e in events.Scalars("loss/train")] == pytest.approx(logged)
    # The two losses side by side, and every other metric as one of split valid.
    tags = set(events.Tags()["scalars"])
    assert {"loss/valid", "learning rate", "valid/accuracy"} <= tags
    assert {tag.partition("/")[0] for tag in tags} == {"loss", "valid", "learning rate"}


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ([], exits.USAGE, "which recipe? Give --recipe NAME"),
        (["--recipe", "cnn"], exits.USAGE, "which data? Give --data FOLDER"),
        (["--recipe", "cmn"], exits.USAGE, "'cmn' is not one of cnn"),
        (["--recipe", "cnn", "--data", "d", "--set", "deep"], exits.USAGE, "expected NAME=VALUE"),
        (["--recipe", "cnn", "--data", "d", "--weights", "x"], exits.USAGE, "has no pretrained"),
        (["--recipe", "cnn", "--data", "d", "--epochs", "0"], exits.USAGE, "expected 1 or more"),
        (["--recipe", "cnn", "--data", "d", "--phase-epochs", "a"], exits.USAGE, "whole numbers"),
        (["--recipe", "cnn", "--config", "no.toml"], exits.USAGE, "no.toml: No such file"),
        (
            ["--recipe", "face_detector", "--data", "d", "--tiny"],
            exits.USAGE,
            "--tiny means nothing",
        ),
        (["--recipe", "face_detector", "--data", "d", "--task", "valence"], exits.USAGE, "--task"),
        (["--recipe", "cnn", "--data", ".", "--track", "paper"], exits.USAGE, "'paper'"),
        (["--recipe", "cnn", "--data", "."], exits.NOTHING, "no dataset.json in it"),
        (["--recipe", "cnn", "--data", ".", "--resume", "--eval-only"], exits.USAGE, "give one of"),
    ],
)
def test_invalid_arguments_are_refused_in_a_line(arguments, code, message, capsys):
    assert run_command("train", "fit", *arguments) == code
    said = capsys.readouterr().err
    assert message in " ".join(said.split()) and "Traceback" not in said


def test_the_largest_seed_works(data, tmp_path):
    assert fit(tmp_path, "--data", data, "--epochs", 1, "--seed", 2**32 - 1) == exits.DONE


def test_options_of_the_recipe_are_checked_by_it(data, tmp_path, capsys):
    assert fit(tmp_path, "--data", data, "--set", "layer=6") == exits.USAGE
    assert "did you mean 'layers'?" in capsys.readouterr().err
    assert fit(tmp_path, "--data", data, "--set", "layers=many") == exits.USAGE
    assert "--set layers=many" in capsys.readouterr().err


def test_an_impossible_network_is_reported_with_the_given_options(data, tmp_path, capsys):
    """`--tiny` brings options of its own, which nobody typed."""
    assert fit(tmp_path, "--data", data, "--set", "heads=5") == exits.USAGE
    said = capsys.readouterr().err
    assert "error: --set heads=5: tiny_vit cannot be built so: " in said
    assert "layers=2, width=48, temporal=mean" in said


def test_without_tensorboard_metrics_go_to_the_log_alone(tmp_path):
    said = []
    nothing = ("importlib.util.find_spec", lambda name: None)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(*nothing)
        with open_logger("auto", tmp_path, "cnn", {}, said.append) as log:
            log(0, {"loss": 1.0})
    assert not list(tmp_path.iterdir())
    assert len(said) == 1 and "pip install 'affectstream[train]'" in said[0]


@pytest.mark.skipif(find_spec("wandb") is not None, reason="wandb is installed here")
def test_wandb_says_how_to_install_it(data, tmp_path, capsys):
    assert fit(tmp_path, "--data", data, "--track", "wandb") == exits.USAGE
    assert "--track wandb needs 'wandb': pip install wandb" in capsys.readouterr().err


def test_a_file_that_is_no_toml_is_refused(tmp_path, capsys):
    (tmp_path / "a.toml").write_text("epochs = = 3")
    assert run_command("train", "fit", "--config", tmp_path / "a.toml") == exits.USAGE
    assert "a.toml is no TOML" in capsys.readouterr().err


@pytest.fixture
def two_parts(monkeypatch):
    recipe = NetRecipe(
        name="two",
        summary="for this test",
        defaults=FitConfig(),
        build=lambda plan: Network(Head(), video=VideoEncoder()),
        modalities=("video",),
        options={"layers": 4, "rate": 0.5, "pool": "mean"},
        backbones={"video": "ViT", "text": "bert"},
    )
    monkeypatch.setattr("affectstream.train.recipes.registry.recipes", lambda: {"two": recipe})
    return recipe


def wanted(data, **given):
    return run_request({"recipe": "two", "data": data, **given}).config


def test_options_have_the_type_of_the_recipes_own(two_parts, tmp_path):
    config = wanted(tmp_path, options=["layers=6", "rate=1", "pool=7"])
    assert config.options == {"layers": 6, "rate": 1.0, "pool": "7"}
    assert isinstance(config.options["rate"], float)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (["none"], {"video": "none", "text": "none"}),
        (["video=/a/b=c"], {"video": "/a/b=c"}),
        (["none", "text=bert-large"], {"video": "none", "text": "bert-large"}),
    ],
)
def test_weights_are_given_by_part(two_parts, tmp_path, given, expected):
    assert wanted(tmp_path, weights=given).weights == expected


def test_weights_for_one_of_two_parts_need_its_name(two_parts, tmp_path):
    with pytest.raises(
        OptionError, match=r"two has 2 pretrained parts; say which: video=\.\.\. or"
    ):
        wanted(tmp_path, weights=["/a/b"])


def test_flags_and_files_join(two_parts, tmp_path):
    file = tmp_path / "a.toml"
    file.write_text('recipe = "two"\ndata = "d"\nepochs = 7\n[options]\nlayers = 2\nrate = 0.1\n')
    found = run_request({"config": file, "options": ["layers=3"], "tasks": [], "size": None})
    assert found.recipe is two_parts and str(found.data) == "d"
    expected = replace(two_parts.defaults, epochs=7, options={"layers": 3, "rate": 0.1})
    assert found.config == expected


def test_flags_have_the_types_of_their_settings():
    command = typer.main.get_command(application).commands["fit"]
    flags = [
        "--recipe",
        "cnn",
        "--monitor",
        "auc",
        "--epochs",
        "3",
        "--task",
        "valence",
        "--no-augment",
    ]
    params = command.make_context("fit", flags).params
    values = {name: params[name] for name in ("monitor", "epochs", "tasks", "augment")}
    config = override(FitConfig(), values, "command line")
    assert (config.monitor, config.epochs, config.tasks) == ("auc", 3, ("valence",))
    assert not config.augment


def test_every_recipe_is_listed_with_its_choices(capsys):
    assert run_command("train", "list") == exits.DONE
    said = capsys.readouterr().out
    for name, recipe in recipes().items():
        assert f"{name:21} {recipe.summary}" in said
        assert run_command("train", "list", "--recipe", name) == exits.DONE
        alone = capsys.readouterr().out
        for option, value in getattr(recipe, "options", {}).items():
            assert f"--set {option}={value}" in said and f"--set {option}={value}" in alone
        assert "tune learning_rate: " in alone
        for option, value in getattr(recipe, "tiny", {}).items():
            assert f"--set {option}={value}" in alone.partition("--tiny: ")[2].splitlines()[0]


def test_a_broken_recipe_of_another_package_stops_no_other(monkeypatch, capsys):
    point = EntryPoint("mine", "no_such_module:RECIPE", "affectstream.recipes")
    monkeypatch.setattr(plugins, "entry_points", lambda group: [point])
    assert "cnn" in recipes()
    assert "no_such_module" in capsys.readouterr().err


def test_every_file_of_the_recipes_package_is_one():
    folder = Path(recipes_package.__path__[0])
    files = {path.stem for path in folder.rglob("[!_]*.py")}
    assert files - {"bind", "net_recipe", "registry", "summaries", "teachers"} == set(recipes())


def test_help_needs_no_torch():
    code = (
        "import sys\n"
        "from affectstream.stream.cli import main\n"
        "try:\n    main(['train', 'fit', '--help'])\nexcept SystemExit:\n    pass\n"
        "assert not {'torch', 'optuna', 'transformers', 'lightning_fabric'} & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "--learning-rate" in done.stdout


@pytest.mark.slow
def test_ctrl_c_leaves_a_run_that_can_be_resumed(tmp_path, data):
    import signal

    command = [
        *("affectstream", "train", "fit", "--recipe", "tiny_vit", "--data", str(data)),
        *("--runs", str(tmp_path), "--epochs", "100000", *SMALL),
    ]
    start = "import sys; from affectstream.stream.cli import main; main(sys.argv[2:])"
    with subprocess.Popen(
        [sys.executable, "-c", start, *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        for line in process.stdout:
            if line.startswith("epoch   1"):
                break
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=120)
    assert process.returncode == exits.INTERRUPTED
    assert "last.pt holds the last finished epoch: continue with --resume" in out
    assert "Traceback" not in err


def test_a_run_writes_a_summary(tmp_path, data):
    assert fit(tmp_path, "--data", data, "--epochs", 1) == exits.DONE
    said = json.loads((tmp_path / "tiny_vit/summary.json").read_text())
    assert said["recipe"] == "tiny_vit" and said["epochs"] == 1
    assert set(said["figures"]) >= {"accuracy"}


def test_the_documented_file_is_one_that_fit_takes():
    page = (Path(__file__).parents[3] / "docs/guides/training.md").read_text()
    files = re.findall(r"^```toml\n(.*?)^```", page, re.M | re.S)
    assert files
    for text in files:
        said = tomllib.loads(text)
        recipe = recipes()[said.pop("recipe")]
        assert said.pop("data")
        config = override(recipe.defaults, said, "docs/guides/training.md")
        assert set(config.weights) <= set(recipe.backbones)
        phase_spans(recipe.phases, config.epochs, config.phase_epochs)


@pytest.mark.parametrize("command", [fit_command, folds_command])
def test_a_run_can_be_given_every_setting_by_a_flag(command):
    assert set(SETTINGS) <= set(inspect.signature(command).parameters)


def test_every_recipe_of_pocket_is_found_and_names_missing_data(tmp_path):
    found = recipes()
    parts = {
        "face_detector",
        "face_geometry",
        "face_resnet",
        "mel_resnet",
        "ngram_text",
        "evidence",
    }
    assert parts <= set(found)
    for name in ("face_detector", "face_geometry"):
        with pytest.raises(DataMissing):
            found[name].loaders(tmp_path, found[name].defaults)
    with pytest.raises(DataMissing):
        found["mel_resnet"].bind(tmp_path, found["mel_resnet"].defaults)
