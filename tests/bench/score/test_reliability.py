"""The error of calibration is free of what chance adds, and people count the same."""

import numpy as np
import pytest

pytest.importorskip("torch", reason="training needs the 'train' extra")

from affectstream.bench.score.reliability import reliability

PRIOR = np.array([0.6, 0.4])


def drawn(seed, people, each, error=0.0):
    """Confidences that are too high by `error`, of `people` with `each` samples."""
    random = np.random.default_rng(seed)
    count = people * each
    confidence = random.uniform(0.55, 0.95, count)
    correct = random.random(count) < confidence - error
    labels = random.choice(2, count, p=PRIOR)
    return confidence, correct, labels, [f"p{n % people}" for n in range(count)]


def test_chance_is_taken_off():
    found = [reliability(*drawn(seed, 30, 10), PRIOR) for seed in range(20)]
    plain = np.mean([one.ece for one in found])
    assert plain > 0.03  # although the confidence is perfect
    assert np.mean([one.debiased for one in found]) < 0.75 * plain
    assert np.mean([one.chance for one in found]) == pytest.approx(plain, rel=0.25)
    assert sum(one.low == 0 for one in found) >= 15


def test_a_confidence_that_is_too_high_stays_an_error():
    found = reliability(*drawn(1, 30, 40, error=0.15), PRIOR)
    assert found.over == pytest.approx(0.15, abs=0.03)
    assert found.low < found.debiased < found.high
    assert 0.1 < found.debiased < 0.2 and 0.1 < found.ece < 0.2 and found.chance < 0.05
    assert found.over_low < found.over < found.over_high
    assert sum(one.share for one in found.bins) == pytest.approx(1)
    assert all(one.low <= one.accuracy <= one.high for one in found.bins)


def test_a_person_of_many_samples_counts_as_much_as_one_of_few():
    confidence = np.full(110, 0.8)
    correct = np.arange(110) < 100
    people = ["right"] * 100 + ["wrong"] * 10
    found = reliability(confidence, correct, np.zeros(110, np.int64), people, np.array([1.0]))
    assert found.accuracy == pytest.approx(0.5)
    assert (found.samples, found.people) == (110, 2)
