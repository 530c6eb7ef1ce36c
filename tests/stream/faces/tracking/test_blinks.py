"""Blinks and closed eyes, frame by frame."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from affectstream.stream.faces.tracking.blinks import BLINK_US, Eyelids

STEP_US = 125_000


def closures(pattern, eyelids=None):
    """The closure that each frame belongs to: ``x`` closed, ``-`` half open, ``o`` open, a space no face."""
    eyelids = eyelids or Eyelids()
    share = {"x": 0.1, "-": 0.42, "o": 1.0}
    return [
        None if one == " " else eyelids.push(n * STEP_US, share[one])
        for n, one in enumerate(pattern)
    ]


def test_a_short_closure_is_a_blink_and_a_long_one_is_not():
    eyelids = Eyelids()
    found = closures("oo" + "xxxoo" + "xxxxxo" + "o" * 120, eyelids)
    assert [c is not None for c in found[:13]] == [
        n in {2, 3, 4, 7, 8, 9, 10, 11} for n in range(13)
    ]
    assert found[2].duration_us(10**9) < BLINK_US <= found[7].duration_us(10**9)
    seen_s = 132 * 0.125
    assert eyelids.blink_rate(132 * STEP_US) == pytest.approx(60 / seen_s)


def test_half_open_eyes_keep_their_state():
    assert closures("o-o") == [None, None, None]
    first, second, third = closures("x-x")
    assert first is second is third
    assert first.end_us is None


def test_a_face_that_was_away_did_not_blink():
    eyelids = Eyelids()
    found = closures("ox" + " " * 12 + "o" * 100, eyelids)
    assert found[14] is None
    assert eyelids.blink_rate(114 * STEP_US) == 0.0


def test_the_rate_is_that_of_the_last_minute():
    eyelids = Eyelids()
    closures("o" * 8, eyelids)
    assert eyelids.blink_rate(8 * STEP_US) is None  # too early to say
    closures("ooooxooo" * 90, eyelids := Eyelids())  # one a second
    assert eyelids.blink_rate(720 * STEP_US) == pytest.approx(60, abs=1)
    closures("ooooxooo" * 30 + "o" * 600, eyelids := Eyelids())
    assert eyelids.blink_rate(840 * STEP_US) == 0.0


@given(st.text(alphabet="xo- ", max_size=200))
def test_every_closure_is_a_blink_or_long_or_cut_off(pattern):
    eyelids = Eyelids()
    found = closures(pattern, eyelids)
    end_us = len(pattern) * STEP_US
    ended = {id(c): c for c in found if c is not None and c.end_us is not None}
    blinks = sum(
        c.duration_us(end_us) < BLINK_US and c.end_us > end_us - 60_000_000 for c in ended.values()
    )
    rate = eyelids.blink_rate(end_us)
    assert rate is None or (rate > 0) == (blinks > 0)
    for one, closure in zip(pattern, found, strict=True):
        assert (one == "x") <= (closure is not None)
        assert (one in "o ") <= (closure is None)
