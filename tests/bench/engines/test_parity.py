"""`bench feeds` and `bench parity`: the recorded inputs, and how FP16 is compared with FP32."""

import json

import numpy as np
import pytest

from affectstream.bench.engines.feeds import FeedRecorder, main
from affectstream.engines.bundle.folder import POCKET
from affectstream.engines.graphs.feeds import random_feeds, read_feeds
from affectstream.engines.runtimes.onnx import OnnxEngine
from affectstream.stream.demo import write_clip
from affectstream.stream.recognizer import Recognizer

pytest.importorskip("torch", reason="torch computes convolutions: pip install torch")
pytest.importorskip("onnx", reason="FP16 graphs are derived with the package onnx")

from affectstream.bench.engines import parity


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    pytest.importorskip("skimage", reason="the portrait comes with the 'demo' extra")
    return write_clip(tmp_path_factory.mktemp("clip"))


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("AFFECTSTREAM_HOME", str(tmp_path / "home"))


def test_recorded_feeds_are_the_inputs_of_the_engines(clip, tmp_path, capsys):
    main([clip], tmp_path / "feeds.npz", "pocket")
    calls = json.loads(capsys.readouterr().out.splitlines()[-1])["calls"]
    found = read_feeds(tmp_path / "feeds.npz")
    assert {role: len(feeds) for role, feeds in found.items()} == calls
    assert set(found) == {
        "face_detector",
        "face_geometry",
        "face_encoder",
        "voice_encoder",
        "text_encoder",
        "fusion",
    }
    for role, feeds in found.items():
        with OnnxEngine(POCKET / f"{role}.onnx") as engine:
            for given in feeds:
                engine.run(given)


def test_a_recorder_returns_what_its_engine_returns():
    with OnnxEngine(POCKET / "fusion.onnx") as engine:
        recorder = FeedRecorder(engine, [])
        (feeds,) = random_feeds(engine.inputs, 1, seed=0)
        np.testing.assert_equal(recorder.run(feeds), engine.run(feeds))
    assert len(recorder.calls) == 1


def compared_encoders(recognizer):
    """A parity that has compared a few random inputs of each encoder."""
    found = parity.Parity(recognizer, "cpu")
    for modality, role in parity.ENCODER_ROLES.items():
        found.compare_encoder(
            modality, random_feeds(recognizer.bundle.engines[role].inputs, 4, seed=3)
        )
    return found


def test_encoders_and_mixed_hops_are_counted():
    with Recognizer.open("pocket", device="cpu", threads=1) as recognizer:
        found = compared_encoders(recognizer)
        found.compare_mixed_hops(14)
    for candidate in found.candidates:
        metrics = candidate.metrics()["parts"]
        assert metrics["face_encoder"]["inputs"] == 32
        assert metrics["mixed hops"]["inputs"] == 14
        assert candidate.passed, metrics
    assert found.references["voice_encoder"].largest


def test_one_part_that_disagrees_fails_the_candidate():
    candidate = parity.Fp16Candidate("someone", {})
    candidate.add("good", np.array([[0.9, 0.1]]), np.array([[0.9, 0.1]]))
    assert candidate.passed
    candidate.add("bad", np.array([[0.9, 0.1]]), np.array([[0.1, 0.9]]))
    assert not candidate.passed
    assert candidate.metrics()["parts"]["good"]["passed"]


@pytest.mark.slow
def test_a_recording_is_scored_the_same_in_fp16(clip):
    with Recognizer.open("pocket", device="cpu", threads=1) as recognizer:
        found = parity.Parity(recognizer, "cpu")
        found.compare_recording(clip)
    for candidate in found.candidates:
        assert candidate.passed, candidate.metrics()
        assert candidate.metrics()["parts"]["hops of recordings"]["inputs"] >= 20
