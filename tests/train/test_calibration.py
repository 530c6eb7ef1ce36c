"""Calibration of emotion probabilities."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs the 'train' extra")

from affectstream.train.calibration import (
    calibrate,
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
