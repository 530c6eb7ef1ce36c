"""Runs on several devices, compiled runs, and what a machine cannot do."""

import atexit
from dataclasses import replace
from functools import partial

import pytest

torch = pytest.importorskip("torch", reason="training needs the 'train' extra")

from affectstream.stream.errors import OptionError
from affectstream.train.errors import RunError
from affectstream.train.fit.checkpoint import load
from affectstream.train.fit.loop import fit
from affectstream.train.fit.machine import launch, make_fabric
from tests.support.toy_recipes import (
    Broken,
    Line,
    Plain,
    PlainInPhases,
    column,
    curve,
    fit_quietly,
)


@pytest.mark.slow
def test_a_missing_compiler_is_reported(tmp_path, monkeypatch):
    from torch._inductor import config as inductor

    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "cache"))
    # Its own way of patching: an attribute that pytest puts back stays hidden.
    nowhere = inductor.patch({"cpp.cxx": ("/nowhere/c++",)})
    with nowhere, pytest.raises(RunError, match="--compile: "):
        fit_quietly(Plain(), tmp_path / "run", replace(Line.defaults, epochs=1, compile=True))


@pytest.mark.slow
def test_a_compiled_network_learns_the_same(tmp_path):
    config = replace(Line.defaults, epochs=2)
    fit_quietly(Plain(), tmp_path / "eager", config)
    fit_quietly(Plain(), tmp_path / "compiled", replace(config, compile=True))
    assert column(tmp_path / "compiled", "loss") == pytest.approx(
        column(tmp_path / "eager", "loss"), rel=1e-4
    )


@pytest.mark.slow
@pytest.mark.parametrize("recipe", [Plain, PlainInPhases])
def test_two_processes_learn_what_one_does_from_twice_as_much(tmp_path, recipe):
    config = replace(Line.defaults, epochs=4, batch_size=16)
    fit_quietly(recipe(), tmp_path / "one", replace(config, accumulate=2))
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
def test_an_error_in_a_process_is_reported_in_a_line(tmp_path):
    with pytest.raises(RunError, match=r"a training process ended: the loss is nan in epoch 2"):
        fit(Broken("loss"), replace(Line.defaults, devices="2"), tmp_path, tmp_path / "run")
    assert load(tmp_path / "run/last.pt")["epoch"] == 1


def _note_at_exit(fabric, folder):
    def note():
        (folder / str(fabric.global_rank)).write_text(str(torch.distributed.is_initialized()))

    atexit.register(note)


@pytest.mark.slow
def test_processes_part_before_their_interpreters_end(tmp_path):
    """Threads of gloo that outlive the interpreter abort the process once in a while."""
    fabric = make_fabric(replace(Line.defaults, devices="2"), "cpu")
    launch(fabric, partial(_note_at_exit, folder=tmp_path))
    assert [(tmp_path / rank).read_text() for rank in "01"] == ["False", "False"]


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_16_mixed_needs_a_gpu(tmp_path):
    with pytest.raises(OptionError, match="'16-mixed' needs a GPU, and there is none to use"):
        fit_quietly(Line(), tmp_path, replace(Line.defaults, precision="16-mixed"))
