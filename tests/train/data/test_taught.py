"""A prepared set with votes that other networks gave it."""

from pathlib import Path

import numpy as np
import pytest

from affectstream.engines.labels import EMOTIONS
from affectstream.train.data.dataset import Dataset
from affectstream.train.data.options import PrepareConfig
from affectstream.train.data.prepare.prepare import prepare
from affectstream.train.data.readers.taught import OF_LABEL, VOTES
from affectstream.train.errors import DataError, DataMissing
from tests.support import prepared

LABELS = ["joy", "anger"]


def write_predictions(path: Path, ids, chances) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(
        path, ids=np.asarray(ids), **{"labels/emotion": LABELS, "answers/emotion": chances}
    )


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "taught"
    samples = [
        *prepared.utterances(4, "train", crops=1),
        *prepared.utterances(2, "valid", crops=1, seed=2),
    ]
    prepared.write(folder / "set", samples)
    return folder


def test_training_samples_get_the_mean_of_the_predictions_and_their_label(folder, tmp_path):
    ids = Dataset(folder / "set").column("id").tolist()
    write_predictions(folder / "a" / "held_out.npz", ids[:3], [[0.8, 0.2], [0.5, 0.5], [1, 0]])
    write_predictions(folder / "b" / "held_out.npz", ids[:1] + ids[-1:], [[0.4, 0.6], [1, 0]])
    prepare(PrepareConfig(set="taught"), folder, tmp_path / "out")
    before, after = Dataset(folder / "set"), Dataset(tmp_path / "out")
    votes = [sample.votes for sample in after]
    assert votes[3] is None and votes[-1] is None, "no predictions; not for training"
    expected = np.zeros(len(EMOTIONS), np.float32)
    expected[EMOTIONS.index(before[0].emotion)] += OF_LABEL
    for label, chance in zip(LABELS, (0.6, 0.4), strict=True):
        expected[EMOTIONS.index(label)] += (VOTES - OF_LABEL) * chance
    np.testing.assert_allclose(votes[0], expected, rtol=1e-5)
    assert [sample.emotion for sample in after] == [sample.emotion for sample in before]
    assert after.info.splits == before.info.splits


def test_what_is_missing_is_named(folder, tmp_path):
    with pytest.raises(DataMissing, match="1 prepared data sets and 0 files of predictions"):
        prepare(PrepareConfig(set="taught"), folder, tmp_path / "out")
    write_predictions(folder / "a.npz", ["nobody"], [[1, 0]])
    with pytest.raises(DataError, match="none of the training samples"):
        prepare(PrepareConfig(set="taught"), folder, tmp_path / "out")
    np.savez(folder / "a.npz", ids=["train000"])
    with pytest.raises(DataError, match="expected predictions of the task emotion"):
        prepare(PrepareConfig(set="taught"), folder, tmp_path / "out")
