"""The training loop: networks learn, runs stop and resume to the same curve, and errors name their cause."""

import json
from dataclasses import replace

import pytest

torch = pytest.importorskip("torch", reason="training needs the 'train' extra")

from lightning_fabric import Fabric
from lightning_fabric.plugins.precision.amp import MixedPrecision

from affectstream.stream.errors import OptionError
from affectstream.train.errors import DataMissing, RunError
from affectstream.train.fit.checkpoint import load, load_run
from affectstream.train.fit.loop import evaluate, fit
from tests.support.toy_recipes import (
    AlwaysNormed,
    Broken,
    InPhases,
    Interrupted,
    Line,
    Normed,
    Plain,
    column,
    curve,
    fit_quietly,
    interrupted_after,
)


def test_it_learns_and_keeps_the_best_epoch(tmp_path):
    figures = fit(Line(), Line.defaults, tmp_path, tmp_path / "run", report=lambda _: None)
    assert figures["accuracy"] > 0.95
    trained = load_run(Line(), tmp_path / "run")
    module, kept = trained.module, trained.metrics
    assert kept == figures
    assert not module.training
    assert len(curve(tmp_path / "run")) == 7
    assert evaluate(Line(), Line.defaults, tmp_path, tmp_path / "run") == figures


class Rising(Line):
    """Its accuracy rises with every validation, and so do its errors."""

    def __init__(self):
        self.count = 0

    def validate(self, module, batches):
        self.count += 1
        return {"accuracy": self.count / 10, "mae": self.count / 2, "valid_loss": 0.0}


@pytest.mark.parametrize(("monitor", "best"), [(None, 2), ("accuracy", 2), ("mae", 0)])
def test_the_monitored_metric_picks_the_best_epoch(tmp_path, monitor, best):
    fit_quietly(Rising(), tmp_path, replace(Line.defaults, epochs=3, monitor=monitor))
    assert load(tmp_path / "best.pt")["epoch"] == best


def test_an_unknown_monitor_is_refused_before_training(tmp_path):
    recipe = Rising()
    with pytest.raises(
        OptionError, match="--monitor f1: expected one of accuracy, mae, valid_loss"
    ):
        fit_quietly(recipe, tmp_path, replace(Line.defaults, monitor="f1"))
    assert recipe.count == 1 and not (tmp_path / "log.csv").exists()


def test_a_batch_of_one_sample_has_no_statistics(tmp_path):
    with pytest.raises(RunError, match="--batch-size 2 or more"):
        fit_quietly(AlwaysNormed(), tmp_path, replace(Line.defaults, batch_size=1))


@pytest.mark.parametrize(
    ("recipe", "changes"),
    [
        (Line, {"schedule": "cosine"}),
        (Line, {"schedule": "restarts", "weight_decay": 0.1}),
        (Line, {"schedule": "plateau", "learning_rate": 1e-4}),
        (Line, {"schedule": "constant", "accumulate": 3}),
        (Line, {"patience": 2, "min_delta": 0.5}),
        (Line, {"precision": "bf16-mixed"}),
        (InPhases, {"phase_epochs": (1, 2)}),
        (Normed, {}),
    ],
    ids=lambda value: (
        getattr(value, "__name__", None) or "-".join(f"{k}={v}" for k, v in value.items())
    ),
)
@pytest.mark.parametrize("stop", [1, 3])
def test_a_resumed_run_has_the_same_curve(tmp_path, recipe, changes, stop):
    config = replace(Line.defaults, epochs=5, **changes)
    fit_quietly(recipe(), tmp_path / "whole", config)
    with pytest.raises(Interrupted):
        fit_quietly(recipe(), tmp_path / "half", config, on_epoch=interrupted_after(stop))
    assert len(curve(tmp_path / "half")) == stop + 1
    fit_quietly(recipe(), tmp_path / "half", config, resume=True)
    assert curve(tmp_path / "half") == curve(tmp_path / "whole")
    for name, value in load(tmp_path / "whole/last.pt")["average"].items():
        assert torch.equal(value, load(tmp_path / "half/last.pt")["average"][name])


