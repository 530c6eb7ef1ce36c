"""The loop: it learns, it resumes to the same curve, and it says what it lacks."""

import csv
import json
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

torch = pytest.importorskip("torch", reason="training needs the 'train' extra")

from lightning_fabric import Fabric
from lightning_fabric.plugins.precision.amp import MixedPrecision

from affectstream.stream.errors import OptionError, OutputError
from affectstream.train.calibration import (
    calibrate,
    expected_calibration_error,
    probabilities,
)
from affectstream.train.errors import DataMissing, RunError
from affectstream.train.fit.checkpoint import load, load_best
from affectstream.train.fit.loop import evaluate, fit
from affectstream.train.fit.memory import halved
from affectstream.train.fit.schedule import SkippedSteps
from affectstream.train.networks.network import Phase
from affectstream.train.recipe import FitConfig, Loaders
from affectstream.train.recipes.registry import recipes


@pytest.fixture(autouse=True)
def one_thread():
    """Networks this small are slower on several, and what they compute is then the same everywhere."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


class _Batches:
    """The same 256 pairs each epoch, whatever the size of a batch."""

    def __init__(self, size=32):
        self.size = size

    def __len__(self):
        return 256 // self.size

    def epoch(self, number):
        generator = torch.Generator().manual_seed(number)
        x = torch.randn(256, 4, generator=generator)
        for part in x.split(self.size):
            yield {"x": part, "y": (part[:, 0] > part[:, 1]).long()}


class Line:
    """Which of two numbers is larger: a line, learned in a second."""

    name, summary = "line", "for this test"
    defaults = FitConfig(epochs=6, batch_size=32, learning_rate=0.05, weight_decay=0.0)
    dropout = 0.1

    def loaders(self, data, config):
        return Loaders(_Batches(config.batch_size), list(_Batches().epoch(10_000)))

    def module(self):
        return torch.nn.Sequential(
            torch.nn.Linear(4, 8), torch.nn.Dropout(self.dropout), torch.nn.Linear(8, 2)
        )

    def loss(self, module, batch):
        return torch.nn.functional.cross_entropy(module(batch["x"]), batch["y"])

    def validate(self, module, batches):
        hits = torch.cat([module(b["x"]).argmax(1) == b["y"] for b in batches])
        return {"accuracy": float(hits.float().mean())}


class Plain(Line):
    """Without chance: what is computed in another way has to come out the same."""

    dropout = 0.0


class InPhases(Line):
    phases = (Phase(2, frozen=("0",)), Phase(None, rates={"0": 0.1}))


class Normed(InPhases):
    def module(self):
        return torch.nn.Sequential(
            torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.BatchNorm1d(8)),
            torch.nn.ReLU(),
            torch.nn.Linear(8, 2),
        )


class AlwaysNormed(Normed):
    phases = ()


def run(recipe, folder, config=None, **options):
    """Fit quietly; returns the lines that were said."""
    said = []
    fit(recipe, config or recipe.defaults, folder, folder, report=said.append, **options)
    return said


def curve(folder):
    return (folder / "log.csv").read_text().splitlines()


def column(folder, name):
    with (folder / "log.csv").open() as file:
        return [float(row[name]) for row in csv.DictReader(file)]


def test_it_learns_and_keeps_the_best_epoch(tmp_path):
    figures = fit(Line(), Line.defaults, tmp_path, tmp_path / "run", report=lambda _: None)
    assert figures["accuracy"] > 0.95
    module, kept = load_best(Line(), tmp_path / "run")
    assert kept == figures
    assert not module.training
    assert len(curve(tmp_path / "run")) == 7
    assert evaluate(Line(), Line.defaults, tmp_path, tmp_path / "run") == figures


def test_a_batch_of_one_sample_has_no_statistics(tmp_path):
    with pytest.raises(RunError, match="--batch-size 2 or more"):
        run(AlwaysNormed(), tmp_path, replace(Line.defaults, batch_size=1))


def test_a_checkpoint_says_what_made_it(tmp_path):
    config = replace(Line.defaults, epochs=1, seed=7)
    run(Line(), tmp_path, config)
    for name in ("last.pt", "best.pt"):
        saved = load(tmp_path / name)
        assert saved["config"]["seed"] == 7
        assert FitConfig(**saved["config"]) == config
        assert {"python", "torch", "affectstream"} <= set(saved["versions"])
    said = json.loads((tmp_path / "summary.json").read_text())
    assert said["parameters"] == 4 * 8 + 8 + 8 * 2 + 2
    assert said["best_epoch"] == 0 and said["minutes"] > 0 and said["peak_megabytes"]["ram"] > 0


class Interrupted(Exception):
    pass


def interrupted_after(epochs):
    def on_epoch(epoch, figures):
        if epoch + 1 == epochs:
            raise Interrupted

    return on_epoch


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
    run(recipe(), tmp_path / "whole", config)
    with pytest.raises(Interrupted):
        run(recipe(), tmp_path / "half", config, on_epoch=interrupted_after(stop))
    assert len(curve(tmp_path / "half")) == stop + 1
    run(recipe(), tmp_path / "half", config, resume=True)
    assert curve(tmp_path / "half") == curve(tmp_path / "whole")
    for name, value in load(tmp_path / "whole/last.pt")["average"].items():
        assert torch.equal(value, load(tmp_path / "half/last.pt")["average"][name])


def test_an_epoch_that_was_logged_and_not_kept_is_run_again(tmp_path):
    run(Line(), tmp_path / "whole")
    with pytest.raises(Interrupted):
        run(Line(), tmp_path / "half", on_epoch=interrupted_after(2))
    with (tmp_path / "half/log.csv").open("a") as file:
        file.write("2,0.1,0.1,0.1\r\n")
    run(Line(), tmp_path / "half", resume=True)
    assert curve(tmp_path / "half") == curve(tmp_path / "whole")


def test_ctrl_c_says_where_to_go_on(tmp_path):
    def interrupt(epoch, figures):
        raise KeyboardInterrupt

    said = []
    with pytest.raises(KeyboardInterrupt):
        fit(Line(), Line.defaults, tmp_path, tmp_path, report=said.append, on_epoch=interrupt)
    assert "last.pt" in said[-1] and "--resume" in said[-1]


def test_a_run_is_not_overwritten_by_mistake(tmp_path):
    config = replace(Line.defaults, epochs=1)
    run(Line(), tmp_path, config)
    with pytest.raises(RunError, match=r"already holds a run: .*--resume, or .*--runs"):
        run(Line(), tmp_path, config)
    with pytest.raises(DataMissing, match="nowhere is no folder"):
        fit(Line(), config, tmp_path / "nowhere", tmp_path)


def test_a_run_of_another_recipe_is_refused(tmp_path):
    config = replace(Line.defaults, epochs=1)
    run(Line(), tmp_path, config)

    class Other(Line):
        name = "other"

    with pytest.raises(RunError, match="holds recipe 'line', expected 'other'"):
        load_best(Other(), tmp_path)
    with pytest.raises(RunError, match="holds recipe 'line', expected 'other'"):
        run(Other(), tmp_path, config, resume=True)
    with pytest.raises(RunError, match="train 'line' first"):
        load_best(Line(), tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"learning_rate": 0.01}, "started with --learning-rate 0.05, now 0.01: give"),
        (
            {"seed": 4, "schedule": "constant"},
            "started with --seed 0, now 4; --schedule cosine, now constant",
        ),
        (
            {"batch_size": 16},
            r"started with 32 samples a step \(--batch-size times --accumulate\), now 16",
        ),
    ],
)
def test_a_run_is_not_gone_on_with_in_another_way(tmp_path, changes, message):
    config = replace(Line.defaults, epochs=1)
    run(Line(), tmp_path, config)
    with pytest.raises(RunError, match=message):
        run(Line(), tmp_path, replace(config, **changes), resume=True)


def test_a_finished_run_goes_on_to_more_epochs_and_other_batches(tmp_path):
    config = replace(Line.defaults, epochs=2)
    run(Line(), tmp_path, config)
    more = replace(config, epochs=3, batch_size=16, accumulate=2)
    run(Line(), tmp_path, more, resume=True)
    assert column(tmp_path, "epoch") == [0, 1, 2]


def test_a_damaged_checkpoint_is_told_of(tmp_path):
    run(Line(), tmp_path, replace(Line.defaults, epochs=1))
    (tmp_path / "last.pt").write_bytes((tmp_path / "last.pt").read_bytes()[:500])
    with pytest.raises(RunError, match=r"last\.pt is no readable checkpoint"):
        run(Line(), tmp_path, resume=True)


@pytest.mark.parametrize("lost", ["average", "figures"])
def test_a_best_epoch_of_a_version_that_kept_other_things_is_told_of(tmp_path, lost):
    run(Line(), tmp_path, replace(Line.defaults, epochs=1))
    saved = load(tmp_path / "best.pt")
    if lost == "average":
        saved["average"].popitem()
    else:
        del saved[lost]
    torch.save(saved, tmp_path / "best.pt")
    made = saved["versions"]["affectstream"]
    with pytest.raises(RunError, match=rf"best\.pt does not fit this version .* made by {made}"):
        evaluate(Line(), Line.defaults, tmp_path, tmp_path)


def test_a_run_of_a_version_that_kept_other_things_is_not_gone_on_with(tmp_path):
    run(Line(), tmp_path, replace(Line.defaults, epochs=1))
    saved = load(tmp_path / "last.pt")
    del saved["optimiser"]
    torch.save(saved, tmp_path / "last.pt")
    before = (tmp_path / "last.pt").read_bytes()
    with pytest.raises(RunError, match=r"last\.pt does not fit this version .*'optimiser'"):
        run(Line(), tmp_path, replace(Line.defaults, epochs=2), resume=True)
    assert (tmp_path / "last.pt").read_bytes() == before


@pytest.mark.parametrize("name", ["log.csv", "summary.json"])
def test_what_the_disk_refuses_is_told_in_a_line(tmp_path, name):
    (tmp_path / name).mkdir()
    with pytest.raises(OutputError, match=r"cannot write .*: Is a directory"):
        run(Line(), tmp_path, replace(Line.defaults, epochs=1))


def test_a_checkpoint_of_an_older_version_is_gone_on_with(tmp_path):
    config = replace(Line.defaults, epochs=2)
    run(Line(), tmp_path, replace(config, epochs=1))
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
    run(Line(), tmp_path, config, resume=True)
    assert column(tmp_path, "epoch") == [0, 1]


def test_accumulated_gradients_are_those_of_the_whole(tmp_path):
    config = replace(Line.defaults, epochs=3)
    run(Plain(), tmp_path / "whole", config)
    run(Plain(), tmp_path / "parts", replace(config, batch_size=8, accumulate=4))
    assert column(tmp_path / "parts", "loss") == pytest.approx(
        column(tmp_path / "whole", "loss"), rel=1e-4
    )
    assert column(tmp_path / "parts", "rate") == pytest.approx(column(tmp_path / "whole", "rate"))


class TooMuch(Plain):
    """As if no more than 8 samples fitted, from the second epoch on."""

    def __init__(self, error, fits=8):
        self.error, self.fits, self.seen = error, fits, 0

    def loss(self, module, batch):
        self.seen += len(batch["x"])
        if len(batch["x"]) > self.fits and self.seen > 256:
            raise self.error
        return super().loss(module, batch)


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
    ],
    ids=["cuda", "cpu"],
)
def test_a_batch_that_does_not_fit_is_halved_until_it_does(tmp_path, error):
    config = replace(Line.defaults, epochs=3)
    said = run(TooMuch(error), tmp_path / "small", config)
    halvings = [line for line in said if line.startswith("out of memory in epoch 1: ")]
    assert [line.rpartition("with ")[2] for line in halvings] == [
        "batches of 16, 2 to a step",
        "batches of 8, 4 to a step",
    ]
    run(Plain(), tmp_path / "whole", config)
    assert column(tmp_path / "small", "loss") == pytest.approx(
        column(tmp_path / "whole", "loss"), rel=1e-4
    )
    assert load(tmp_path / "small/last.pt")["config"]["batch_size"] == 8


def test_one_sample_that_does_not_fit_ends_the_run(tmp_path):
    recipe = TooMuch(torch.OutOfMemoryError("CUDA out of memory"), fits=0)
    with pytest.raises(RunError, match="one sample does not fit into memory"):
        run(recipe, tmp_path, replace(Line.defaults, batch_size=4, epochs=3))
    assert load(tmp_path / "last.pt")["epoch"] == 0


def test_smaller_batches_keep_what_a_step_sees():
    for batch in range(2, 60):
        before = FitConfig(batch_size=batch, accumulate=3)
        after = halved(before)
        assert after.batch_size <= batch // 2
        assert after.batch_size * after.accumulate == batch * 3


def test_another_error_of_a_batch_is_not_taken_for_a_lack_of_memory(tmp_path):
    with pytest.raises(RuntimeError, match="sizes differ"):
        run(TooMuch(RuntimeError("sizes differ")), tmp_path)


class Broken(Line):
    """After `good` batches, a loss or a gradient that is no number."""

    def __init__(self, where, good=10):
        self.where, self.good, self.seen = where, good, 0

    def loss(self, module, batch):
        self.seen += 1
        loss = super().loss(module, batch)
        if self.seen <= self.good:
            return loss
        if self.where == "loss":
            return loss * float("nan")
        return loss + (module[0].weight * 0.0).square().sum().sqrt()  # 0 / 0 in its derivative


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ("loss", "the loss is nan in epoch 1, batch 2 of 8; .*last.pt holds epoch 0: lower"),
        ("gradient", "the gradient is nan in epoch 1, batch 2 of 8; .*last.pt holds epoch 0"),
    ],
)
def test_what_is_no_number_ends_the_run_and_leaves_the_last_good_epoch(tmp_path, where, message):
    with pytest.raises(RunError, match=message):
        run(Broken(where), tmp_path)
    assert load(tmp_path / "last.pt")["epoch"] == 0
    assert all(torch.isfinite(v).all() for v in load(tmp_path / "last.pt")["module"].values())


def test_a_run_stops_when_nothing_gets_better(tmp_path):
    config = replace(Line.defaults, epochs=50, patience=3, min_delta=0.5)
    said = run(Line(), tmp_path, config)
    assert said[-1] == "stopped early: no improvement for 3 epochs"
    epochs = len(column(tmp_path, "epoch"))
    assert epochs < 10
    again = run(Line(), tmp_path, config, resume=True)
    assert again == said[-1:] and len(column(tmp_path, "epoch")) == epochs
    run(Line(), tmp_path, replace(config, patience=5), resume=True)
    assert len(column(tmp_path, "epoch")) == epochs + 2


def test_what_rests_in_a_phase_stays_as_it_was(tmp_path):
    start = Normed()
    torch.manual_seed(0)
    before = start.module().state_dict()
    said = run(start, tmp_path, replace(Line.defaults, epochs=2))
    after = load(tmp_path / "last.pt")["average"]
    for name, value in before.items():
        assert torch.equal(value, after[name]) == name.startswith("0.")
    assert "phase 1 of 2, epochs 0 to 1: 18 of 74 parameters are trained" in said
    assert any("ends before phase 2" in line for line in said)


def test_each_phase_begins_its_schedule_anew_and_parts_learn_at_their_share(tmp_path):
    config = replace(Line.defaults, epochs=4, warmup_epochs=0)
    run(InPhases(), tmp_path, config)
    rates = column(tmp_path, "rate")
    assert rates[2] > rates[1] and rates[0] == pytest.approx(rates[2])
    groups = load(tmp_path / "last.pt")["optimiser"]["param_groups"]
    assert sorted(g["lr"] / rates[3] for g in groups) == pytest.approx([0.1, 1.0])


def test_weights_that_are_started_from_are_judged_before(tmp_path):
    run(Line(), tmp_path / "first")
    weights = load(tmp_path / "first/best.pt")["average"]

    class Started(Line):
        def module(self):
            module = super().module()
            module.load_state_dict(weights)
            return module

    config = replace(Line.defaults, epochs=1, init=str(tmp_path / "first"))
    said = run(Started(), tmp_path / "second", config)
    first = json.loads((tmp_path / "first/summary.json").read_text())
    second = json.loads((tmp_path / "second/summary.json").read_text())
    assert second["before"] == first["figures"] and first["before"] == {}
    assert said[0] == f"before: accuracy {first['figures']['accuracy']:.4f}"


def test_overfitting_is_told_of(tmp_path):
    class Judged(Line):
        def validate(self, module, batches):
            return {**super().validate(module, batches), "valid_loss": self.valid_loss}

    recipe = Judged()
    recipe.valid_loss = 2.0
    said = run(recipe, tmp_path / "over", replace(Line.defaults, epochs=1))
    loss = column(tmp_path / "over", "loss")[0]
    assert (
        f"overfitting: the validation loss is {2.0 / loss - 1:.0%} above the training loss" in said
    )
    recipe.valid_loss = loss * 1.19
    said = run(recipe, tmp_path / "fine", replace(Line.defaults, epochs=1))
    assert not any("overfitting" in line for line in said)


class Blocks(Plain):
    """Two like blocks in a chain, whose activations can be computed again."""

    def module(self):
        layers = [
            torch.nn.TransformerEncoderLayer(8, 2, 16, dropout=0.1, batch_first=True)
            for _ in range(2)
        ]
        return torch.nn.Sequential(
            torch.nn.Linear(4, 8), torch.nn.Sequential(*layers), torch.nn.Linear(8, 2)
        )

    def loss(self, module, batch):
        return torch.nn.functional.cross_entropy(module(batch["x"][:, None])[:, 0], batch["y"])

    def validate(self, module, batches):
        hits = torch.cat([module(b["x"][:, None])[:, 0].argmax(1) == b["y"] for b in batches])
        return {"accuracy": float(hits.float().mean())}


def test_activations_computed_again_are_the_same(tmp_path):
    config = replace(Line.defaults, epochs=2, learning_rate=0.01)
    run(Blocks(), tmp_path / "kept", config)
    run(Blocks(), tmp_path / "again", replace(config, checkpointing=True))
    assert column(tmp_path / "again", "loss") == pytest.approx(
        column(tmp_path / "kept", "loss"), rel=1e-5
    )
    with pytest.raises(RunError, match="--checkpointing: no part of line can compute"):
        run(Line(), tmp_path / "line", replace(config, checkpointing=True))


@pytest.mark.slow
def test_a_machine_without_a_compiler_is_told_of(tmp_path, monkeypatch):
    from torch._inductor import config as inductor

    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "cache"))
    # Its own way of patching: an attribute that pytest puts back stays hidden.
    nowhere = inductor.patch({"cpp.cxx": ("/nowhere/c++",)})
    with nowhere, pytest.raises(RunError, match="--compile: "):
        run(Plain(), tmp_path / "run", replace(Line.defaults, epochs=1, compile=True))


@pytest.mark.slow
def test_a_compiled_network_learns_the_same(tmp_path):
    config = replace(Line.defaults, epochs=2)
    run(Plain(), tmp_path / "eager", config)
    run(Plain(), tmp_path / "compiled", replace(config, compile=True))
    assert column(tmp_path / "compiled", "loss") == pytest.approx(
        column(tmp_path / "eager", "loss"), rel=1e-4
    )


# What processes say goes to their own output: a list in this one would not hear of it.


class PlainInPhases(Plain):
    phases = InPhases.phases


@pytest.mark.slow
@pytest.mark.parametrize("recipe", [Plain, PlainInPhases])
def test_two_processes_learn_what_one_does_from_twice_as_much(tmp_path, recipe):
    config = replace(Line.defaults, epochs=4, batch_size=16)
    run(recipe(), tmp_path / "one", replace(config, accumulate=2))
    fit(recipe(), replace(config, devices="2"), tmp_path, tmp_path / "two")
    assert column(tmp_path / "two", "loss") == pytest.approx(
        column(tmp_path / "one", "loss"), rel=1e-4
    )


@pytest.mark.slow
def test_two_processes_resume_to_the_same_curve(tmp_path):
    config = replace(Line.defaults, epochs=3, batch_size=16, devices="2", schedule="constant")
    fit(Line(), config, tmp_path, tmp_path / "whole")
    fit(Line(), replace(config, epochs=2), tmp_path, tmp_path / "half")
    fit(Line(), config, tmp_path, tmp_path / "half", resume=True)
    assert curve(tmp_path / "half") == curve(tmp_path / "whole")
    # Dropout differs between the two, so each has its own random state.
    first, second = load(tmp_path / "whole/last.pt")["random"]
    assert not torch.equal(first["cpu"], second["cpu"])


@pytest.mark.slow
def test_what_breaks_in_a_process_is_told_in_a_line(tmp_path):
    with pytest.raises(RunError, match=r"a training process ended: the loss is nan in epoch 2"):
        fit(Broken("loss"), replace(Line.defaults, devices="2"), tmp_path, tmp_path / "run")
    assert load(tmp_path / "run/last.pt")["epoch"] == 1


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_what_only_a_gpu_can_do_is_refused_without_one(tmp_path):
    with pytest.raises(OptionError, match="'16-mixed' needs a GPU, and there is none to use"):
        run(Line(), tmp_path, replace(Line.defaults, precision="16-mixed"))


def scaled_on_the_cpu(config, accelerator):
    """As a GPU would: FP16 with a loss scale, here one that is far too large at first."""
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**30, growth_interval=5)
    return Fabric(
        accelerator="cpu", devices=1, plugins=MixedPrecision("16-mixed", "cpu", scaler=scaler)
    )


def test_a_loss_scale_finds_its_size_and_is_resumed(tmp_path, monkeypatch):
    monkeypatch.setattr("affectstream.train.fit.loop.make_fabric", scaled_on_the_cpu)
    config = replace(Line.defaults, epochs=4, precision="16-mixed")
    run(Line(), tmp_path / "whole", config)
    assert column(tmp_path / "whole", "accuracy")[-1] > 0.9
    with pytest.raises(Interrupted):
        run(Line(), tmp_path / "half", config, on_epoch=interrupted_after(2))
    assert 1 < load(tmp_path / "half/last.pt")["scaler"]["scale"] < 2.0**30
    run(Line(), tmp_path / "half", config, resume=True)
    assert curve(tmp_path / "half") == curve(tmp_path / "whole")


def test_gradients_that_no_loss_scale_mends_end_the_run(tmp_path, monkeypatch):
    monkeypatch.setattr("affectstream.train.fit.loop.make_fabric", scaled_on_the_cpu)
    config = replace(Line.defaults, epochs=1000, precision="16-mixed")
    message = (
        "the gradient is nan at every loss scale, in 33 steps in a row, in epoch 7, batch [12] of 8; "
        ".*last.pt holds epoch 6: give --precision bf16-mixed or 32-true, lower the learning rate"
    )
    with pytest.raises(RunError, match=message):
        run(Broken("gradient", good=26), tmp_path, config)
    kept = load(tmp_path / "last.pt")
    assert kept["epoch"] == 6
    assert all(torch.isfinite(v).all() for v in kept["module"].values())


@given(st.lists(st.sampled_from([1.0, 1e4, math.inf, math.nan]), max_size=60), st.integers(0, 5))
def test_only_steps_left_out_one_after_another_count(norms, most):
    left_out = SkippedSteps(most)
    ended = [left_out.push(norm) for norm in norms]
    for index, end in enumerate(ended):
        newest = norms[max(0, index - most) : index + 1]
        assert end == (len(newest) == most + 1 and not any(map(math.isfinite, newest)))


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
    run(OnGpu(), tmp_path / "whole", config)
    with pytest.raises(Interrupted):
        run(OnGpu(), tmp_path / "half", config, on_epoch=interrupted_after(2))
    run(OnGpu(), tmp_path / "half", config, resume=True)
    assert column(tmp_path / "half", "loss") == pytest.approx(column(tmp_path / "whole", "loss"))


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
