"""The timeline of samples."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from affectstream.stream.media.types import Samples
from affectstream.stream.windowing.sound_timeline import SoundTimeline
from tests.support.media import cut_runs


@settings(max_examples=80, deadline=None)
@given(
    st.lists(st.integers(1, 400), max_size=30),
    st.lists(st.tuples(st.integers(0, 300), st.integers(1, 200)), max_size=8),
    st.integers(-500, 3_000),
    st.integers(1, 2_000),
)
def test_a_window_has_the_samples_and_zeros_elsewhere(sizes, pieces, start, length):
    reference = np.zeros((8_000, 2), np.float32)
    timeline, at, value = SoundTimeline(2), 0, 1.0
    for gap, size in pieces:
        at += gap
        data = np.arange(value, value + 2 * size, dtype=np.float32).reshape(size, 2)
        value += 2 * size
        reference[at : at + size] = data
        for run in cut_runs(data, sizes, at):
            timeline.push(run)
        at += size
    window = timeline.window(start, start + length)
    expected = np.zeros((length, 2), np.float32)
    first = max(start, 0)
    expected[first - start :] = reference[first : start + length] if start + length > 0 else 0
    assert np.array_equal(window, expected)
    assert timeline.end == (at if pieces else 0)


def test_the_timeline_is_bounded_and_forgets():
    timeline = SoundTimeline(1, capacity=1_000)
    data = np.ones((500, 1), np.float32)
    timeline.push(Samples(0, data))
    timeline.push(Samples(500, data))
    with pytest.raises(BufferError, match="no room for samples up to 1500"):
        timeline.push(Samples(1_000, data))
    timeline.forget(600)
    timeline.push(Samples(1_000, data))
    assert timeline.window(600, 1_500).sum() == 900
    with pytest.raises(ValueError, match="samples before 600 have been forgotten, asked for 599"):
        timeline.window(599, 700)


def test_the_timeline_refuses_runs_that_do_not_fit():
    timeline = SoundTimeline(1)
    timeline.push(Samples(100, np.ones((50, 1), np.float32)))
    with pytest.raises(ValueError, match="found 149, expected 150 or later"):
        timeline.push(Samples(149, np.ones((50, 1), np.float32)))
    with pytest.raises(ValueError, match=r"expected \(n, 1\) samples, found \(50, 2\)"):
        timeline.push(Samples(150, np.ones((50, 2), np.float32)))
    with pytest.raises(ValueError, match="must be positive"):
        SoundTimeline(0)