def test_an_epoch_that_was_logged_but_not_saved_runs_again(tmp_path):
    fit_quietly(Line(), tmp_path / "whole")
    with pytest.raises(Interrupted):
        fit_quietly(Line(), tmp_path / "half", on_epoch=interrupted_after(2))
    with (tmp_path / "half/log.csv").open("a") as file:
        file.write("2,0.1,0.1,0.1\r\n")
    fit_quietly(Line(), tmp_path / "half", resume=True)
    assert curve(tmp_path / "half") == curve(tmp_path / "whole")


def test_ctrl_c_reports_how_to_resume(tmp_path):
    def interrupt(epoch, figures):
        raise KeyboardInterrupt

    lines = []
    with pytest.raises(KeyboardInterrupt):
        fit(Line(), Line.defaults, tmp_path, tmp_path, report=lines.append, on_epoch=interrupt)
    assert "last.pt" in lines[-1] and "--resume" in lines[-1]


def test_a_run_is_not_overwritten_by_mistake(tmp_path):
    config = replace(Line.defaults, epochs=1)
    fit_quietly(Line(), tmp_path, config)
    with pytest.raises(RunError, match=r"already holds a run: .*--resume, or .*--runs"):
        fit_quietly(Line(), tmp_path, config)
    with pytest.raises(DataMissing, match="nowhere is no folder"):
        fit(Line(), config, tmp_path / "nowhere", tmp_path)


def test_accumulated_gradients_are_those_of_the_whole(tmp_path):
    config = replace(Line.defaults, epochs=3)
    fit_quietly(Plain(), tmp_path / "whole", config)
    fit_quietly(Plain(), tmp_path / "parts", replace(config, batch_size=8, accumulate=4))
    assert column(tmp_path / "parts", "loss") == pytest.approx(
        column(tmp_path / "whole", "loss"), rel=1e-4
    )
    assert column(tmp_path / "parts", "rate") == pytest.approx(column(tmp_path / "whole", "rate"))


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ("loss", "the loss is nan in epoch 1, batch 2 of 8; .*last.pt holds epoch 0: lower"),
        ("gradient", "the gradient is nan in epoch 1, batch 2 of 8; .*last.pt holds epoch 0"),
    ],
)
def test_a_loss_or_gradient_that_is_not_finite_ends_the_run(tmp_path, where, message):
    with pytest.raises(RunError, match=message):
        fit_quietly(Broken(where), tmp_path)
    assert load(tmp_path / "last.pt")["epoch"] == 0
    assert all(torch.isfinite(v).all() for v in load(tmp_path / "last.pt")["module"].values())


def test_a_run_stops_without_improvement(tmp_path):
    config = replace(Line.defaults, epochs=50, patience=3, min_delta=0.5)
    lines = fit_quietly(Line(), tmp_path, config)
    assert lines[-1] == "stopped early: no improvement for 3 epochs"
    epochs = len(column(tmp_path, "epoch"))
    assert epochs < 10
    again = fit_quietly(Line(), tmp_path, config, resume=True)
    assert again == lines[-1:] and len(column(tmp_path, "epoch")) == epochs
    fit_quietly(Line(), tmp_path, replace(config, patience=5), resume=True)
    assert len(column(tmp_path, "epoch")) == epochs + 2


def test_frozen_parameters_do_not_change(tmp_path):
    start = Normed()
    torch.manual_seed(0)
    before = start.module().state_dict()
    lines = fit_quietly(start, tmp_path, replace(Line.defaults, epochs=2))
    after = load(tmp_path / "last.pt")["average"]
    for name, value in before.items():
        assert torch.equal(value, after[name]) == name.startswith("0.")
    assert "phase 1 of 2, epochs 0 to 1: 18 of 74 parameters are trained" in lines
    assert any("ends before phase 2" in line for line in lines)


def test_each_phase_restarts_the_schedule_and_each_group_has_its_rate(tmp_path):
    config = replace(Line.defaults, epochs=4, warmup_epochs=0)
    fit_quietly(InPhases(), tmp_path, config)
    rates = column(tmp_path, "rate")
    assert rates[2] > rates[1] and rates[0] == pytest.approx(rates[2])
    groups = load(tmp_path / "last.pt")["optimiser"]["param_groups"]
    assert sorted(g["lr"] / rates[3] for g in groups) == pytest.approx([0.1, 0.1, 1.0, 1.0])


