"""When something was captured, and how long a hop waits for a late stream."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from affectstream.stream.live.queue.arrivals import Arrivals
from affectstream.stream.live.queue.tolerance import GRACE_US, Tolerance
from affectstream.stream.media.types import MediaKind

HOP_US = 500_000
VIDEO, AUDIO = MediaKind.VIDEO, MediaKind.AUDIO


def test_the_least_delayed_arrival_places_time_zero():
    arrivals = Arrivals(2.0)
    for t_us, delay_s in ((0, 0.30), (100_000, 0.05), (200_000, 0.20)):
        arrivals.push(t_us, 100 + t_us / 1e6 + delay_s)
    assert arrivals.zero_s == pytest.approx(100.05)


def test_a_route_that_got_longer_is_late_only_for_a_while():
    arrivals = Arrivals(2.0)
    for step in range(100):
        t_s = step / 10
        arrivals.push(round(t_s * 1e6), t_s + (0.5 if t_s >= 3 else 0.0))
    assert arrivals.zero_s == pytest.approx(0.5)


def test_a_silent_microphone_is_waited_for_80_ms_and_no_longer():
    tolerance = Tolerance((VIDEO, AUDIO), HOP_US, 0)
    tolerance.push(AUDIO, 100_000, 10.0, 10.1)
    tolerance.push(VIDEO, 500_000, 10.0, 10.5)
    assert tolerance.next_s() == pytest.approx(10.58)
    assert tolerance.missed(10.579) == []
    (one,) = tolerance.missed(10.581)
    assert (one.kind, one.t_us) == (AUDIO, 500_000)
    assert one.at_s == pytest.approx(10.58)
    assert tolerance.missed(10.6) == []


def test_a_stream_that_pauses_within_a_hop_loses_nothing():
    tolerance = Tolerance((VIDEO, AUDIO), HOP_US, 0)
    tolerance.push(VIDEO, 400_000, 0.0, 0.4)
    tolerance.push(AUDIO, 20_000, 0.0, 0.02)
    assert tolerance.missed(0.45) == []
    tolerance.push(AUDIO, 500_000, 0.0, 0.5)
    tolerance.push(VIDEO, 500_000, 0.0, 0.5)
    assert tolerance.missed(0.9) == []


def test_a_usual_delay_is_not_lateness():
    """Pictures of a sender with B-frames come 0.6 s after the sound of the same time, always."""
    tolerance = Tolerance((VIDEO, AUDIO), HOP_US, 0)
    tolerance.push(AUDIO, 1_100_000, 0.0, 1.1)
    tolerance.push(VIDEO, 125_000, 0.6, 1.1)
    assert tolerance.missed(1.17) == []
    assert [one.kind for one in tolerance.missed(1.19)] == [VIDEO]


def test_a_stream_that_never_begins_gets_a_second_at_first():
    tolerance = Tolerance((VIDEO, AUDIO), HOP_US, 0)
    tolerance.push(VIDEO, 500_000, 0.0, 0.0)
    assert tolerance.next_s() == pytest.approx(GRACE_US / 1e6)
    assert [one.t_us for one in tolerance.missed(1.0)] == [500_000]
    tolerance.push(VIDEO, 1_500_000, 0.0, 1.4)
    assert tolerance.next_s() == pytest.approx(1.08)


@given(st.lists(st.tuples(st.sampled_from([VIDEO, AUDIO]), st.integers(1, 900_000)), max_size=40))
def test_whatever_stops_hops_go_on(steps):
    """However the two advance, after the deadline of the next hop both count as come up to it."""
    tolerance = Tolerance((VIDEO, AUDIO), HOP_US, 0)
    reached, now_s, first_s = dict.fromkeys((VIDEO, AUDIO), 0), 0.0, None
    for kind, on_us in steps:
        reached[kind] += on_us
        now_s = max(now_s, reached[kind] / 1e6)
        first_s = now_s if first_s is None else first_s
        tolerance.push(kind, reached[kind], 0.0, now_s)
        for one in tolerance.missed(now_s):
            assert one.at_s <= now_s
            assert one.t_us % HOP_US == 0
            reached[one.kind] = max(reached[one.kind], one.t_us)
        if now_s > first_s + 1.1:
            assert min(reached.values()) >= (now_s - 0.081 - 0.5) * 1e6
