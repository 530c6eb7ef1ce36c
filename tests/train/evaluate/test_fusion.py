"""`train evaluate-fusion`: ways to join bundles, on pairs that agree and on pairs that do not."""

import json
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("torch", reason="training needs the 'train' extra")

from affectstream.engines.bundle.folder import read_manifest
from affectstream.engines.manifest import Calibration
from affectstream.stream import exits
from affectstream.train.errors import DataError
from affectstream.train.evaluate.fusion import (
    AVERAGE,
    PRODUCT,
    JointPredictions,
    conflict_outcomes,
    label_prior,
    predict,
    resampling_groups,
)
from affectstream.train.late_fusion.members import find_members
from tests.support.command import run_command
from tests.support.prepared import utterances, write
from tests.support.small_bundles import compound, plain, rewrite

LABELS = ("neutral", "anger", "joy", "surprise")
PRIOR = (0.25,) * 4


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "pairs"
    return write(folder, [*utterances(12, "train"), *utterances(16, "valid")])


@pytest.fixture(scope="module")
def disagreeing(tmp_path_factory):
    made = list(utterances(12, "valid", seed=3))
    for number, sample in enumerate(made):
        other = LABELS[(LABELS.index(sample.emotion) + 1) % 4]
        sample.id = f"{sample.id}+0" + (f" {sample.emotion}/{other}" if number < 8 else "")
    return write(tmp_path_factory.mktemp("data") / "disagreeing", made)


@pytest.fixture(scope="module")
def bundles(tmp_path_factory):
    """A video member with temperature 0.5, a voice member, and both fused."""
    root = tmp_path_factory.mktemp("bundles")
    seen = plain(root / "seen", takes=("video",), labels=LABELS)
    heard = plain(root / "heard", takes=("voice",), labels=LABELS)
    rewrite(seen, calibration=Calibration(PRIOR, {"video": 0.5}, {}))
    joined = root / "joined"
    inside = [
        plain(joined / m, takes=(t,), labels=LABELS) for m, t in (("a", "video"), ("b", "voice"))
    ]
    return seen, heard, compound(joined, inside, (2.0, 1.0))


def softmax(logits):
    weights = np.exp(logits - logits.max(1, keepdims=True))
    return weights / weights.sum(1, keepdims=True)


def test_product_and_average_are_computed_from_the_members(bundles, data):
    members = find_members([str(folder) for folder in bundles[:2]])
    prior, source = label_prior(members, data)
    assert prior == pytest.approx([0.25] * 4) and source == "shares of split train"
    predictions = predict(members, {"joined": bundles[2]}, data, "valid", prior)
    assert len(predictions.truth) == 16 and predictions.left_out == 0
    seen, heard = predictions.probabilities["seen"], predictions.probabilities["heard"]
    product = seen * heard / (seen * heard).sum(1, keepdims=True)  # the prior is flat
    np.testing.assert_allclose(predictions.probabilities[PRODUCT], product, atol=1e-6)
    np.testing.assert_allclose(predictions.probabilities[AVERAGE], (seen + heard) / 2, atol=1e-9)
    # A temperature of one half is a weight of two: the fusion with that weight is the product.
    np.testing.assert_allclose(predictions.probabilities["joined"], product, atol=1e-4)


def test_a_label_without_training_samples_is_possible(bundles, tmp_path):
    members = find_members([str(folder) for folder in bundles[:2]])
    few = [s for s in utterances(12, "train") if s.emotion != "joy"]
    folder = write(tmp_path / "set", [*few, *utterances(8, "valid")])
    prior, _ = label_prior(members, folder)
    np.testing.assert_allclose(prior, np.array([3, 3, 1, 3]) / 10)
    untrained = write(tmp_path / "other", utterances(8, "valid"))
    assert label_prior(members, untrained)[1].startswith("alike")


def predictions_of(ids, people):
    truth = np.arange(len(ids)) % 4
    return JointPredictions({"all": np.eye(4)[truth]}, truth, ids, people, 0)


def test_resampling_draws_recordings_or_enough_participants():
    ids = [f"clip{n // 3}+{n % 3}" for n in range(24)]
    few = resampling_groups(predictions_of(ids, [f"p{n % 2}" for n in range(24)]))
    assert few.by == "recording of the anchor"
    assert len(set(few.numbers)) == 8 and set(few.numbers[:3]) == {few.numbers[0]}
    many = resampling_groups(predictions_of(ids, [f"p{n % 8}" for n in range(24)]))
    assert many.by == "participant" and len(set(many.numbers)) == 8


def test_conflict_outcomes_count_whose_label_wins():
    agreeing = JointPredictions(
        {"all": np.tile([0.7, 0.1, 0.1, 0.1], (10, 1))}, np.zeros(10, int), ["x"] * 10, [], 0
    )
    scores = np.array([[0.9, 0.1, 0, 0], [0.4, 0.6, 0, 0], [0, 0, 1, 0], [0.8, 0, 0.2, 0]])
    ids = ["a+0 neutral/anger", "b+0 neutral/anger", "c+0 neutral/anger", "d+0"]
    pairs = JointPredictions({"all": scores}, np.zeros(4, int), ids, [], 0)
    found = conflict_outcomes(agreeing, pairs, LABELS)["all"]
    assert (found.anchor, found.other, found.neither) == pytest.approx((1 / 3,) * 3)
    assert found.confidence == pytest.approx(2.5 / 3)
    assert found.agreeing_confidence == pytest.approx(0.7)
    assert found.unsure == pytest.approx(1 / 3), "0.6 is less than any answer to those that agree"
    with pytest.raises(DataError, match="paired --conflicts 1"):
        conflict_outcomes(agreeing, replace(pairs, ids=["a", "b", "c", "d"]), LABELS)


def test_from_the_command_line(bundles, data, disagreeing, capsys):
    words = [
        "train",
        "evaluate-fusion",
        "--data",
        data,
        "--member",
        bundles[0],
        "--member",
        bundles[1],
    ]
    assert run_command(*words, "--fused", bundles[2], "--conflicts", disagreeing) == 0
    *table, last = capsys.readouterr().out.strip().splitlines()
    found = json.loads(last)
    assert list(found["rows"]) == ["seen", "heard", PRODUCT, AVERAGE, "joined"]
    for row in found["rows"].values():
        for value in row["figures"].values():
            assert value["low"] <= value["value"] <= value["high"]
    # Of the members one is the best, with nothing to be less than.
    assert sum("less_best_member" not in row for row in found["rows"].values()) == 1
    same = found["rows"]["joined"]["less_product"]["accuracy"]
    assert same == {"value": 0.0, "low": 0.0, "high": 0.0}, "they are one, see above"
    assert found["conflicts"]["rows"]["joined"]["unsure"] <= 1.0
    assert any(line.startswith(f"| {PRODUCT} |") for line in table)
    assert run_command(*words, "--fused", bundles[0]) == exits.USAGE
    assert "another row is called seen" in capsys.readouterr().err
    other = plain(bundles[0].parent / "odd", takes=("voice",))
    assert read_manifest(other).labels != LABELS
    assert run_command(*words, "--fused", other) == exits.USAGE
    assert "expected those of the members" in capsys.readouterr().err
