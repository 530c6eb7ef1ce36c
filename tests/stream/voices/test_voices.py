"""Voices told apart: the clusters alone, and in a recording of two voices where nobody is seen."""

from __future__ import annotations

import json
import sys
from itertools import pairwise

import numpy as np
import pytest

from affectstream.bench.behaviour.material.media import write_sound
from affectstream.engines.errors import EngineError
from affectstream.stream import Assignment, OptionError, SourceOptions
from affectstream.stream.demo import syllables
from affectstream.stream.media.types import SAMPLE_RATE
from affectstream.stream.options import parse_voices
from affectstream.stream.voices import embed
from affectstream.stream.voices.cluster import MIN_EMBEDDINGS, cluster_voices
from affectstream.stream.voices.turns import VoiceTurns
from tests.support.scoring import run

pytest.importorskip("scipy")

TURN_S = 8


def near(center, count, seed=0, spread=0.05):
    """`count` vectors of length 1 around an axis."""
    random = np.random.default_rng(seed)
    vectors = np.abs(spread * random.standard_normal((count, 64))).astype(np.float32)
    vectors[:, center] += 1
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def test_voices_are_numbered_in_the_order_of_their_first_turn():
    vectors = np.concatenate([near(9, 20), near(2, 30, 1), near(9, 15, 2), near(5, 12, 3)])
    assert cluster_voices(vectors, None).tolist() == [0] * 20 + [1] * 30 + [0] * 15 + [2] * 12


def test_a_moment_of_another_voice_is_no_voice_of_its_own():
    vectors = np.concatenate([near(9, 30), near(2, MIN_EMBEDDINGS - 1, 1), near(9, 30, 2)])
    assert set(cluster_voices(vectors, None).tolist()) == {0}


def test_the_given_number_of_voices_is_the_most():
    vectors = np.concatenate([near(axis, 20, axis) for axis in range(4)])
    assert len(set(cluster_voices(vectors, 2).tolist())) == 2
    assert set(cluster_voices(vectors[:20], 1).tolist()) == {0}


@pytest.mark.parametrize("count", [0, 1])
def test_little_speech_has_at_most_one_voice(count):
    assert cluster_voices(near(3, count), None).tolist() == [0] * count
    turns = VoiceTurns(np.arange(count) * 500_000, np.zeros(count, np.int64))
    assert turns.at(0) == (None if count == 0 else "voice 1")


def test_a_long_recording_is_clustered_from_a_part(monkeypatch):
    monkeypatch.setattr("affectstream.stream.voices.cluster._MOST_CLUSTERED", 50)
    vectors = np.concatenate([near(9, 200), near(2, 200, 1)])
    assert cluster_voices(vectors, None).tolist() == [0] * 200 + [1] * 200


def test_nobody_is_heard_far_from_speech():
    turns = VoiceTurns(np.array([1_000_000, 1_500_000]), np.array([0, 1]))
    heard = [turns.at(t_us) for t_us in (0, 1_100_000, 1_400_000, 2_500_000, 2_500_001)]
    assert heard == ["voice 1", "voice 1", "voice 2", "voice 2", None]


@pytest.fixture(scope="module")
def talk(tmp_path_factory):
    """A low and a high voice that take turns."""
    voices = [syllables(TURN_S, hz, seed) for seed, hz in enumerate((90, 300, 90, 300))]
    return write_sound(tmp_path_factory.mktemp("talk") / "talk.wav", np.concatenate(voices))


def test_readings_and_events_say_which_voice_is_heard(recognizer, talk):
    result = recognizer.score(talk, SourceOptions(voices=2))
    rows = result.readings.select(["t_start", "t_end", "speaker"]).to_pylist()
    within = [
        (row["speaker"], int(row["t_start"] // TURN_S) % 2)
        for row in rows
        if 1.5 <= row["t_start"] % TURN_S <= TURN_S - 1.5 and row["speaker"]
    ]
    assert len(within) > 20
    assert {speaker for speaker, side in within if side == 0} == {"voice 1"}
    assert {speaker for speaker, side in within if side == 1} == {"voice 2"}
    spoken = {event.speaker for event in result.events if event.type == "emotion"}
    assert {"voice 1", "voice 2"} <= spoken
    changes = [
        later["t_start"]
        for row, later in pairwise(rows)
        if row["speaker"] and later["speaker"] and row["speaker"] != later["speaker"]
    ]
    for event in result.events:
        if event.type == "segment" and event.of == "emotion":
            assert not [t for t in changes if event.t_start < t < event.t_end]


def test_a_result_is_explained_with_the_voice_that_was_heard(talk, tmp_path):
    options = ("--voices", "2", "--vad", "none")
    scored = run("score", str(talk), *options)
    events = [json.loads(line) for line in scored.stdout.splitlines()]
    heard = [event for event in events if event["type"] == "emotion" and event.get("speaker")]
    expected = heard[-1]
    at = str(expected["t_start"])
    out = tmp_path / "why"
    done = run("explain", str(talk), "--at", at, "--track", "0", *options, "--output", str(out))
    assert done.returncode == 0, done.stderr
    document = json.loads((out / "explanation.json").read_text())
    assert document["event"] == expected
    assert document["options"]["voices"] == 2


def test_without_the_option_nobody_is_named(recognizer, talk):
    assert set(recognizer.score(talk).readings["speaker"].to_pylist()) == {None}


def test_embeddings_do_not_depend_on_how_the_sound_is_cut():
    from affectstream.stream.media.types import Samples

    sound = syllables(6)[:, None]

    def pieces(size):
        return (Samples(n, sound[n : n + size]) for n in range(0, len(sound), size))

    whole, cut = (
        embed.embed_voices(pieces(SAMPLE_RATE), "none"),
        embed.embed_voices(pieces(777), "none"),
    )
    assert whole.middles_us.tolist() == cut.middles_us.tolist()
    np.testing.assert_allclose(whole.vectors, cut.vectors, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(whole.vectors, axis=1), 1, atol=1e-3)


def test_a_recording_without_sound_is_scored_with_a_warning(recognizer, tmp_path):
    path = tmp_path / "talk.srt"
    path.write_text("1\n00:00:00,000 --> 00:00:01,000\nHello there\n")
    events = recognizer.score(path, SourceOptions(voices=2)).events
    details = [
        event.detail for event in events if event.type == "stream" and event.what == "warning"
    ]
    assert details == ["voices are not told apart: there is no voice to use"]


def test_wrong_options_are_explained(talk):
    with pytest.raises(OptionError, match="expected 1 to 20 or auto, found 0"):
        SourceOptions(voices=0)
    with pytest.raises(OptionError, match="leave out --voices"):
        SourceOptions(voices=2, assignment=Assignment(everything=1))
    with pytest.raises(OptionError, match="a number such as 2, or auto, found 'many'"):
        parse_voices("many")
    done = run("score", str(talk), "--voices", "0")
    assert done.returncode == 2 and "expected 1 to 20" in done.stderr


def test_without_scipy_the_message_says_what_to_install(recognizer, talk, monkeypatch):
    monkeypatch.setitem(sys.modules, "scipy.cluster.hierarchy", None)
    with pytest.raises(OptionError, match=r"pip install 'affectstream\[voices\]'"):
        recognizer.score(talk, SourceOptions(voices="auto"))


def test_a_changed_encoder_is_refused(monkeypatch):
    monkeypatch.setattr(embed, "ENCODER_SHA256", "0" * 64)
    embed._open_encoder.cache_clear()
    with pytest.raises(EngineError, match="leave --voices out"):
        embed._open_encoder()
