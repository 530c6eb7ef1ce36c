"""The loop: it learns, it resumes to the same curve, and it says what it lacks."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs the 'train' extra")

from affectstream.train.calibrate import (  # noqa: E402
    calibrate,
    expected_calibration_error,
    probabilities,
)
from affectstream.train.errors import DataMissing, RunError  # noqa: E402
from affectstream.train.loop import fit, learning_rate, load_best  # noqa: E402
from affectstream.train.recipe import FitConfig, Loaders, recipes  # noqa: E402


class _Batches:
    def __len__(self):
        return 8

    def epoch(self, number):
        generator = torch.Generator().manual_seed(number)
        for _ in range(len(self)):
            x = torch.randn(32, 4, generator=generator)
            yield {"x": x, "y": (x[:, 0] > x[:, 1]).long()}


class _Line:
    """Which of two numbers is larger: a line, learned in a second."""

    name, summary = "line", "for this test"
    defaults = FitConfig(epochs=6, batch_size=32, learning_rate=0.05, weight_decay=0.0)

    def loaders(self, data, config):
        return Loaders(_Batches(), list(_Batches().epoch(10_000)))

    def module(self):
        return torch.nn.Sequential(
            torch.nn.Linear(4, 8), torch.nn.Dropout(0.1), torch.nn.Linear(8, 2)
        )

    def loss(self, module, batch):
        return torch.nn.functional.cross_entropy(module(batch["x"]), batch["y"])

    def score(self, module, batches):
        hits = torch.cat([module(b["x"]).argmax(1) == b["y"] for b in batches])
        return {"accuracy": float(hits.float().mean())}


def curve(run):
    return (run / "log.csv").read_text().splitlines()


def test_it_learns_and_keeps_the_best_epoch(tmp_path):
    figures = fit(_Line(), _Line.defaults, tmp_path, tmp_path / "run", report=lambda _: None)
    assert figures["accuracy"] > 0.95
    module, kept = load_best(_Line(), tmp_path / "run")
    assert kept == figures
    assert not module.training
    assert len(curve(tmp_path / "run")) == 7


def test_a_resumed_run_has_the_same_curve(tmp_path):
    fit(_Line(), _Line.defaults, tmp_path, tmp_path / "whole", report=lambda _: None)

    class Stopped(_Line):
        def score(self, module, batches):
            if (tmp_path / "half/log.csv").exists() and len(curve(tmp_path / "half")) > 3:
                raise KeyboardInterrupt
            return super().score(module, batches)

    with pytest.raises(KeyboardInterrupt):
        fit(Stopped(), _Line.defaults, tmp_path, tmp_path / "half", report=lambda _: None)
    fit(_Line(), _Line.defaults, tmp_path, tmp_path / "half", resume=True, report=lambda _: None)
    assert curve(tmp_path / "half") == curve(tmp_path / "whole")


def test_a_run_is_not_overwritten_by_mistake(tmp_path):
    config = replace(_Line.defaults, epochs=1)
    fit(_Line(), config, tmp_path, tmp_path / "run", report=lambda _: None)
    with pytest.raises(RunError, match="already holds a run"):
        fit(_Line(), config, tmp_path, tmp_path / "run", report=lambda _: None)


def test_a_run_of_another_recipe_is_refused(tmp_path):
    fit(
        _Line(),
        replace(_Line.defaults, epochs=1),
        tmp_path,
        tmp_path / "run",
        report=lambda _: None,
    )

    class Other(_Line):
        name = "other"

    with pytest.raises(RunError, match="holds recipe 'line', expected 'other'"):
        load_best(Other(), tmp_path / "run")
    with pytest.raises(RunError, match="train 'line' first"):
        load_best(_Line(), tmp_path / "nowhere")


def test_the_schedule_warms_up_and_ends_at_nothing():
    rates = [learning_rate(s, steps=100, warmup=10, peak=1.0) for s in range(101)]
    assert rates[0] == pytest.approx(0.1)
    assert max(rates) == rates[9] == 1.0
    assert rates[-1] == pytest.approx(0.0, abs=1e-9)
    assert all(a >= b for a, b in pairwise(rates[10:]))


def test_every_recipe_of_pocket_is_found_and_says_what_data_it_lacks(tmp_path):
    found = recipes()
    assert {
        "pocket_detector",
        "pocket_face",
        "pocket_voice",
        "pocket_text",
        "pocket_fusion",
    } <= set(found)
    for name in ("pocket_detector", "pocket_face", "pocket_voice", "pocket_text"):
        with pytest.raises(DataMissing):
            found[name].loaders(tmp_path, found[name].defaults)


def test_temperature_mends_overconfidence():
    rng = np.random.default_rng(0)
    prior = np.array([0.5, 0.3, 0.2])
    labels = rng.choice(3, 6000, p=prior)
    clean = np.eye(3)[labels] * 1.5 + rng.normal(0, 1.0, (6000, 3))
    found = calibrate(clean * 4.0, labels, prior)  # four times too sure
    assert found.temperature > 2.0
    assert found.ece < 0.05
    assert found.covered_accuracy >= found.accuracy
    raw = probabilities(clean * 4.0, prior, 1.0)
    worse = expected_calibration_error(raw.max(1), raw.argmax(1) == labels)
    assert worse > found.ece
