"""Corpora, emotions and speakers that are drawn equally often."""

from collections import Counter

import pytest

torch = pytest.importorskip("torch", reason="needs the train extra")

from affectstream.train.loader.rows import nested_weights

KEYS = [
    *[("big", "joy", "a")] * 60,
    *[("big", "joy", "b")] * 20,
    *[("big", "fear", "a")] * 10,
    *[("small", "joy", "c")] * 2,
]


def shares(level):
    counts = Counter()
    for key, weight in zip(KEYS, nested_weights(KEYS).tolist(), strict=True):
        counts[key[: level + 1]] += weight
    return counts


def test_the_weights_are_probabilities():
    assert float(nested_weights(KEYS).sum()) == pytest.approx(1.0)


def test_every_level_has_equal_shares_within_the_one_above():
    assert shares(0) == pytest.approx({("big",): 0.5, ("small",): 0.5})
    assert shares(1) == pytest.approx(
        {("big", "joy"): 0.25, ("big", "fear"): 0.25, ("small", "joy"): 0.5}
    )
    assert shares(2)[("big", "joy", "a")] == pytest.approx(shares(2)[("big", "joy", "b")])
