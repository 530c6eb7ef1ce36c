"""The times of a source on the clock of the session, and its backlog."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from affectstream.stream.live.capture.source_clock import BacklogSkipper, TimestampRebaser
from affectstream.stream.media.types import MediaKind

VIDEO, AUDIO = MediaKind.VIDEO, MediaKind.AUDIO


def test_a_source_begins_at_its_arrival_and_keeps_its_steps():
    rebaser = TimestampRebaser()
    times = [rebaser.push(VIDEO, 7_000_000 + n * 40_000, 0.5 + n * 0.04) for n in range(5)]
    assert times == [500_000 + n * 40_000 for n in range(5)]


def test_sound_and_pictures_stay_in_step_across_a_restart():
    rebaser = TimestampRebaser()
    for n in range(10):
        rebaser.push(VIDEO, 5_000_000 + n * 40_000, n * 0.04)
        rebaser.push(AUDIO, 5_000_000 + n * 40_000, n * 0.04)
    rebaser.restart()
    video = rebaser.push(VIDEO, 1_400_000, 3.0)
    audio = rebaser.push(AUDIO, 1_380_000, 3.0)
    assert video == pytest.approx(3_000_000, abs=50_000)
    assert video - audio == 20_000


def test_a_wrap_in_one_connection_is_joined_and_both_kinds_follow():
    rebaser = TimestampRebaser()
    wrap = 95_443_717_688
    for n in range(10):
        rebaser.push(AUDIO, wrap - 200_000 + n * 20_000, n * 0.02)
        rebaser.push(VIDEO, wrap - 200_000 + n * 20_000, n * 0.02)
    audio = rebaser.push(AUDIO, 0, 0.2)
    old = rebaser.push(VIDEO, wrap, 0.2)  # a picture from before the wrap is still under way
    video = rebaser.push(VIDEO, 20_000, 0.22)
    assert audio == pytest.approx(200_000, abs=21_000)
    assert old == pytest.approx(200_000, abs=21_000)
    assert video - audio == 20_000
    assert rebaser.breaks == 1


def test_a_pause_that_took_as_long_to_arrive_is_no_break():
    rebaser = TimestampRebaser()
    rebaser.push(VIDEO, 0, 0.0)
    assert rebaser.push(VIDEO, 3_000_000, 3.05) == 3_000_000
    assert rebaser.breaks == 0


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["on", "on", "on", "back", "ahead", "restart"]), st.integers(1, 80_000)
        ),
        max_size=80,
    )
)
def test_time_keeps_to_the_clock_on_the_wall_whatever_times_a_source_gives(steps):
    rebaser, source_us, wall_us, last_us = TimestampRebaser(), 10**9, 0, None
    for what, on_us in steps:
        wall_us += on_us
        source_us += on_us
        if what == "back":
            source_us -= 5_000_000
        elif what == "ahead":
            source_us += 3_600_000_000
        elif what == "restart":
            source_us = on_us
            rebaser.restart()
        t_us = rebaser.push(VIDEO, source_us, wall_us / 1e6)
        if last_us is not None:
            assert t_us > last_us
            assert abs((t_us - last_us) - on_us) <= 1
        last_us = t_us


def test_the_backlog_of_the_sender_is_skipped():
    backlog, passed = BacklogSkipper(), []
    for n in range(100):  # two seconds at once, then as it happens
        arrived_s = 0.002 * n if n < 50 else 0.1 + (n - 50) * 0.04
        if backlog.push(n * 40_000, arrived_s):
            passed.append(n)
    assert 50 < passed[0] < 62
    assert passed == list(range(passed[0], 100))
    assert backlog.skipped == passed[0]


def test_a_source_without_backlog_begins_within_a_fifth_of_a_second():
    backlog = BacklogSkipper()
    passed = [n for n in range(50) if backlog.push(n * 33_333, n / 30)]
    assert passed[0] <= 6