def test_initial_weights_are_evaluated_before_training(tmp_path):
    fit_quietly(Line(), tmp_path / "first")
    weights = load(tmp_path / "first/best.pt")["average"]

    class Started(Line):
        def module(self):
            module = super().module()
            module.load_state_dict(weights)
            return module

    config = replace(Line.defaults, epochs=1, init=str(tmp_path / "first"))
    lines = fit_quietly(Started(), tmp_path / "second", config)
    first = json.loads((tmp_path / "first/summary.json").read_text())
    second = json.loads((tmp_path / "second/summary.json").read_text())
    assert second["before"] == first["figures"] and first["before"] == {}
    assert lines[0] == f"before: accuracy {first['figures']['accuracy']:.4f}"


def test_overfitting_is_reported(tmp_path):
    class Judged(Line):
        def validate(self, module, batches):
            return {**super().validate(module, batches), "valid_loss": self.valid_loss}

    recipe = Judged()
    recipe.valid_loss = 2.0
    lines = fit_quietly(recipe, tmp_path / "over", replace(Line.defaults, epochs=1))
    loss = column(tmp_path / "over", "loss")[0]
    assert (
        f"overfitting: the validation loss is {2.0 / loss - 1:.0%} above the training loss" in lines
    )
    recipe.valid_loss = loss * 1.19
    lines = fit_quietly(recipe, tmp_path / "fine", replace(Line.defaults, epochs=1))
    assert not any("overfitting" in line for line in lines)


def scaled_on_the_cpu(config, accelerator="auto"):
    """As a GPU would: FP16 with a loss scale, here one that is far too large at first."""
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**30, growth_interval=5)
    return Fabric(
        accelerator="cpu", devices=1, plugins=MixedPrecision("16-mixed", "cpu", scaler=scaler)
    )


def test_a_loss_scale_finds_its_size_and_is_resumed(tmp_path, monkeypatch):
    monkeypatch.setattr("affectstream.train.fit.machine.make_fabric", scaled_on_the_cpu)
    config = replace(Line.defaults, epochs=4, precision="16-mixed")
    fit_quietly(Line(), tmp_path / "whole", config)
    assert column(tmp_path / "whole", "accuracy")[-1] > 0.9
    with pytest.raises(Interrupted):
        fit_quietly(Line(), tmp_path / "half", config, on_epoch=interrupted_after(2))
    assert 1 < load(tmp_path / "half/last.pt")["scaler"]["scale"] < 2.0**30
    fit_quietly(Line(), tmp_path / "half", config, resume=True)
    assert curve(tmp_path / "half") == curve(tmp_path / "whole")


def test_gradients_that_no_loss_scale_mends_end_the_run(tmp_path, monkeypatch):
    monkeypatch.setattr("affectstream.train.fit.machine.make_fabric", scaled_on_the_cpu)
    config = replace(Line.defaults, epochs=1000, precision="16-mixed")
    message = (
        "the gradient is nan at every loss scale, in 33 steps in a row, in epoch 7, batch [12] of 8; "
        ".*last.pt holds epoch 6: give --precision bf16-mixed or 32-true, lower the learning rate"
    )
    with pytest.raises(RunError, match=message):
        fit_quietly(Broken("gradient", good=26), tmp_path, config)
    kept = load(tmp_path / "last.pt")
    assert kept["epoch"] == 6
    assert all(torch.isfinite(v).all() for v in kept["module"].values())


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no NVIDIA GPU here")
@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed", "16-mixed"])
def test_a_run_on_a_gpu_resumes_to_the_same_curve(tmp_path, precision):
    class OnGpu(Line):
        def spec_dict(self):
            return {}

        def bind(self, data, config):
            return self

        def restore(self, spec):
            return self

        def validate(self, module, batches):
            return super().validate(module, [{k: v.cuda() for k, v in b.items()} for b in batches])

    config = replace(Line.defaults, epochs=4, precision=precision)
    fit_quietly(OnGpu(), tmp_path / "whole", config)
    with pytest.raises(Interrupted):
        fit_quietly(OnGpu(), tmp_path / "half", config, on_epoch=interrupted_after(2))
    fit_quietly(OnGpu(), tmp_path / "half", config, resume=True)
    assert column(tmp_path / "half", "loss") == pytest.approx(column(tmp_path / "whole", "loss"))
