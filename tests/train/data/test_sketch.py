"""Fingerprints of samples, and the sketch that tells whether others are among them."""

import numpy as np
import pytest

from affectstream.train.data.dataset import Dataset
from affectstream.train.data.options import PrepareConfig
from affectstream.train.data.prepare.prepare import prepare
from affectstream.train.data.resplit import resplit
from affectstream.train.data.sketch import KEPT, fingerprints, share_in, sketch
from tests.support.prepared import samples, utterances, write


def prints(folder, split):
    return fingerprints(folder, Dataset(folder).rows_of(split))


def made_up(rng, count):
    return {rng.bytes(6).hex() for _ in range(count)}


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 1.0])
@pytest.mark.parametrize("count", [300, 30_000])
def test_the_share_of_known_samples_is_told(count, share):
    rng = np.random.default_rng(0)
    trained, others = made_up(rng, count), made_up(rng, 5000)
    known = made_up(np.random.default_rng(0), min(count, round(5000 * share)))
    evaluated = {*known, *rng.permutation(sorted(others))[: 5000 - len(known)].tolist()}
    exact = len(known) / len(evaluated)
    found = share_in(sketch({"content": trained}), {"content": evaluated, "words": others})
    assert found == pytest.approx(exact, abs=0.08 * (count > KEPT))


def test_nothing_is_known_of_nothing():
    one = {"content": {"0" * 12}}
    assert share_in("", one) == 0.0
    assert share_in(sketch(one), {}) == share_in(sketch(one), {"words": set()}) == 0.0


def test_a_sample_is_the_same_in_every_data_set(tmp_path):
    made = [*utterances(8, "train"), *utterances(8, "test")]
    write(tmp_path / "sets/one", made)
    write(tmp_path / "sets/two", samples(8, "valid", seed=1))
    own = prints(tmp_path / "sets/one", "train")
    assert {name: len(found) for name, found in own.items()} == {
        "content": 8,
        "pictures": 8,
        "sound": 8,
        "words": 8,
    }
    others = prints(tmp_path / "sets/one", "test")
    assert not any(own[name] & others[name] for name in own)
    prepare(PrepareConfig(set="joined"), tmp_path / "sets", tmp_path / "both")
    assert prints(tmp_path / "both", "train") == own
    turned = ["valid"] * 8 + ["train"] * 8
    resplit(Dataset(tmp_path / "sets/one"), turned, tmp_path / "turned", name="t", may_share=True)
    assert prints(tmp_path / "turned", "valid") == own


@pytest.mark.parametrize("left", ["crops", "audio", "text"])
def test_a_sample_is_found_by_what_is_left_of_it(tmp_path, left):
    own = prints(write(tmp_path / "all", utterances(8, "train")), "train")
    made = list(utterances(8, "train"))
    for sample in made:
        for name in {"crops", "audio", "text"} - {left}:
            setattr(sample, name, None)
        if left != "crops":
            sample.crop_times_us = None
    (alone,) = prints(write(tmp_path / "alone", made), "train").values()
    assert alone == own[{"crops": "pictures", "audio": "sound", "text": "words"}[left]]
