"""Samples that trained a network do not evaluate it, in whatever data set they stand."""

import json

import pytest

pytest.importorskip("torch", reason="training needs the 'train' extra")

from affectstream.engines.bundle.folder import find_bundle
from affectstream.engines.bundle.taught import TAUGHT
from affectstream.engines.bundle.training import RECIPE, TRAINING
from affectstream.train.data.dataset import Dataset
from affectstream.train.data.options import PrepareConfig
from affectstream.train.data.prepare.prepare import prepare
from affectstream.train.errors import RunError
from affectstream.train.fit import unseen
from affectstream.train.fit.unseen import check_unseen, taught_samples_of, was_trained_on
from affectstream.train.fit.warm_start import read_run_or_bundle
from affectstream.train.model_spec import data_source
from tests.support.prepared import samples, utterances, write
from tests.support.small_bundles import plain, write_training_part


@pytest.fixture
def bundle(tmp_path):
    """A bundle that says it was trained on split train of ``one``."""
    dataset = Dataset(
        write(tmp_path / "sets/one", [*utterances(16, "train"), *utterances(8, "test")])
    )
    folder = plain(tmp_path / "bundle", takes=("voice",))
    part = folder / TRAINING / "toy"
    write_training_part(folder, part, "voice_encoder")
    saved = json.loads((part / RECIPE).read_text())
    source = data_source(dataset, dataset.rows_of("train"))
    saved["setting"] = {"data": {name: getattr(source, name) for name in source.__match_args__}}
    (part / RECIPE).write_text(json.dumps(saved))
    return folder


def test_its_samples_are_found_in_a_joined_set(bundle, tmp_path):
    others = [*utterances(16, "train", seed=1), *utterances(8, "test", seed=1)]
    for sample in others:
        sample.id = f"other-{sample.id}"
    write(tmp_path / "sets/two", others)
    prepare(PrepareConfig(set="joined"), tmp_path / "sets", tmp_path / "both")
    with pytest.raises(
        RunError, match=r"training/toy was trained on about 50% of split train of .*both"
    ):
        check_unseen(bundle, tmp_path / "both", "train")
    check_unseen(bundle, tmp_path / "both", "test")
    check_unseen(bundle, tmp_path / "both")
    assert was_trained_on(bundle, tmp_path / "both")
    assert not was_trained_on(bundle, tmp_path / "sets/two")


def test_its_samples_are_found_as_those_that_would_evaluate_it(bundle, tmp_path):
    made = [*utterances(7, "test"), *utterances(16, "train")]
    splits = {sample.id: "valid" if sample.split == "train" else "train" for sample in made}
    write(tmp_path / "turned", made, splits=splits)
    with pytest.raises(RunError, match=r"trained on all of split valid or test"):
        check_unseen(bundle, tmp_path / "turned")
    check_unseen(bundle, tmp_path / "turned", "train")


def test_a_few_copies_are_no_reason(bundle, tmp_path):
    made = [*utterances(1, "train"), *utterances(40, "valid", seed=1)]
    splits = {sample.id: "valid" for sample in made}
    check_unseen(bundle, write(tmp_path / "few", made, splits=splits), "valid")


@pytest.mark.parametrize(
    ("made", "advised"), [(utterances, True), (samples, False)], ids=["clips", "pictures"]
)
def test_preparing_again_is_advised_where_it_helps(bundle, tmp_path, made, advised):
    """Single pictures are cut from no recording: the same would be said of them again."""
    (bundle / TAUGHT).write_text('{"lesson": {"recordings": 6}}')
    data = write(tmp_path / "set", [*made(2, "train"), *made(2, "valid")])
    found = taught_samples_of(bundle, data, "valid")
    assert found.in_doubt == 6
    remark = found.remark("mine")
    assert "2 of 2 samples do not say from which files they were cut" in remark
    assert ("prepare the data set again" in remark) is advised


def test_what_trained_a_network_is_read_once(bundle, tmp_path, monkeypatch):
    """It may be a checkpoint with all weights."""
    read = []

    def counted(folder):
        read.append(folder)
        return read_run_or_bundle(folder)

    monkeypatch.setattr(unseen, "read_run_or_bundle", counted)
    check_unseen(bundle, tmp_path / "sets/one", "test")
    assert len(read) == len(set(read)) == 2


@pytest.mark.data
def test_pocket_refuses_what_trained_it(data_root, tmp_path):
    prepare(PrepareConfig(set="emodb"), data_root / "emodb", tmp_path)
    with pytest.raises(RunError, match=r"whisper_voice was trained on all of split train"):
        check_unseen(find_bundle("pocket"), tmp_path, "train")
    check_unseen(find_bundle("pocket"), tmp_path, "valid")
