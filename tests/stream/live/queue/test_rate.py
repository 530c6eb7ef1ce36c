"""How many frames a second are analyzed, and when drops are reported."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from affectstream.stream.errors import OptionError
from affectstream.stream.live.queue.rate import REPORT_DROPS_S, Cost, DropMonitor, RateControl

HOP_US = 500_000


def test_a_fast_machine_analyzes_every_point_and_a_slow_one_fewer():
    assert RateControl((8, 4, 2), HOP_US, Cost(0.01, 0.01)).rate_hz == 8
    assert RateControl((8, 4, 2), HOP_US, Cost(0.1, 0.05)).rate_hz == 4
    assert RateControl((8, 4, 2), HOP_US, Cost(0.25, 0.1)).rate_hz == 2


def test_a_machine_that_cannot_keep_up_is_refused():
    with pytest.raises(OptionError, match=r"too slow.*takes 1\.20 s even at 2 frames a second"):
        RateControl((8, 4, 2), HOP_US, Cost(0.5, 0.7))


def test_drops_lower_the_rate_and_calm_raises_it_again():
    control = RateControl((8, 4, 2), HOP_US, Cost(0.0, 0.0))
    assert not control.push_drop(10.0)
    assert control.push_drop(10.5)
    assert control.rate_hz == 4
    assert not control.push_drop(10.6)  # the change needs time to show
    assert not control.push_calm(19.0)
    assert control.push_calm(21.0)
    assert control.rate_hz == 8


def test_a_rate_that_would_be_too_much_is_not_tried():
    control = RateControl((8, 4, 2), HOP_US, Cost(0.1, 0.05))
    assert not control.push_calm(0.0)
    assert not control.push_calm(100.0)


@given(st.lists(st.tuples(st.integers(0, 3), st.floats(0.01, 4.0)), max_size=60))
def test_every_drop_is_reported_once_and_not_too_often(steps):
    drops = DropMonitor(RateControl((8, 4, 2), HOP_US, Cost(0.01, 0.01)))
    dropped, now_s, reported, before_s = 0, 0.0, 0, float("-inf")
    for more, pause_s in steps:
        dropped, now_s = dropped + more, now_s + pause_s
        count, changed = drops.push(dropped, now_s)
        assert not count or changed or now_s - before_s >= REPORT_DROPS_S
        before_s = now_s if count else before_s
        reported += count
        assert reported <= dropped
    assert reported + drops.push(dropped, now_s + 2 * REPORT_DROPS_S)[0] == dropped
