"""Calibration of emotion probabilities."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs the 'train' extra")

from affectstream.stream.fusion.conflict import divergence
from affectstream.train.calibration import (
    EVEN,
    LOST,
    calibrate,
    conflict_limit,
    contradictory,
    drawn_by_prior,
    expected_calibration_error,
    probabilities,
)


def test_temperature_mends_overconfidence():
    rng = np.random.default_rng(0)
    prior = np.array([0.5, 0.3, 0.2])
    labels = rng.choice(3, 6000, p=prior)
    clean = np.eye(3)[labels] * 1.5 + rng.normal(0, 1.0, (6000, 3))
    found = calibrate(clean * 4.0, labels, prior)  # four times too sure
    assert found.temperature > 2.0
    assert found.ece < 0.05
    assert found.covered_accuracy >= found.accuracy
    raw = probabilities(clean * 4.0, prior, 1.0)
    worse = expected_calibration_error(raw.max(1), raw.argmax(1) == labels)
    assert worse > found.ece


def sample(random, count, strength):
    """Labels of three classes, and the logits of an expert who is right more often the larger `strength`."""
    labels = random.choice(3, count)
    return labels, np.eye(3)[labels] * strength + random.normal(0, 1.0, (count, 3))


def test_a_label_never_needs_more_than_to_be_more_likely_right_than_wrong():
    random, prior = np.random.default_rng(0), np.full(3, 1 / 3)
    for strength in (6.0, 2.0):  # nine in ten are surer than EVEN
        labels, logits = sample(random, 4000, strength)
        assert calibrate(logits, labels, prior).min_confidence == EVEN
    labels, logits = sample(random, 4000, 0.3)
    assert calibrate(logits, labels, prior).min_confidence < EVEN


def test_modalities_contradict_where_two_are_sure_of_different_labels():
    video = np.array([[0.8, 0.1, 0.1], [0.8, 0.1, 0.1], [0.8, 0.1, 0.1], [0.4, 0.3, 0.3]])
    voice = np.array([[0.1, 0.8, 0.1], [0.7, 0.2, 0.1], [0.3, 0.4, 0.3], [0.1, 0.8, 0.1]])
    assert contradictory(video, voice).tolist() == [True, False, False, False]


def test_few_labels_are_lost_to_contradictions_that_are_errors():
    random, prior = np.random.default_rng(1), np.full(3, 1 / 3)
    labels, first = sample(random, 6000, 1.5)
    second = np.eye(3)[labels] * 1.2 + random.normal(0, 1.0, (6000, 3))
    alone = [probabilities(1.5 * first, prior, 1.0), probabilities(1.2 * second, prior, 1.0)]
    fused = probabilities(1.5 * first + 1.2 * second, prior, 1.0)
    limit = conflict_limit(fused, *alone, EVEN)
    lost = contradictory(*alone) & (fused.max(1) >= EVEN) & (divergence(*alone) > limit)
    assert 0.2 < limit < 1
    assert 0.5 * LOST < lost.sum() / (fused.max(1) >= EVEN).sum() <= LOST


def test_modalities_that_never_contradict_each_other_need_no_limit():
    fused = np.array([[0.9, 0.1]] * 4)
    assert conflict_limit(fused, fused, fused, EVEN) == 0.0


def test_people_are_drawn_equally_often_within_a_label():
    prior, labels = np.array([0.6, 0.4]), np.array([0] * 90 + [0] * 10 + [1] * 5)
    people = ["many"] * 90 + ["few"] * 10 + [None] * 5
    rows = drawn_by_prior(labels, prior, people, count=10_000)
    assert np.bincount(labels[rows]).tolist() == [6000, 4000]
    assert (rows < 90).sum() == pytest.approx(3000, abs=150)
    assert (drawn_by_prior(labels, prior, count=10_000) < 90).sum() == pytest.approx(5400, abs=150)
