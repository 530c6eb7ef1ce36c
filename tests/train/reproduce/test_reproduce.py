"""A source's protocol on data at hand: ours beside theirs, and what could not be run with its reason."""

import json

import numpy as np
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
    assert "1 of 2 networks of S3 ran: this is a part of the protocol" in said
    assert "; epochs 1 instead of 20" in said and "; tiny True" in said
    document = json.loads((runs / "S3/reproduce.json").read_text())
    ensemble, sentence = document["rows"]
    assert ensemble["metrics"] == {} and ensemble["reason"]
    assert 0 <= sentence["metrics"]["accuracy"]["value"] <= 1


def test_data_without_the_labels_of_a_source_are_refused_at_once(tmp_path, capsys):
    data = write(tmp_path / "set", words_only(8, "train", 0))
    info = json.loads((data / "dataset.json").read_text())
    info["tasks"]["attention"] = 0
    (data / "dataset.json").write_text(json.dumps(info))
    command = ("train", "reproduce", "S0", "--data", data, "--runs", tmp_path / "runs", "--tiny")
    assert run_command(*command, "--weights", "none", "--epochs", "1") == exits.NOTHING
    error = " ".join(capsys.readouterr().err.split())
    assert "S0 (attention in interviews) cannot be run" in error
    assert "no sample of 'made-up' has a label of attention; it has 8 of emotion" in error
    assert "GENEX interviews" in error and "train prepare affdex" in error
    assert not (tmp_path / "runs").exists()


def test_a_protocol_of_which_nothing_runs_says_so(tmp_path, capsys):
    def sound_only():
        for sample in words_only(8, "train", 0):
            sample.audio, sample.text = np.zeros(16_000, np.float32), None
            yield sample

    data, runs = write(tmp_path / "set", sound_only()), tmp_path / "runs"
    command = ("train", "reproduce", "S3", "--data", data, "--runs", runs, "--tiny")
    assert run_command(*command, "--weights", "none", "--epochs", "1") == exits.NOTHING
    said = capsys.readouterr()
    assert "0 of 2 networks of S3 ran: this is a part of the protocol" in said.out
    assert "no network of S3 could be run" in said.err
    assert json.loads((runs / "S3/reproduce.json").read_text())["complete"] is False


@pytest.mark.slow
@pytest.mark.parametrize(
    ("source", "size", "networks", "reported"),
    [
        ("S0", 112, 4, "83.3 to 100 (on the same copied frames)"),
        ("S3", 64, 2, "62.4; weighted F1 59.7"),
    ],
)
def test_a_label_paired_set_runs_to_the_end(source, size, networks, reported, tmp_path, capsys):
    """Faces, voices and words made up, with all labels: no public set at hand has those of attention."""
    made = [
        sample
        for seed, (split, count) in enumerate({"train": 8, "valid": 4, "test": 4}.items())
        for sample in utterances(count, split, seed=seed)
    ]
    data, runs = write(tmp_path / "set", made, source="paired by label, made up"), tmp_path / "runs"
    options = ("--tiny", "--size", size, "--weights", "none", "--epochs", "1")
    command = ("train", "reproduce", source, "--data", data, "--runs", runs, *options)
    assert run_command(*command) == exits.DONE
    said = capsys.readouterr().out
    assert f"{networks} of {networks} networks of {source} ran" in said and reported in said
    assert "paired by label: they are of different people" in said
    document = json.loads((runs / source / "reproduce.json").read_text())
    assert document["complete"] is True
    assert [row["samples"] for row in document["rows"]] == [4] * networks
    for row in document["rows"]:
        assert 0 <= row["metrics"]["accuracy"]["value"] <= 1
    assert run_command(*command) == exits.DONE  # not again
    assert "epoch   0" not in capsys.readouterr().out
    assert run_command(*command[:-1], "2") == exits.USAGE
    assert "--epochs 1, now 2" in " ".join(capsys.readouterr().err.split())
    other = write(tmp_path / "other", made[1:], source="paired by label, made up")
    assert run_command(*command[:4], other, *command[5:]) == exits.USAGE
    assert "was trained otherwise: data set" in " ".join(capsys.readouterr().err.split())


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
