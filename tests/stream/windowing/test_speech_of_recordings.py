"""What the speech gate means for readings: which voices count, for how long, and with which option."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest

from affectstream.bench.behaviour.material.media import write_sound
from affectstream.bench.behaviour.material.sounds import at_level, non_speech
from affectstream.stream import OptionError, SourceOptions
from affectstream.stream.demo import syllables
from affectstream.stream.media.types import SAMPLE_RATE


def quiet(seconds):
    return np.zeros(round(seconds * SAMPLE_RATE), np.float32)


@pytest.fixture(scope="module")
def music(tmp_path_factory):
    (chords,) = [one.sound for one in non_speech(4) if one.name == "chords"]
    return write_sound(tmp_path_factory.mktemp("music") / "music.wav", chords)


def voiced_hops(result):
    return [e.t_start for e in result.events if e.type == "emotion" and "voice" in e.modalities]


def test_a_voice_counts_while_somebody_speaks_and_a_second_longer(recognizer, tmp_path):
    sound = np.concatenate([quiet(1), syllables(2), quiet(4)])
    result = recognizer.score(write_sound(tmp_path / "talk.wav", sound))
    hops = voiced_hops(result)
    # From half a second of speech on; the windows of the hops up to 5.5 s hold as much.
    assert hops[0] in (1.0, 1.5)
    assert hops[-1] in (3.0, 3.5)
    assert hops == list(np.arange(hops[0], hops[-1] + 0.1, 0.5))
    later = [e for e in result.events if e.type == "emotion" and e.t_start >= 4]
    assert {event.abstain for event in later} == {"no_speech"}


@pytest.mark.parametrize(("vad", "counts"), [("silero", False), ("webrtc", True), ("none", True)])
def test_music_is_a_voice_only_if_asked_for(recognizer, music, vad, counts):
    result = recognizer.score(music, SourceOptions(vad=vad))
    assert bool(voiced_hops(result)) == counts
    described = SourceOptions(vad=vad).described()
    assert described == ({} if vad == "silero" else {"vad": vad})


def test_the_command_takes_the_option(music):
    code = "from affectstream.stream.cli.score import score; import typer; typer.run(score)"
    done = subprocess.run(
        [sys.executable, "-c", code, str(music), "--device", "cpu", "--vad", "webrtc", "--json"],
        capture_output=True,
        text=True,
        timeout=90,
    )
    assert done.returncode == 0, done.stderr
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert any("voice" in event["modalities"] for event in events if event["type"] == "emotion")


def test_an_unknown_gate_is_refused():
    with pytest.raises(OptionError, match="vad: expected one of silero, webrtc, none, found 'x'"):
        SourceOptions(vad="x")


@pytest.mark.parametrize(
    ("vad", "advice"), [("silero", "listen to it"), ("webrtc", "--vad silero")]
)
def test_a_long_recording_that_is_all_speech_says_so(
    recognizer, tmp_path, monkeypatch, vad, advice
):
    monkeypatch.setattr("affectstream.stream.windowing.speech_share.LONG_US", 4_000_000)
    monkeypatch.setattr("affectstream.stream.windowing.speech_share.MAX_SHARE", 0.6)
    path = write_sound(tmp_path / "talk.wav", at_level(syllables(12), -20))
    result = recognizer.score(path, SourceOptions(vad=vad))
    (warning,) = [e for e in result.events if e.type == "stream" and e.what == "warning"]
    assert "of the sound of the last minutes counts as speech" in warning.detail
    assert advice in warning.detail
    assert warning.modalities == ("voice",)
