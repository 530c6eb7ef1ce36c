"""Synchrony of two people: what is known is found, and chance is not."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray

from affectstream.stream.report.readings_by_person import Person
from affectstream.stream.report.synchrony import SURROGATES, _among_turns, synchronies, synchrony

HOP_S = 0.5


def person(track: int, values: NDArray[np.float64], first: int = 0, used: str = "video") -> Person:
    table = pa.table(
        {
            "hop": np.arange(first, first + len(values)),
            "valence": pa.array(values, pa.float64(), from_pandas=True),
            "modalities": [used] * len(values),
        }
    )
    return Person(track, first, len(values), table)


def wandering(seed: int, count: int = 600) -> NDArray[np.float64]:
    """Values that change as slowly as readings do."""
    steps = np.random.default_rng(seed).normal(size=count + 8)
    smooth = np.convolve(steps, np.ones(8) / 8, "valid")[:count]
    return np.clip(smooth / 2, -1, 1)


@pytest.mark.parametrize("hops", [-4, 0, 3])
def test_a_follower_is_found_with_the_lag(hops: int) -> None:
    leader = wandering(1)
    follower = np.roll(leader, hops) + 0.02 * np.random.default_rng(2).normal(size=600)
    found = synchrony(person(1, leader), person(2, follower), "valence", HOP_S)
    assert found is not None
    assert found.lag_s == hops * HOP_S
    assert found.peak > 0.9 > found.chance[1]
    assert found.p == 1 / (SURROGATES + 1)


def test_strangers_are_within_chance() -> None:
    inside = 0
    for seed in range(10, 22):
        found = synchrony(
            person(1, wandering(seed)), person(2, wandering(seed + 50)), "valence", HOP_S
        )
        assert found is not None
        inside += found.chance[0] <= found.peak <= found.chance[1]
    assert inside >= 10  # of 12; 95 % are expected


def test_windows_with_long_gaps_are_left_out_and_short_ones_bridged() -> None:
    leader, follower = wandering(3), wandering(3)
    whole = synchrony(person(1, leader), person(2, follower), "valence", HOP_S)
    leader[100:102] = np.nan
    bridged = synchrony(person(1, leader), person(2, follower), "valence", HOP_S)
    leader[100:160] = np.nan
    holed = synchrony(person(1, leader), person(2, follower), "valence", HOP_S)
    assert whole is not None and bridged is not None and holed is not None
    assert whole.windows == bridged.windows > holed.windows


def test_only_the_time_together_counts() -> None:
    leader = wandering(4)
    found = synchrony(person(1, leader), person(2, leader[200:], first=200), "valence", HOP_S)
    assert found is not None
    assert found.times_s[0] > 100
    assert found.peak == pytest.approx(np.tanh(np.arctanh(0.999)), abs=1e-3)


def test_too_little_time_and_people_who_do_not_move_give_nothing() -> None:
    short, still = wandering(5, 90), np.full(600, 0.3)
    assert synchrony(person(1, short), person(2, short), "valence", HOP_S) is None
    assert synchrony(person(1, still), person(2, wandering(6)), "valence", HOP_S) is None
    assert synchronies([person(1, wandering(7))], HOP_S) == []


def test_two_channels_whose_people_speak_in_turns() -> None:
    """A call: nobody is in view, and each has readings only while they speak."""
    turn = np.arange(600) // 7 % 2 == 0  # 3.5 s each
    slow = np.repeat(wandering(11, 75), 8)
    leader, follower = np.where(turn, slow, np.nan), np.where(turn, np.nan, np.roll(slow, 4))
    both = person(1, leader, used="voice"), person(2, follower, used="voice")
    (found,) = synchronies(list(both), HOP_S)
    assert found.window_s == 30 and found.peak > found.chance[1] and found.p < 0.05
    assert 0 < found.lag_s <= 4
    other = np.repeat(wandering(12, 75), 8)
    stranger = person(2, np.where(turn, np.nan, other), used="voice")
    (found,) = synchronies([both[0], stranger], HOP_S)
    assert found.peak <= found.chance[1]
    assert synchronies([person(1, leader), person(2, follower)], HOP_S) == []  # of faces in view


def test_surrogates_of_voices_keep_the_turns() -> None:
    """Turns that alternate make peaks of their own."""
    values = np.where(np.arange(600) // 7 % 2 == 0, wandering(13), np.nan)
    found = list(_among_turns(values, 60))
    assert len(found) == SURROGATES
    for moved in found:
        np.testing.assert_array_equal(np.isnan(moved), np.isnan(values))
        assert np.nansum(moved) == pytest.approx(np.nansum(values))
        assert not np.allclose(moved, values, equal_nan=True)
    assert list(_among_turns(values[:100], 60)) == []


def test_a_short_call_says_nothing() -> None:
    turn = np.arange(590) // 7 % 2 == 0
    calls = [
        np.where(turn, wandering(14)[:590], np.nan),
        np.where(turn, np.nan, wandering(15)[:590]),
    ]
    both = [person(n, one, used="voice") for n, one in enumerate(calls, 1)]
    assert synchronies(both, HOP_S) == []


def test_somebody_who_hardly_speaks_says_nothing() -> None:
    turn = np.arange(800) // 7 % 2 == 0
    talks = person(1, np.where(turn, wandering(16, 800), np.nan), used="voice")
    seldom = np.where(~turn & (np.arange(800) < 120), wandering(17, 800), np.nan)
    assert synchronies([talks, person(2, seldom, used="voice")], HOP_S) == []


def test_two_runs_agree() -> None:
    both = [person(1, wandering(8)), person(2, wandering(9))]
    first, second = (synchronies(both, HOP_S) for _ in range(2))
    assert [one.peak for one in first] == [one.peak for one in second] != []
    assert [one.p for one in first] == [one.p for one in second]
