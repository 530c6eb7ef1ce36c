"""The gate that decides which sound is speech."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from affectstream.stream.media.recording import Recording
from affectstream.stream.media.types import SAMPLE_RATE, Samples
from affectstream.stream.windowing.voice_activity import VAD_FRAME_SAMPLES, VoiceGate
from tests.support.media import cut_runs


def speechlike(seconds, seed=0):
    """Buzzing syllables over faint noise: webrtcvad takes the syllables for speech, and not the noise."""
    rng, n = np.random.default_rng(seed), int(seconds * SAMPLE_RATE)
    t = np.arange(n) / SAMPLE_RATE
    buzz = sum(np.sin(2 * np.pi * 140 * k * t) / k for k in range(1, 25))
    syllables = np.clip(np.sin(2 * np.pi * 3 * t), 0, 1) * (np.mod(t, 2) < 1.2)
    return (0.1 * buzz * syllables + 0.001 * rng.standard_normal(n)).astype(np.float32)[:, None]


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(1, 5_000), max_size=30), st.lists(st.integers(0, 6_000), max_size=3))
def test_decisions_do_not_depend_on_how_sound_is_cut(sizes, gaps):
    data = speechlike(3)
    parts = np.array_split(data, len(gaps) + 1)

    def decide(sizes):
        gate, out, at = VoiceGate(), [], 0
        for part, gap in zip(parts, [*gaps, 0], strict=True):
            out += [v for run in cut_runs(part, sizes, at) for v in gate.push(run)]
            at += len(part) + gap
        return out + gate.flush(), gate.voiced_us(0, 10_000_000)

    assert decide(sizes) == decide([])


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 47_999), st.integers(0, 3_000_000), st.integers(1, 3_000_000))
def test_later_sound_does_not_change_earlier_decisions(extra, start_us, length_us):
    """A window may ask as soon as its sound is complete, or later; the answer is the same."""
    data, end_us = speechlike(6), start_us + length_us
    early, late = VoiceGate(), VoiceGate()
    last = -(-end_us * SAMPLE_RATE // 1_000_000)
    early.push(Samples(0, data[:last]))
    late.push(Samples(0, data[: last + extra]))
    assert early.voiced_us(start_us, end_us) == late.voiced_us(start_us, end_us)


def test_frames_lie_on_a_fixed_grid_and_none_is_lost():
    gate = VoiceGate()
    out = gate.push(Samples(100, speechlike(1)))
    assert [v.start for v in out] == list(range(480, 15_361, 480))
    assert all(v.end - v.start == VAD_FRAME_SAMPLES for v in out)
    (tail,) = gate.flush()
    assert tail.start == out[-1].end
    assert gate.flush() == []


def test_frames_with_holes_are_not_speech():
    gate, data = VoiceGate(), speechlike(1.1)
    gate.push(Samples(0, data))
    gate.push(Samples(10 * SAMPLE_RATE + 100, data))
    assert gate.voiced_us(0, 1_100_000) > 300_000
    assert gate.voiced_us(1_100_000, 10_000_000) == 0
    assert gate.voiced_us(10_000_000, 11_100_000) > 300_000


def test_decisions_can_be_forgotten():
    gate = VoiceGate()
    gate.push(Samples(0, speechlike(4)))
    later = gate.voiced_us(2_100_000, 4_000_000)
    gate.forget(2_100_000)
    assert gate.voiced_us(2_100_000, 4_000_000) == later > 0
    assert gate.voiced_us(0, 2_100_000) == 0


def test_the_gate_refuses_sound_that_goes_back():
    gate = VoiceGate()
    gate.push(Samples(0, np.zeros((1_000, 1), np.float32)))
    with pytest.raises(ValueError, match="found 999, expected 1000 or later"):
        gate.push(Samples(999, np.zeros((10, 1), np.float32)))


def voiced_share(data):
    gate = VoiceGate()
    gate.push(Samples(0, data.astype(np.float32).reshape(-1, 1)))
    gate.flush()
    end_us = len(data) * 1_000_000 // SAMPLE_RATE
    return gate.voiced_us(0, end_us) / end_us


def noise(kind, dbfs, seconds=10):
    rng, n = np.random.default_rng(0), seconds * SAMPLE_RATE
    spectrum = np.fft.rfft(rng.standard_normal(n))
    slope = {"white": 0.0, "pink": 0.5, "brown": 1.0}[kind]
    data = np.fft.irfft(spectrum / np.arange(1, len(spectrum) + 1) ** slope, n)
    return data / data.std() * 10 ** (dbfs / 20)


def test_silence_is_not_speech():
    assert voiced_share(np.zeros(10 * SAMPLE_RATE)) == 0


@pytest.mark.parametrize("kind", ["white", "pink", "brown"])
@pytest.mark.parametrize("dbfs", [-70, -60, -50, -40])
def test_quiet_noise_is_not_speech(kind, dbfs):
    assert voiced_share(noise(kind, dbfs)) < 0.02


def test_speech_is_speech_and_its_two_channels_are_averaged():
    mono = speechlike(6)
    assert 0.2 < voiced_share(mono[:, 0]) < 0.7
    gate = VoiceGate()
    gate.push(Samples(0, np.repeat(mono, 2, axis=1)))
    assert gate.voiced_us(0, 5_970_000) == pytest.approx(
        voiced_share(mono[:, 0]) * 6_000_000, abs=60_000
    )


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "least", "most"),
    [
        ("speech_1.wav", 0.85, 1.0),
        ("speech_2.wav", 0.8, 1.0),
        ("two_people.mp4", 0.85, 1.0),
        ("actor_expressions.mp4", 0.0, 0.0),  # its sound track is digital silence
        ("driving_d9.mp4", 0.0, 0.02),  # the hiss of an open microphone
    ],
)
def test_real_sound(data_root, name, least, most):
    with Recording.open(data_root / "video" / name) as recording:
        runs = [item for item in recording if isinstance(item, Samples)]
    assert least <= voiced_share(np.concatenate([run.data[:, 0] for run in runs])) <= most
