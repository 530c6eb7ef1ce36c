"""One table of runs: finished, under way, old or cross-validated, each as far as it says."""

import csv
import json
from dataclasses import replace

import cv2
import pytest

torch = pytest.importorskip("torch", reason="training needs the 'train' extra")

from affectstream.stream import exits
from affectstream.stream.errors import OptionError
from affectstream.train.errors import RunError
from affectstream.train.evaluate.report import COLUMNS, draw, lines, row_of, table, write
from affectstream.train.fit import machine
from affectstream.train.fit.checkpoint import BEST_KEYS, load, read_summary, save
from affectstream.train.fit.loop import fit
from tests.support.command import run_command
from tests.support.toy_recipes import InPhases, Interrupted, Line, fit_quietly, interrupted_after


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A whole run, one of two phases that only reached the first, and one that was broken off."""
    folder = tmp_path_factory.mktemp("runs")
    config = replace(Line.defaults, epochs=3)
    quiet = {"report": lambda _: None}
    fit(Line(), config, folder / "set", folder / "line", **quiet)
    fit(InPhases(), replace(config, epochs=2), folder / "set", folder / "phased", **quiet)
    stop = interrupted_after(2)
    with pytest.raises(Interrupted):
        fit(Line(), config, folder / "set", folder / "broken", on_epoch=stop, **quiet)
    return folder


def test_a_finished_run_fills_every_column(runs):
    row = row_of(runs / "line")
    said = read_summary(runs / "line")
    assert row["recipe"] == "line" and row["data"] == "set" and row["device"] == "cpu"
    assert row["parameters"] == row["trainable"] == 58
    assert row["epochs"] == 3 and row["best epoch"] == said["best_epoch"]
    assert row["metrics"] == said["figures"]
    assert row["RAM MB"] > 50 and row.get("GPU MB") is None and row["minutes"] is not None


def test_parameters_frozen_in_every_phase_are_not_trainable(runs):
    row = row_of(runs / "phased")
    assert (row["parameters"], row["trainable"]) == (58, 58 - 4 * 8 - 8)


def test_an_unfinished_run_fills_the_columns_it_can(runs):
    row = row_of(runs / "broken")
    assert row["recipe"] == "line" and row["epochs"] == 2 and row["minutes"] is not None
    assert set(row["metrics"]) == {"accuracy"} and row["parameters"] is None


def test_minutes_add_up_and_peaks_stay_when_a_run_is_resumed(tmp_path, monkeypatch):
    peaks = iter([900e6, 700e6, 500e6, 400e6])
    monkeypatch.setattr(machine, "peak_megabytes", lambda device: {"ram": next(peaks) / 1e6})
    config = replace(Line.defaults, epochs=2)
    fit_quietly(Line(), tmp_path, config)
    first = load(tmp_path / "last.pt")["seconds"]
    fit_quietly(Line(), tmp_path, replace(config, epochs=4), resume=True)
    assert load(tmp_path / "last.pt")["seconds"] > first
    said = read_summary(tmp_path)
    assert said["peak_megabytes"] == {"ram": 900}
    assert said["minutes"] * 60 > first


def test_old_runs_have_blank_cells(tmp_path, runs):
    old = tmp_path / "old"
    old.mkdir()
    saved = load(runs / "line/best.pt")
    kept = {name: saved[name] for name in BEST_KEYS if name not in ("versions", "data", "before")}
    save({**kept, "setting": {"data": "fer2013"}}, old / "best.pt")
    rows = table([tmp_path, runs / "line"])
    assert rows[0]["data"] == "fer2013" and rows[0]["recipe"] == "line"
    assert [rows[0][n] for n in ("parameters", "minutes", "RAM MB", "epochs")] == [None] * 4
    assert rows[0]["accuracy"] == rows[1]["accuracy"]
    (old / "summary.json").write_text('{"recipe": "line", "peak_megabytes": 12, "device": "cpu"}')
    assert row_of(old)["RAM MB"] == 12


def test_the_table_is_the_same_in_every_form(runs, tmp_path):
    rows = table([runs])
    assert [row["run"].rpartition("/")[2] for row in rows] == ["broken", "line", "phased"]
    assert list(rows[0])[: len(COLUMNS)] == list(COLUMNS)
    for suffix in (".md", ".csv", ".json"):
        write(rows, tmp_path / f"table{suffix}")
    assert json.loads((tmp_path / "table.json").read_text()) == rows
    read = list(csv.DictReader((tmp_path / "table.csv").open()))
    assert [row["parameters"] for row in read] == ["", "58", "58"]
    marked = (tmp_path / "table.md").read_text().splitlines()
    assert marked[0].startswith("| run | recipe | data |") and len(marked) == 5
    # What no run has is not shown.
    assert "GPU MB" not in marked[0] and "GPU MB" not in lines(rows)[0]
    with pytest.raises(OptionError, match=r"table\.txt: expected a name that ends in \.md"):
        write(rows, tmp_path / "table.txt")


def test_folds_and_trials_are_not_runs_of_their_own(tmp_path):
    for name in ("a/folds/1", "a/folds/2", "b/tune/trial-000"):
        fit_quietly(Line(), tmp_path / name, replace(Line.defaults, epochs=1))
    with pytest.raises(RunError, match="holds no run: expected"):
        table([tmp_path])
    figures = {"accuracy": 0.5}
    said = {"recipe": "line", "data": "x/set", "folds": [{"minutes": 1.5}] * 2, "mean": figures}
    (tmp_path / "a/folds/folds.json").write_text(json.dumps(said))
    (row,) = table([tmp_path])
    assert row["run"].endswith("a/folds, 2 folds") and row["data"] == "set"
    assert (row["minutes"], row["accuracy"]) == (3.0, 0.5)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("log.csv", "epoch,loss\n0,much\n", "log.csv is no log of a run"),
        ("summary.json", "[", "summary.json cannot be read"),
        ("summary.json", "[]", "summary.json is no summary of a run"),
        ("best.pt", "no", "best.pt is no readable checkpoint"),
        ("best.pt", "junk\n", "checkpoint: it is damaged, or of another kind"),
    ],
)
def test_damaged_files_are_named(tmp_path, name, text, message):
    (tmp_path / name).write_text(text)
    with pytest.raises(RunError, match=message):
        table([tmp_path])


def test_curves_show_loss_and_metrics(runs, tmp_path):
    draw(runs / "line", tmp_path / "deep/line.png")
    picture = cv2.imread(str(tmp_path / "deep/line.png"))
    assert picture.shape[1] > picture.shape[0] > 300
    # Two panels, each with ink of the first curve's blue.
    blue = (abs(picture.astype(int) - (180, 119, 31)).max(2) < 20).any(0)
    half = len(blue) // 2
    assert blue[:half].sum() > half // 3 and blue[half:].sum() > half // 3


def test_the_command_prints_writes_and_draws(runs, tmp_path, capsys):
    out = ("--output", tmp_path / "runs.md", "--curves", tmp_path / "curves")
    assert run_command("train", "report", "--runs", runs, *out) == exits.DONE
    said = capsys.readouterr().out.splitlines()
    assert said[0].split()[:3] == ["run", "recipe", "data"] and len(said) == 4
    assert (tmp_path / "runs.md").is_file()
    drawn = sorted(path.name for path in (tmp_path / "curves").iterdir())
    assert drawn == ["broken.png", "line.png", "phased.png"]
    assert run_command("train", "report", "--runs", tmp_path / "none") != exits.DONE
    assert "none not found: expected a folder of runs" in capsys.readouterr().err
