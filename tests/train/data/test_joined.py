"""Several prepared sets as one."""

import numpy as np
import pytest

from affectstream.train.data.dataset import CropInfo, Dataset
from affectstream.train.data.options import PrepareConfig
from affectstream.train.data.prepare.prepare import prepare
from affectstream.train.errors import DataError, DataMissing
from tests.support import prepared


def test_all_samples_of_all_sets_keep_their_split_and_their_content(tmp_path):
    sets = tmp_path / "sets"
    first = [
        *prepared.utterances(6, "train", crops=1),
        *prepared.utterances(4, "valid", crops=1, seed=2),
    ]
    prepared.write(sets / "first", first, source="one")
    second = list(prepared.utterances(4, "train", crops=1, seed=1))
    for sample in second:
        sample.participant = f"other-{sample.participant}"
    prepared.write(sets / "second", second, source="two")
    prepare(PrepareConfig(set="joined"), sets, tmp_path / "out")
    joined = Dataset(tmp_path / "out")
    assert joined.info.splits == {"train": 10, "valid": 4}
    assert joined.info.source == "one, two"
    assert joined.info.crop == prepared.CROP
    assert joined[0].id == "first/train000" and joined[10].id == "second/train000"
    np.testing.assert_array_equal(joined[10].crops, Dataset(sets / "second")[0].crops)


def test_sets_that_do_not_go_together_are_refused(tmp_path):
    sets = tmp_path / "sets"
    prepared.write(sets / "first", prepared.samples(4, "train"))
    with pytest.raises(DataMissing, match="holds 1 prepared"):
        prepare(PrepareConfig(set="joined"), sets, tmp_path / "out")
    prepared.write(sets / "second", prepared.samples(4, "valid"), CropInfo("frame", 64))
    with pytest.raises(DataError, match="cropped differently"):
        prepare(PrepareConfig(set="joined"), sets, tmp_path / "out")
