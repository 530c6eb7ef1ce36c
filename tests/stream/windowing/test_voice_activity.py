"""The gate that decides which sound is speech."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from affectstream.bench.behaviour.material.sounds import mix, non_speech
from affectstream.engines.errors import EngineError
from affectstream.engines.labels import SpeechGateOption
from affectstream.stream.demo import syllables
from affectstream.stream.media.recording import Recording
from affectstream.stream.media.types import SAMPLE_RATE, Samples
from affectstream.stream.windowing import speech_detectors
from affectstream.stream.windowing.speech_share import LONG_US, SpeechShare
from affectstream.stream.windowing.voice_activity import VoiceGate
from tests.support.media import cut_runs

DETECTORS = ("silero", "webrtc")
both = pytest.mark.parametrize("option", DETECTORS)


def speechlike(seconds, seed=0):
    """Syllables over faint noise: (n, 1) float32."""
    noise = 0.001 * np.random.default_rng(seed).standard_normal(round(seconds * SAMPLE_RATE))
    return (syllables(seconds, seed=seed) + noise).astype(np.float32)[:, None]


@settings(max_examples=30, deadline=None)
@given(
    st.sampled_from(DETECTORS),
    st.lists(st.integers(1, 5_000), max_size=30),
    st.lists(st.integers(0, 6_000), max_size=3),
)
def test_decisions_do_not_depend_on_how_sound_is_cut(option, sizes, gaps):
    data = speechlike(3)
    parts = np.array_split(data, len(gaps) + 1)

    def decide(sizes):
        gate, out, at = VoiceGate(option), [], 0
        for part, gap in zip(parts, [*gaps, 0], strict=True):
            out += [v for run in cut_runs(part, sizes, at) for v in gate.push(run)]
            at += len(part) + gap
        return out + gate.flush(), gate.voiced_us(0, 10_000_000)

    assert decide(sizes) == decide([])


@settings(max_examples=30, deadline=None)
@given(
    st.sampled_from(DETECTORS),
    st.integers(1, 47_999),
    st.integers(0, 3_000_000),
    st.integers(1, 3_000_000),
)
def test_later_sound_does_not_change_earlier_decisions(option, extra, start_us, length_us):
    """A window may ask as soon as its sound is complete, or later; the answer is the same."""
    data, end_us = speechlike(6), start_us + length_us
    early, late = VoiceGate(option), VoiceGate(option)
    last = -(-end_us * SAMPLE_RATE // 1_000_000)
    early.push(Samples(0, data[:last]))
    late.push(Samples(0, data[: last + extra]))
    assert early.voiced_us(start_us, end_us) == late.voiced_us(start_us, end_us)


@pytest.mark.parametrize(("option", "size"), [("silero", 512), ("webrtc", 480), ("none", 480)])
def test_frames_lie_on_a_fixed_grid_and_none_is_lost(option, size):
    gate = VoiceGate(option)
    out = gate.push(Samples(100, speechlike(1.01)))
    assert [v.start for v in out] == list(range(size, 16_260 - size + 1, size))
    assert all(v.end - v.start == gate.frame_samples == size for v in out)
    (tail,) = gate.flush()
    assert tail.start == out[-1].end
    assert gate.flush() == []


@both
def test_frames_with_holes_are_not_speech(option):
    gate, data = VoiceGate(option), speechlike(1.1)
    gate.push(Samples(0, data))
    gate.push(Samples(10 * SAMPLE_RATE + 100, data))
    assert gate.voiced_us(0, 1_100_000) > 300_000
    assert gate.voiced_us(1_100_000, 10_000_000) == 0
    assert gate.voiced_us(10_000_000, 11_100_000) > 300_000


@both
def test_decisions_can_be_forgotten(option):
    gate = VoiceGate(option)
    gate.push(Samples(0, speechlike(4)))
    later = gate.voiced_us(2_112_000, 4_000_000)
    gate.forget(2_112_000)
    assert gate.voiced_us(2_112_000, 4_000_000) == later > 0
    assert gate.voiced_us(0, 2_100_000) == 0


def test_the_gate_refuses_sound_that_goes_back():
    gate = VoiceGate()
    gate.push(Samples(0, np.zeros((1_000, 1), np.float32)))
    with pytest.raises(ValueError, match="found 999, expected 1000 or later"):
        gate.push(Samples(999, np.zeros((10, 1), np.float32)))


def voiced_share(data, option="silero"):
    gate = VoiceGate(option)
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


@pytest.mark.parametrize("option", get_args(SpeechGateOption))
def test_silence_is_not_speech(option):
    assert voiced_share(np.zeros(10 * SAMPLE_RATE), option) == 0


@both
@pytest.mark.parametrize("kind", ["white", "pink", "brown"])
@pytest.mark.parametrize("dbfs", [-70, -60, -50, -40])
def test_quiet_noise_is_not_speech(option, kind, dbfs):
    assert voiced_share(noise(kind, dbfs), option) < 0.02


def test_tones_music_and_loud_noise_are_no_speech_to_silero_and_much_of_it_is_to_webrtc():
    sounds = {one.name: one.sound for one in non_speech(6)}
    assert max(voiced_share(sound) for sound in sounds.values()) < 0.05
    for name in ("white noise -10 dBFS", "chords"):
        assert voiced_share(sounds[name], "webrtc") > 0.9
        assert voiced_share(sounds[name], "none") > 0.9


@pytest.mark.parametrize("name", ["white noise -20 dBFS", "bass and drums"])
def test_speech_over_something_louder_than_a_tenth_is_speech(name):
    sounds = {one.name: one.sound for one in non_speech(6)}
    assert voiced_share(mix(speechlike(6)[:, 0], sounds[name], 10)) > 0.7


@both
def test_speech_is_speech_and_its_two_channels_are_averaged(option):
    mono = speechlike(6)
    assert 0.7 < voiced_share(mono[:, 0], option) < 1.0
    gate = VoiceGate(option)
    gate.push(Samples(0, np.repeat(mono, 2, axis=1)))
    assert gate.voiced_us(0, 5_970_000) == pytest.approx(
        voiced_share(mono[:, 0], option) * 6_000_000, abs=64_000
    )


def test_a_changed_network_is_refused(monkeypatch, tmp_path):
    changed = tmp_path / "silero.onnx"
    changed.write_bytes(b"other")
    speech_detectors.open_silero.cache_clear()
    monkeypatch.setattr(speech_detectors, "SILERO", changed)
    with pytest.raises(EngineError, match="expected Silero's network with SHA-256"):
        VoiceGate()


def test_sound_that_is_speech_all_the_time_is_reported_once():
    def reported(shares):
        share = SpeechShare(500_000)
        return [found for found in map(share.push, shares) if found is not None]

    long = LONG_US // 500_000
    assert reported([0.97] * (long - 1)) == []
    assert reported([0.97] * (3 * long)) == [pytest.approx(0.97)]
    assert reported([0.9] * (3 * long)) == []
    assert reported([0.9] * long + [1.0] * long) == [pytest.approx(1.0)]


@pytest.mark.data
@both
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
def test_real_sound(data_root, option, name, least, most):
    with Recording.open(data_root / "video" / name) as recording:
        runs = [item for item in recording if isinstance(item, Samples)]
    sound = np.concatenate([run.data[:, 0] for run in runs])
    assert least <= voiced_share(sound, option) <= most
