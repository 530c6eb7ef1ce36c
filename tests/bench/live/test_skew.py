"""The skew of a recording that flashes and beeps."""

import numpy as np
import pytest

from affectstream.bench.live.skew import FlashBeep
from affectstream.stream.media.types import SAMPLE_RATE, Samples


@pytest.mark.parametrize("late_ms", [-120, 0, 35, 250])
def test_skew_is_measured_from_flashes_and_beeps(late_ms):
    meter = FlashBeep()
    tone = (0.5 * np.sin(2 * np.pi * 1000 * np.arange(1600) / SAMPLE_RATE)).astype(np.float32)
    for second in range(1, 6):
        start = second * SAMPLE_RATE
        meter.push_audio(Samples(start - 800, np.zeros((800, 1), np.float32)))
        meter.push_audio(Samples(start, tone[:, None]))
    for n in range(6 * 100):
        t_us = n * 10_000
        lit = (t_us - late_ms * 1000) % 1_000_000 < 100_000 and t_us > 600_000
        meter.push_video(np.full((8, 8), 250 if lit else 10, np.uint8), t_us)
    assert len(meter.pairs_us) >= 4
    assert meter.skew_ms == pytest.approx(late_ms, abs=11)
