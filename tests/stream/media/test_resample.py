"""Sound of any rate and layout at 16 kHz: in its place, without drift, nothing lost or doubled."""

from __future__ import annotations

from itertools import pairwise

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from affectstream.stream.media.resample import JUMP_US, SoundResampler
from affectstream.stream.media.types import SAMPLE_RATE, sample_at, sample_time_us
from tests.support.media import clicks, tone


def frame(data, rate, layout="mono", form="flt"):
    array = np.ascontiguousarray(data.T if form.endswith("p") else data.reshape(1, -1))
    out = av.AudioFrame.from_ndarray(array, format=form, layout=layout)
    out.sample_rate = rate
    return out


def cut(data, rate, sizes, layout="mono", first_us=0):
    """(frame, time) of pieces of these sizes, the last size repeated."""
    at, sizes = 0, iter(sizes)
    size = next(sizes)
    while at < len(data):
        yield frame(data[at : at + size], rate, layout), first_us + round(at * 1e6 / rate)
        at += size
        size = next(sizes, size)


def run(frames, channels=1, **options):
    resampler = SoundResampler(channels, **options)
    runs = [r for sound, t_us in frames for r in resampler.push(sound, t_us)]
    return runs + resampler.flush()


def joined(runs):
    assert all(a.end == b.start for a, b in pairwise(runs))
    return np.concatenate([r.data for r in runs])


