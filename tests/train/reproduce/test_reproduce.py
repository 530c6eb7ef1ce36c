"""A source's protocol on data at hand: ours beside theirs, and what could not be run with its reason."""

import json

import pytest

torch = pytest.importorskip("torch", reason="training needs the 'train' extra")

from affectstream.stream import exits
from affectstream.stream.errors import OptionError
from affectstream.train.recipes.registry import recipes
from affectstream.train.reproduce.protocols import PROTOCOLS, find
from tests.support.command import run_command
from tests.support.prepared import utterances, write


def test_every_step_is_a_recipe_and_its_members_come_before_it():
    for protocol in PROTOCOLS:
        before = set()
        for step in protocol.steps:
            assert step.recipe in recipes() and set(step.members) <= before
            before.add(step.recipe)
    assert find("s3").name == "S3"
    with pytest.raises(OptionError, match="S9 is no source with a protocol"):
        find("S9")


def words_only(count, split, seed):
    for sample in utterances(count, split, seed=seed):
        sample.crops = sample.crop_times_us = sample.frames_seen = sample.audio = None
        yield sample


def test_words_alone_run_what_they_can(tmp_path, capsys):
    made = [*words_only(16, "train", 0), *words_only(8, "valid", 1), *words_only(8, "test", 2)]
    data, runs = write(tmp_path / "set", made), tmp_path / "runs"
    command = ("train", "reproduce", "S3", "--data", data, "--runs", runs, "--tiny")
    assert run_command(*command, "--weights", "none", "--epochs", "1") == exits.DONE
    said = capsys.readouterr().out
    assert "62.4; weighted F1 59.7" in said and "split test" in said
    assert "ensemble: not run:" in said and "sentence: 8 samples, 1 epoch" in said
    assert "; epochs 1 instead of 20" in said and "; tiny True" in said
    document = json.loads((runs / "S3/reproduce.json").read_text())
    ensemble, sentence = document["rows"]
    assert ensemble["metrics"] == {} and ensemble["reason"]
    assert 0 <= sentence["metrics"]["accuracy"]["value"] <= 1


@pytest.mark.slow
def test_fused_members_are_exported_first(tmp_path, capsys):
    made = [
        sample
        for seed, (split, count) in enumerate({"train": 16, "valid": 8, "test": 8}.items())
        for sample in utterances(count, split, seed=seed)
    ]
    data, runs = write(tmp_path / "set", made), tmp_path / "runs"
    command = ("train", "reproduce", "S4", "--data", data, "--runs", runs, "--tiny")
    assert run_command(*command, "--weights", "none", "--epochs", "1") == exits.DONE
    rows = json.loads((runs / "S4/reproduce.json").read_text())["rows"]
    assert [bool(row["metrics"]) for row in rows] == [True] * 4, capsys.readouterr().out
    assert (runs / "S4/mimamo_bundle/bundle.json").is_file()
