"""The real data sets, prepared: their counts are those that their authors give."""

from dataclasses import replace

import numpy as np
import pytest

from affectstream.train.data.dataset import Dataset
from affectstream.train.data.options import Options, PrepareConfig
from affectstream.train.data.prepare.prepare import prepare
from affectstream.train.data.reading.clips import read_clip
from affectstream.train.data.reading.crops import Cropper
from affectstream.train.data.splits import check_disjoint
from affectstream.train.errors import SplitError

pytestmark = pytest.mark.data


def made(config, source, folder):
    prepare(config, source, folder)
    dataset = Dataset(folder)
    assert dataset.info.rows == len(dataset) == len(set(dataset.column("id")))
    return dataset


def disjoint(dataset):
    check_disjoint(
        dataset.column("split").tolist(),
        dataset.column("id").tolist(),
        participants=dataset.column("participant").tolist(),
        contents=dataset.column("content").tolist(),
    )


def test_emodb(data_root, tmp_path):
    dataset = made(PrepareConfig(set="emodb"), data_root / "emodb", tmp_path)
    assert dataset.info.rows == 350
    assert dataset.info.participants == 8
    assert set(dataset.info.splits) == {"train", "valid"}  # speakers 13 and 14
    disjoint(dataset)
    first = dataset[0]
    with Cropper("frame", 1) as cropper:
        whole = read_clip(data_root / f"emodb/wav/{first.id}.flac", cropper, Options()).audio
    np.testing.assert_allclose(first.audio, whole, atol=1 / 32768)


def test_meld(data_root, tmp_path):
    dataset = made(PrepareConfig(set="meld"), data_root / "meld", tmp_path)
    assert dataset.info.splits == {"train": 9989, "valid": 1109}
    assert dataset.info.tasks == {"emotion": 11098, "sentiment": 11098}
    assert {"Ross", "Monica"} <= set(dataset.info.shared_participants)
    assert not any("\x80" <= c <= "\x9f" for text in dataset.column("text") for c in text)


@pytest.mark.slow
def test_ravdess(data_root, tmp_path):
    dataset = made(PrepareConfig(set="ravdess"), data_root / "ravdess", tmp_path)
    assert dataset.info.splits == {"train": 960, "valid": 240}
    assert dataset.info.emotions["neutral"] == 60 * 20 * 3 // 15
    disjoint(dataset)


@pytest.mark.slow
def test_fer2013(data_root, tmp_path):
    config = PrepareConfig(set="fer2013", labels="own", size=48)
    with pytest.raises(SplitError, match=r"269 picture\(s\) or sound\(s\) are in more than one"):
        prepare(config, data_root / "fer2013.zip", tmp_path)
    dataset = made(replace(config, duplicates="drop"), data_root / "fer2013.zip", tmp_path / "own")
    assert dataset.info.splits == {"train": 28_218, "valid": 3_579}
    disjoint(dataset)


@pytest.mark.slow
def test_fer2013_with_votes(data_root, tmp_path):
    """No picture for training has a near copy in PublicTest, of which 3,440 pictures have one majority."""
    dataset = made(PrepareConfig(set="fer2013", size=48), data_root, tmp_path)
    assert dataset.info.splits == {"train": 27_963, "valid": 3_579}
    disjoint(dataset)
    emotions, groups = dataset.column("emotion"), dataset.column("recording")
    valid = dataset.column("split") == "valid"
    assert sum(emotion is not None for emotion in emotions[valid]) == 3_440
    assert not set(groups[valid]) & set(groups[~valid])