@pytest.mark.parametrize("rate", [8_000, 11_025, 16_000, 22_050, 44_056, 44_100, 48_000, 96_000])
def test_a_pulse_stays_where_it_was(rate):
    at = [0.25, 1.0, 1.7]
    runs = run(cut(clicks(2, rate, at), rate, [1024]))
    data = joined(runs)[:, 0]
    assert runs[0].start == 0
    assert len(data) == 2 * SAMPLE_RATE
    for t in at:
        around = int((t - 0.05) * SAMPLE_RATE)
        top = around + np.argmax(np.abs(data[around : around + SAMPLE_RATE // 10]))
        assert abs(top / SAMPLE_RATE - t) < 0.2e-3


@pytest.mark.parametrize("rate", [8_000, 44_100, 48_000])
def test_the_end_of_a_hop_does_not_wait_for_the_rest_of_a_piece(rate):
    first_us, hop_us, frame_us = 200_000, 500_000, 20_000
    sound = list(cut(tone(3, rate), rate, [rate // 50], first_us=first_us))
    options = {"first": sample_at(first_us), "gather": 1}
    resampler, runs, seen_us = SoundResampler(hop_us=hop_us, **options), [], {}
    for one, t_us in sound:
        for piece in resampler.push(one, t_us):
            runs.append(piece)
            hops = (sample_time_us(piece.end) - first_us) // hop_us
            seen_us.setdefault(hops, t_us + frame_us)  # when the whole of this frame has been heard
    for hops in range(1, 6):
        assert 0 <= seen_us[hops] - (first_us + hops * hop_us) <= frame_us + 3_000
    assert np.array_equal(joined(runs + resampler.flush()), joined(run(sound, **options)))


def test_two_hours_at_44100_do_not_drift():
    rate, hours = 44_100, 2
    resampler, silence = SoundResampler(), np.zeros((rate, 1), np.float32)
    count, pulses = 0, {}
    for second in range(hours * 3600):
        data = clicks(1, rate, [0.5]) if second % 1800 == 1799 else silence
        for part in resampler.push(frame(data, rate), second * 1_000_000):
            assert part.start == count
            count = part.end
            if np.abs(part.data).max() > 0.1:
                pulses[second] = part.start + int(np.argmax(np.abs(part.data)))
    count += sum(len(part.data) for part in resampler.flush())
    assert count == hours * 3600 * SAMPLE_RATE
    assert {s: t - (s * SAMPLE_RATE + SAMPLE_RATE // 2) for s, t in pulses.items()} == {
        s: pytest.approx(0, abs=2) for s in (1799, 3599, 5399, 7199)
    }


@settings(max_examples=25, deadline=None)
@given(
    st.sampled_from([8_000, 22_050, 44_100, 48_000]),
    st.lists(st.integers(100, 5_000), min_size=1, max_size=20),
    st.integers(200, 20_000),
)
def test_however_it_is_cut_the_sound_is_the_same(rate, sizes, length):
    data = np.random.default_rng(length).uniform(-0.5, 0.5, (length, 1)).astype(np.float32)
    whole, pieces = run([(frame(data, rate), 0)]), run(cut(data, rate, sizes))
    expected = joined(whole)
    assert np.array_equal(joined(pieces), expected)
    assert abs(len(expected) - length * SAMPLE_RATE / rate) <= 1


def test_rounded_times_leave_no_holes():
    """Matroska rounds times to milliseconds: 21, 43, 64 ... for frames of 21.33 ms."""
    data = tone(5, 48_000)
    frames = [(f, round(t_us / 1000) * 1000) for f, t_us in cut(data, 48_000, [1024])]
    assert len(joined(run(frames))) == 5 * SAMPLE_RATE


def test_a_drifting_clock_is_followed():
    """A recorder whose 48 kHz are really 47.9: by its times, every frame is a little longer."""
    data, rate, real = tone(60, 48_000), 48_000, 47_900
    frames = [(f, round(t_us * rate / real)) for f, t_us in cut(data, rate, [1024])]
    runs = run(frames)
    assert runs[-1].end / SAMPLE_RATE == pytest.approx(60 * rate / real, abs=2 * JUMP_US / 1e6)


def test_missing_sound_is_a_hole_and_doubled_sound_is_cut():
    first, second = tone(1, 48_000), clicks(1, 48_000, [0.5])
    later = run([(frame(first, 48_000), 0), (frame(second, 48_000), 1_500_000)])
    assert (later[0].start, later[-1].end) == (0, 2.5 * SAMPLE_RATE)
    holes = [(a.end, b.start) for a, b in pairwise(later) if a.end != b.start]
    assert holes == [(SAMPLE_RATE, 1.5 * SAMPLE_RATE)]
    earlier = run([(frame(first, 48_000), 0), (frame(second, 48_000), 700_000)])
    data = joined(earlier)
    assert len(data) == 1.7 * SAMPLE_RATE
    assert np.argmax(np.abs(data[SAMPLE_RATE:])) == pytest.approx(0.2 * SAMPLE_RATE, abs=2)


def test_nothing_before_the_first_sample_and_none_twice():
    runs = run([(frame(tone(1, 16_000), 16_000), -300_000)], first=0)
    assert runs[0].start == 0
    assert runs[-1].end == 0.7 * SAMPLE_RATE
    resampler = SoundResampler()
    resampler.skip_to(5_000)
    assert resampler.push(frame(tone(1, 16_000), 16_000), 0)[0].start == 5_000


def test_a_change_of_rate_and_layout_goes_on_without_a_seam():
    parts = [
        (frame(tone(1, 48_000), 48_000), 0),
        (frame(tone(1, 22_050, channels=2), 22_050, "stereo"), 1_000_000),
        (frame(tone(1, 8_000), 8_000), None),
    ]
    data = joined(run(parts))[:, 0]
    assert len(data) == 3 * SAMPLE_RATE
    assert np.sqrt(np.mean(data**2)) == pytest.approx(0.5 / np.sqrt(2), rel=0.02)


@pytest.mark.parametrize(
    ("layout", "channels"),
    [("mono", 1), ("stereo", 2), ("5.1", 6), ("2 channels", 2), ("9 channels", 9)],
)
@pytest.mark.parametrize("wanted", [1, 2])
def test_any_layout_keeps_its_level(layout, channels, wanted):
    data = tone(1, 48_000, channels=channels)
    sound = joined(run([(frame(data, 48_000, layout), 0)], wanted))
    assert sound.shape == (SAMPLE_RATE, wanted)
    assert np.abs(sound).max(axis=0) == pytest.approx([0.5] * wanted, abs=0.01)


@pytest.mark.parametrize("form", ["u8", "s16", "s16p", "s32", "fltp", "dbl"])
def test_any_sample_format_spans_the_same_range(form):
    scale = {"u": 127, "s": 2**15 - 1, "f": 1.0, "d": 1.0}[form[0]]
    scale = 2**31 - 2**8 if form == "s32" else scale
    wave = tone(0.5, 16_000).astype(float) * 2 * scale + (128 if form == "u8" else 0)
    kind = {"u8": np.uint8, "s32": np.int32, "fltp": np.float32, "dbl": np.float64}.get(
        form, np.int16
    )
    sound = joined(run([(frame(wave.astype(kind), 16_000, form=form), 0)]))
    assert np.abs(sound).max() == pytest.approx(1.0, abs=0.02)


def test_nan_and_clipping_values_stay_in_range():
    data = tone(1, 48_000)
    data[100], data[2_000], data[3_000:3_100] = np.nan, np.inf, 50.0
    sound = joined(run([(frame(data, 48_000), 0)]))
    assert np.isfinite(sound).all()
    assert np.abs(sound).max() <= 1.0
    assert np.abs(sound[8_000:]).max() == pytest.approx(0.5, abs=0.01)


def test_samples_and_times_agree():
    assert [sample_at(t) for t in (0, 1, 62, 63, 125, 1_000_000)] == [0, 1, 1, 2, 2, SAMPLE_RATE]
    assert [sample_time_us(n) for n in (0, 1, 2, SAMPLE_RATE)] == [0, 62, 125, 1_000_000]


def test_three_channels_are_refused():
    with pytest.raises(ValueError, match="must be 1 or 2, found 3"):
        SoundResampler(3)
