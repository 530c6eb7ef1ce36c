"""Session time from the times of senders, and the speed of what they send."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from affectstream.stream.media.types import MediaKind
from affectstream.stream.serve.ingest.timing import (
    ContainerClock,
    DecodeSpeed,
    SenderClock,
    Throttle,
    TrackClock,
    media_us,
)


class TestTrackClock:
    def test_the_frame_with_the_least_delay_sets_the_clock(self) -> None:
        clock = TrackClock(origin_s=100.0)
        assert clock.translate(MediaKind.VIDEO, 0, 100.30) == 300_000
        clock.translate(MediaKind.VIDEO, 500_000, 100.55)  # now only 0.05 s late
        assert clock.translate(MediaKind.VIDEO, 1_000_000, 101.20) == 1_050_000

    def test_a_clock_that_was_reset_continues(self) -> None:
        clock = TrackClock(origin_s=0.0)
        clock.translate(MediaKind.AUDIO, 50_000_000, 10.0)
        assert clock.translate(MediaKind.AUDIO, 0, 12.0) == 12_000_000
        assert clock.translate(MediaKind.AUDIO, 900_000_000, 12.5) == 12_500_000

    def test_a_stalled_network_is_no_reset(self) -> None:
        clock = TrackClock(origin_s=0.0)
        clock.translate(MediaKind.AUDIO, 0, 0.0)
        assert clock.translate(MediaKind.AUDIO, 20_000, 4.0) == 20_000

    @given(
        st.lists(
            st.tuples(
                st.sampled_from(MediaKind),
                st.integers(-(10**12), 10**12),
                st.floats(0, 10, width=32),
            ),
            max_size=80,
        )
    )
    @pytest.mark.parametrize("make", [TrackClock, ContainerClock])
    def test_times_of_a_kind_always_increase(
        self, make: Callable[[float], SenderClock], steps: list[tuple[MediaKind, int, float]]
    ) -> None:
        clock, now_s, before = make(0.0), 0.0, dict.fromkeys(MediaKind, -1)
        for kind, sent_us, pause_s in steps:
            now_s += pause_s
            t_us = clock.translate(kind, sent_us, now_s)
            assert t_us > before[kind]
            before[kind] = t_us


class TestContainerClock:
    def test_frames_that_arrive_together_keep_their_times(self) -> None:
        clock = ContainerClock(origin_s=100.0)
        stamps = [clock.translate(MediaKind.VIDEO, n * 40_000, 100.0) for n in range(25)]
        assert stamps == [n * 40_000 for n in range(25)]
        assert clock.translate(MediaKind.AUDIO, 500_000, 100.0) == 500_000

    def test_a_second_recording_continues_the_first(self) -> None:
        clock = ContainerClock(origin_s=0.0)
        clock.translate(MediaKind.VIDEO, 90_000_000, 0.0)
        assert clock.translate(MediaKind.VIDEO, 0, 4.0) == 4_000_000


class TestThrottle:
    def test_a_file_is_read_a_little_faster_than_it_plays_and_never_in_one_go(self) -> None:
        throttle, now_s, passed_s = Throttle(), 50.0, []
        for n in range(60 * 25):
            now_s += throttle.wait_s(n / 25, now_s)
            passed_s.append(now_s - 50.0)
        assert sum(passed < 0.01 for passed in passed_s) <= 0.25 * 25
        assert max(np.diff(passed_s)) == pytest.approx(0.04)
        assert passed_s[-1] == pytest.approx(60.0 - 1.0 - 0.04)

    def test_a_live_sender_with_a_slow_first_frame_is_soon_not_held_back(self) -> None:
        throttle = Throttle()
        assert throttle.wait_s(0.0, 0.8) == 0.0  # 0.8 s on its way, all others none
        assert throttle.wait_s(1.0, 1.0) == pytest.approx(0.59)
        assert throttle.wait_s(16.0, 16.0) == 0.0

    def test_times_that_jump_far_restart(self) -> None:
        throttle = Throttle()
        assert throttle.wait_s(0.0, 0.0) == 0.0
        assert throttle.wait_s(3600.0, 1.0) == 0.0
        assert throttle.wait_s(3600.5, 1.0) == pytest.approx(0.3)


class TestDecodeSpeed:
    @pytest.mark.parametrize(("speed", "found"), [(1.0, False), (0.95, False), (0.7, True)])
    def test_slow_decoding_is_detected(self, speed: float, found: bool) -> None:
        decoding = DecodeSpeed()
        speeds = [decoding.push(round(n * 33_333 * speed), n / 30) for n in range(40 * 30)]
        slow = [one for one in speeds if one is not None]
        assert bool(slow) is found
        assert all(one == pytest.approx(speed, abs=0.01) for one in slow)

    def test_a_camera_that_paused_is_not_slow(self) -> None:
        decoding = DecodeSpeed()
        assert decoding.push(0, 0.0) is None
        assert decoding.push(100_000, 100.0) is None
        assert decoding.push(200_000, 100.1) is None


def test_times_are_multiples_of_the_time_base() -> None:
    """WebRTC video counts 90,000 ticks per second."""
    frame = av.VideoFrame(16, 16, "yuv420p")
    frame.pts, frame.time_base = 45_000, Fraction(1, 90_000)
    assert media_us(frame) == 500_000
