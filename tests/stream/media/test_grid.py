"""The grid: every point once, in order, with the newest frame that is not too old."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from affectstream.stream.media.grid import GridSampler
from affectstream.stream.media.types import FOREVER_US, Frame


def frame(t_us):
    return Frame(t_us, None)


def flat(sampled):
    """(point, time of its frame or None) of each point."""
    return [(k, s.frame.pts_us if s.frame else None) for s in sampled for k in s.points]


def expected(times, hz, start_us, end_us):
    """The definition, by search over all frames."""
    out, k = [], 0
    while round_us(Fraction(1_000_000 * k, hz)) < end_us:
        t_us = round_us(Fraction(1_000_000 * k, hz))
        if t_us >= start_us:
            newest = max((t for t in times if t <= t_us), default=None)
            old = newest is not None and t_us - newest > Fraction(1_000_000, hz) + 1
            out.append((k, None if newest is None or old else newest))
        k += 1
    return out


def round_us(value):
    return (2 * value.numerator + value.denominator) // (2 * value.denominator)


rates = st.integers(1, 60)
times_us = st.lists(st.integers(0, 3_000_000), max_size=60).map(lambda ts: sorted(set(ts)))


@settings(max_examples=200)
@given(rates, times_us, st.integers(0, 1_000_000), st.data())
def test_any_frames_and_bounds_match_the_definition(hz, times, start_us, data):
    sampler, out, bound = GridSampler(hz, start_us), [], 0
    for t_us in times:
        while data.draw(st.booleans()):
            bound = data.draw(st.integers(bound, max(bound, t_us)))
            out += sampler.advance(min(bound, t_us))
        out += sampler.push(frame(t_us))
    out += sampler.flush(3_500_000)
    assert flat(out) == expected(times, hz, start_us, 3_500_000)


@settings(max_examples=100)
@given(rates, times_us)
def test_without_bounds_a_frame_is_returned_once(hz, times):
    sampler = GridSampler(hz)
    out = [s for t_us in times for s in sampler.push(frame(t_us))] + sampler.flush(4_000_000)
    given_frames = [s.frame.pts_us for s in out if s.frame is not None]
    assert len(given_frames) == len(set(given_frames))
    assert all(len(s.points) > 0 for s in out)


@pytest.mark.parametrize(
    ("hz", "rate"),
    [
        (3, 10),
        (6, 24),
        (7, 24),
        (8, 10),
        (8, 8),
        (8, Fraction(30_000, 1001)),
        (30, 30),
        (30, 60),
        (7, 60),
    ],
)
def test_a_steady_camera_leaves_no_point_empty(hz, rate):
    times = [round_us(1_000_000 * i / Fraction(rate)) for i in range(int(rate * 10))]
    sampler = GridSampler(hz)
    out = [s for t_us in times for s in sampler.push(frame(t_us))] + sampler.flush(9_900_000)
    assert [k for k, t in flat(out) if t is None] == []


def test_a_slow_camera_serves_two_points_with_one_frame():
    sampler = GridSampler(8)
    out = [s for i in range(4) for s in sampler.push(frame(i * 250_000))]
    assert [(list(s.points), s.frame.pts_us) for s in out] == [
        ([0, 1], 0),
        ([2, 3], 250_000),
        ([4, 5], 500_000),
    ]


def test_points_wait_only_as_long_as_a_newer_frame_may_come():
    sampler = GridSampler(8)
    assert sampler.push(frame(0)) == []
    assert sampler.advance(0) == []
    assert flat(sampler.advance(1)) == [(0, 0)]
    assert flat(sampler.advance(125_001)) == [(1, 0)]
    assert flat(sampler.advance(500_000)) == [(2, None), (3, None)]
    assert sampler.advance(400_000) == []


def test_the_last_bound_returns_the_last_frame_only():
    sampler = GridSampler(8)
    assert flat(sampler.push(frame(60_000))) == [(0, None)]
    assert flat(sampler.advance(FOREVER_US)) == [(1, 60_000)]
    assert flat(sampler.flush(500_000)) == [(2, None), (3, None)]
    assert GridSampler(8).advance(FOREVER_US) == []


def test_grid_points_count_from_the_start_of_the_recording():
    sampler = GridSampler(8, 1_000_001)
    sampler.push(frame(1_000_001))
    assert flat(sampler.flush(1_300_000)) == [(9, 1_000_001), (10, None)]


def test_frames_that_go_back_and_rates_that_do_not_exist_are_refused():
    sampler = GridSampler(8)
    sampler.push(frame(100))
    with pytest.raises(ValueError, match="found 100 us after 100 us"):
        sampler.push(frame(100))
    with pytest.raises(ValueError, match="frame_hz must be at least 1, found 0"):
        GridSampler(0)
