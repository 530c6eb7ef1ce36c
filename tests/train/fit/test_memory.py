"""Runs that need more memory than there is."""

import sys
from dataclasses import replace
from types import SimpleNamespace

import pytest

torch = pytest.importorskip("torch", reason="training needs the 'train' extra")

from affectstream.train.errors import RunError
from affectstream.train.fit import machine
from affectstream.train.fit.checkpoint import load
from affectstream.train.fit.machine import halved
from affectstream.train.loader.batches import ValidBatches
from affectstream.train.recipe import FitConfig, Loaders
from tests.support.toy_recipes import (
    Line,
    Plain,
    column,
    fit_quietly,
)


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
    lines = fit_quietly(TooMuch(error), tmp_path / "small", config)
    halvings = [line for line in lines if line.startswith("out of memory in epoch 1: ")]
    assert [line.rpartition("with ")[2] for line in halvings] == [
        "batches of 16, 2 to a step",
        "batches of 8, 4 to a step",
    ]
    fit_quietly(Plain(), tmp_path / "whole", config)
    assert column(tmp_path / "small", "loss") == pytest.approx(
        column(tmp_path / "whole", "loss"), rel=1e-4
    )
    assert load(tmp_path / "small/last.pt")["config"]["batch_size"] == 8


def test_one_sample_that_does_not_fit_ends_the_run(tmp_path):
    recipe = TooMuch(torch.OutOfMemoryError("CUDA out of memory"), fits=0)
    with pytest.raises(RunError, match="one sample does not fit into memory"):
        fit_quietly(recipe, tmp_path, replace(Line.defaults, batch_size=4, epochs=3))
    assert load(tmp_path / "last.pt")["epoch"] == 0


class Rows:
    """Validation samples that can be read in batches of any size."""

    def __init__(self, batches):
        self.columns = {name: torch.cat([b[name] for b in batches]) for name in batches[0]}
        self.windows = SimpleNamespace(max_pictures=lambda: 0)

    def __len__(self):
        return len(self.columns["x"])

    def batch(self, picked):
        return {name: column[list(picked)] for name, column in self.columns.items()}


class TooMuchToValidate(Plain):
    """As if no more than `fits` samples fitted in validation."""

    def __init__(self, fits):
        self.fits = fits

    def loaders(self, data, config):
        loaders = super().loaders(data, config)
        return Loaders(loaders.train, ValidBatches(Rows(loaders.valid)))

    def validate(self, module, batches):
        read = list(batches)
        if max(len(batch["x"]) for batch in read) > self.fits:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return super().validate(module, read)


def test_a_validation_batch_that_does_not_fit_is_halved_until_it_does(tmp_path):
    lines = fit_quietly(TooMuchToValidate(20), tmp_path / "small")
    assert sum("out of memory in validation" in line for line in lines) == 2  # from 64 to 16
    fit_quietly(Plain(), tmp_path / "whole")
    assert column(tmp_path / "small", "accuracy") == column(tmp_path / "whole", "accuracy")


def test_one_validation_sample_that_does_not_fit_ends_the_run(tmp_path):
    with pytest.raises(RunError, match="does not fit into memory in validation"):
        fit_quietly(TooMuchToValidate(0), tmp_path)


def test_smaller_batches_keep_what_a_step_sees():
    for batch in range(2, 60):
        before = FitConfig(batch_size=batch, accumulate=3)
        after = halved(before)
        assert after.batch_size <= batch // 2
        assert after.batch_size * after.accumulate == batch * 3


def test_other_errors_do_not_halve_the_batch(tmp_path):
    with pytest.raises(RuntimeError, match="sizes differ"):
        fit_quietly(TooMuch(RuntimeError("sizes differ")), tmp_path)


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
    fit_quietly(Blocks(), tmp_path / "kept", config)
    fit_quietly(Blocks(), tmp_path / "again", replace(config, checkpointing=True))
    assert column(tmp_path / "again", "loss") == pytest.approx(
        column(tmp_path / "kept", "loss"), rel=1e-5
    )
    with pytest.raises(RunError, match="--checkpointing: no part of line can compute"):
        fit_quietly(Line(), tmp_path / "line", replace(config, checkpointing=True))


@pytest.mark.parametrize(("platform", "unit"), [("linux", 1024), ("darwin", 1), ("win32", None)])
def test_peak_memory_has_the_unit_of_the_system(platform, unit, monkeypatch):
    resource = pytest.importorskip("resource", reason="this system has no peak memory")
    usage = SimpleNamespace(ru_maxrss=5_000_000)
    monkeypatch.setattr(resource, "getrusage", lambda who: usage)
    monkeypatch.setattr(machine.sys, "platform", platform)
    if unit is None:
        monkeypatch.setitem(sys.modules, "resource", None)  # an import fails, as on Windows
    expected = {} if unit is None else {"ram": pytest.approx(5 * unit)}
    assert machine.peak_megabytes(torch.device("cpu")) == expected
