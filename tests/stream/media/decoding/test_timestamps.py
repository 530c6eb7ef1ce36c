"""Which timestamps of a damaged file are accepted."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from affectstream.stream.media.decoding.timestamps import (
    FAR_US,
    DemuxProgress,
    TimestampFilter,
    latest_time_us,
)
from affectstream.stream.media.types import FOREVER_US

S = 1_000_000


def passed(times, start_us=0):
    believer = TimestampFilter(start_us)
    out = [t for _, t in (pair for t in times for pair in believer.push(t, t))]
    return out, believer


@given(st.lists(st.integers(0, FAR_US), max_size=50))
def test_an_undamaged_file_passes_unchanged(steps):
    times = [sum(steps[: i + 1]) for i in range(len(steps))]
    assert passed(times)[0] == times


@given(st.integers(1, 8), st.integers(FAR_US + S, 10**12))
def test_a_few_wrong_times_are_dropped_alone(count, ahead):
    good = [i * 40_000 for i in range(100)]
    wrong = [good[50] + ahead + i * 20_000 for i in range(count)]
    out, believer = passed([*good[:50], *wrong, *good[50:]])
    assert out == good
    assert believer.dropped == count


def test_a_jump_is_accepted_once_media_follows():
    times = [0, 40_000, *(60 * S + i * 40_000 for i in range(30))]
    assert passed(times)[0] == times


def test_slides_far_apart_wait_for_the_next_or_for_something_else():
    out, believer = passed([0, 15 * S, 30 * S, 45 * S])
    assert out == [0, 15 * S, 30 * S]
    assert believer.confirm(44 * S) == []
    assert believer.confirm(45 * S) == [(45 * S, 45 * S)]
    assert believer.confirm(FOREVER_US) == []


def test_few_items_are_held():
    times = [0, *(60 * S + i for i in range(40))]
    out, _ = passed(times)
    assert len(out) >= len(times) - 16


def test_progress_jumps_only_when_two_packets_agree():
    progress = DemuxProgress(0)
    for t_us in (0, 500_000, 3_600 * S, 540_000):
        progress.push(t_us)
    assert progress.t_us == 540_000
    for t_us in range(60 * S, 62 * S, 40_000):
        progress.push(t_us)
    assert 61 * S < progress.t_us < 62 * S
    sparse = DemuxProgress(0)
    for t_us in range(0, 20 * S, 2 * S):
        sparse.push(t_us)
    assert sparse.t_us == 16 * S


def test_a_jump_far_beyond_the_stated_end_is_never_accepted():
    wrong = [65_000_000_000 + i * 100_000 for i in range(40)]
    times = [*range(0, 1_200_000, 100_000)]
    passes = TimestampFilter(0, latest_time_us(1_200_000))
    assert [t for time in [*times, *wrong] for _, t in passes.push(None, time)] == times
    assert (passes.dropped, passes.beyond_us) == (len(wrong), wrong[-1])
    assert passes.push(None, 1_300_000)
    assert passes.beyond_us is None


def test_a_statement_that_is_too_short_does_not_end_a_steady_recording():
    passes = TimestampFilter(0, latest_time_us(1_000_000))
    times = range(0, 2_000_000_000, 1_000_000)
    assert sum(len(passes.push(None, t)) for t in times) == len(times)


def test_progress_ignores_times_far_beyond_the_stated_end():
    progress = DemuxProgress(0, latest_time_us(1_000_000))
    for t_us in (0, 40_000, 10**12, 10**12 + 600_000, 80_000):
        progress.push(t_us)
    assert progress.t_us == 80_000
