"""Live words: speech is cut out of sound, recognized, and becomes words of the session."""

import io
import itertools
import json
import os
import subprocess
import sys
import threading
import time
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import av
import numpy as np
import pytest
from rich.console import Console

from affectstream.engines.bundle.bundle import Bundle
from affectstream.stream import Recognizer
from affectstream.stream.cli import main
from affectstream.stream.cli.dashboard import Dashboard
from affectstream.stream.demo import syllables
from affectstream.stream.errors import OptionError
from affectstream.stream.live.callbacks import Callbacks
from affectstream.stream.live.source import LiveOptions, LiveSource
from affectstream.stream.live.words.dictation import Dictation, LiveWords, OneAtATime
from affectstream.stream.media.types import SAMPLE_RATE, Cue, Samples
from affectstream.stream.words.asr import Transcription
from affectstream.stream.words.opening import open_recognizer
from affectstream.stream.words.speech import SpeechCutter
from tests.support.live_media import until
from tests.support.media import Sound, write_video

LOW_HZ, HIGH_HZ = 110, 220
WORDS = {LOW_HZ: "how sad", HIGH_HZ: "how lovely"}


def quiet(seconds):
    return np.zeros(round(seconds * SAMPLE_RATE), np.float32)


class PitchRecognizer:
    """A small real recognizer: it tells words apart by the pitch of a voice."""

    def __init__(self, language=None):
        self.language = language

    def transcribe(self, samples):
        loud = np.flatnonzero(np.abs(samples) > 0.02)
        voice = samples[loud[0] : loud[-1]]
        spectrum = np.fft.rfft(voice, 1 << 18)
        echo = np.fft.irfft(np.abs(spectrum) ** 2)
        first = SAMPLE_RATE // 400
        hz = SAMPLE_RATE / (first + int(np.argmax(echo[first : SAMPLE_RATE // 80])))
        word = WORDS[min(WORDS, key=lambda known: abs(known - hz))]
        yield Transcription(
            loud[0] / SAMPLE_RATE, loud[-1] / SAMPLE_RATE, f" {word} ", self.language or "en"
        )


def open_pitch(language=None):
    return PitchRecognizer(language)


def on_path(folder):
    """PYTHONPATH with `folder` in front."""
    return os.pathsep.join(filter(None, [str(folder), os.environ.get("PYTHONPATH")]))


# --- speech is cut out ---


def cut(sound, run=4000, **more):
    cutter, out = SpeechCutter(**more), []
    for start in range(0, len(sound), run):
        out += cutter.push(Samples(start, sound[start : start + run, None]))
    return out


def test_speech_comes_out_with_its_times():
    sound = np.concatenate(
        [quiet(1), syllables(1, LOW_HZ), quiet(1), syllables(1.5, HIGH_HZ), quiet(1)]
    )
    utterances = cut(sound)
    spans = [(s.start / SAMPLE_RATE, s.end / SAMPLE_RATE) for s in utterances]
    assert spans[0] == pytest.approx((0.9, 2.1), abs=0.2)
    assert spans[1] == pytest.approx((2.9, 4.6), abs=0.2)
    assert all(
        (utterance.data[:, 0] == sound[utterance.start : utterance.end]).all()
        for utterance in utterances
    )


@pytest.mark.parametrize("run", [160, 1024, 16_000, 200_000])
def test_how_the_sound_is_cut_into_runs_makes_no_difference(run):
    sound = np.concatenate(
        [quiet(0.7), syllables(1.3, LOW_HZ), quiet(0.8), syllables(3, HIGH_HZ), quiet(1)]
    )
    wanted = [(s.start, s.end) for s in cut(sound)]
    assert [(s.start, s.end) for s in cut(sound, run)] == wanted
    assert len(wanted) == 2


def test_silence_and_a_click_are_no_speech():
    click = quiet(3)
    click[20_000:20_400] = 0.5
    assert cut(click) == []


def test_long_speech_is_cut_and_nothing_of_it_is_lost():
    utterances = cut(np.concatenate([syllables(11, LOW_HZ), quiet(1)]), max_s=4.0)
    assert len(utterances) == 3
    assert all(len(s.data) <= 4.1 * SAMPLE_RATE for s in utterances)
    for before, after in itertools.pairwise(utterances):
        assert before.end == after.start


def test_a_gap_in_the_sound_ends_an_utterance():
    cutter = SpeechCutter()
    voice = syllables(1.5, LOW_HZ)
    assert cutter.push(Samples(0, voice[:, None])) == []
    far = 3600 * SAMPLE_RATE
    (before,) = cutter.push(Samples(far, voice[:, None]))
    assert before.end <= len(voice)
    (after,) = cutter.push(Samples(far + len(voice), quiet(1)[:, None]))
    assert after.start >= far


# --- dictation ---


class Spoken:
    """A dictation with what came out of it."""

    def __init__(self, recognizer, languages=("en",)):
        self.counted, self.shown, self.warnings, self.t_us = [], [], [], 0
        self.zero_s = time.monotonic()
        self.dictation = Dictation(
            recognizer,
            "test",
            languages=languages,
            count=self.counted.append,
            show=self.shown.append,
            warn=self.warnings.append,
        )

    def push(self, *sounds):
        wave = np.concatenate(sounds)
        for start in range(0, len(wave), 1600):
            piece = (wave[None, start : start + 1600] * 32767).astype(np.int16)
            frame = av.AudioFrame.from_ndarray(piece, format="s16", layout="mono")
            frame.sample_rate = SAMPLE_RATE
            self.dictation.push(frame, self.t_us, self.zero_s + self.t_us / 1e6)
            self.t_us += piece.shape[1] * 1_000_000 // SAMPLE_RATE


def test_words_come_with_the_times_of_the_session():
    spoken = Spoken(PitchRecognizer())
    spoken.push(quiet(1), syllables(1, HIGH_HZ), quiet(1), syllables(1, LOW_HZ), quiet(1))
    assert until(lambda: len(spoken.shown) == 2)
    assert spoken.dictation.close(5)
    assert [cue.text for cue in spoken.counted] == ["how lovely", "how sad"]
    spans = [(cue.start_us / 1e6, cue.end_us / 1e6) for cue in spoken.counted]
    assert spans[0] == pytest.approx((1, 2), abs=0.1)
    assert spans[1] == pytest.approx((3, 4), abs=0.1)
    assert spoken.shown == spoken.counted
    assert (spoken.dictation.transcribed, spoken.warnings) == (2, [])


def test_words_of_another_language_are_shown_and_do_not_count():
    spoken = Spoken(PitchRecognizer("fr"))
    for _ in range(2):
        spoken.push(syllables(1, HIGH_HZ), quiet(1))
    assert until(lambda: len(spoken.shown) == 2)
    spoken.dictation.close(5)
    assert spoken.counted == []
    assert spoken.warnings == ["words in 'fr' do not count: the bundle reads en"]


class Held:
    """A recognizer that waits for the test."""

    def __init__(self):
        self.begun, self.go = threading.Event(), threading.Event()

    def transcribe(self, samples):
        self.begun.set()
        self.go.wait(20)
        return PitchRecognizer().transcribe(samples)


def test_a_slow_recognizer_gets_the_newest_and_the_rest_is_reported():
    held = Held()
    spoken = Spoken(held)
    spoken.push(syllables(0.8, LOW_HZ), quiet(0.6))
    assert held.begun.wait(20)
    before = time.monotonic()
    spoken.push(*[part for _ in range(5) for part in (syllables(0.8, LOW_HZ), quiet(0.6))])
    spoken.push(syllables(0.8, HIGH_HZ), quiet(0.6))
    assert time.monotonic() - before < 5  # nobody waited for it
    held.go.set()
    assert until(lambda: len(spoken.shown) == 3)
    spoken.dictation.close(5)
    assert [cue.text for cue in spoken.shown] == ["how sad", "how sad", "how lovely"]
    assert spoken.dictation.dropped == 4
    assert spoken.warnings[0].startswith("words: 4 utterances were dropped")


def test_words_that_come_too_late_are_reported():
    spoken = Spoken(PitchRecognizer())
    spoken.zero_s -= 60
    spoken.push(syllables(1, LOW_HZ), quiet(1))
    assert until(lambda: spoken.shown)
    spoken.dictation.close(5)
    assert "more than 5 s late" in spoken.warnings[0]


def test_a_recognizer_that_fails_is_no_longer_used_and_the_session_goes_on():
    class Broken:
        def transcribe(self, samples):
            raise RuntimeError("out of memory")

    spoken = Spoken(Broken())
    for _ in range(4):
        spoken.push(syllables(0.8, LOW_HZ), quiet(0.6))
        time.sleep(0.05)
    assert until(lambda: len(spoken.warnings) == 2)
    assert spoken.warnings[0] == "words: the recognizer failed (RuntimeError: out of memory)"
    assert spoken.warnings[1].endswith("3 times in a row: no more words")
    assert spoken.dictation.close(5)


def test_a_stuck_recognizer_is_abandoned_and_adds_no_words():
    held = Held()
    spoken = Spoken(held)
    spoken.push(syllables(0.8, LOW_HZ), quiet(0.6))
    assert held.begun.wait(20)
    assert not spoken.dictation.close(0.1)
    held.go.set()
    spoken.dictation._thread.join(10)
    assert spoken.shown == []


def test_a_shared_recognizer_transcribes_one_at_a_time():
    class Counting:
        now = most = 0

        def transcribe(self, samples):
            self.now += 1
            self.most = max(self.most, self.now)
            time.sleep(0.02)
            self.now -= 1
            return []

    counting = Counting()
    shared = OneAtATime(counting)
    threads = [threading.Thread(target=shared.transcribe, args=(quiet(1),)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert counting.most == 1


# --- from a source to events ---


@pytest.fixture(scope="module")
def talk(tmp_path_factory):
    """Four seconds of black in which a high voice speaks, from 0.5 to 1.7 s."""
    path = tmp_path_factory.mktemp("words") / "talk.mp4"
    wave = np.concatenate([quiet(0.5), syllables(1.2, HIGH_HZ), quiet(2.3)])
    pictures = [np.zeros((120, 160, 3), np.uint8)] * 100
    return write_video(
        path, pictures, size=(160, 120), rate=25, sound=Sound(wave[:, None], SAMPLE_RATE)
    )


def test_spoken_words_reach_the_events(talk):
    events, shown = [], []
    with (
        Recognizer.open(device="cpu", threads=1) as recognizer,
        LiveSource(
            recognizer,
            LiveOptions(str(talk)),
            Callbacks(event=events.append, words=shown.append),
            words=LiveWords(open_recognizer(f"{__name__}:open_pitch"), recognizer.bundle),
        ) as source,
    ):
        source.open()
        assert until(lambda: source.wait(0.1), 30)
    assert [cue.text for cue in shown] == ["how lovely"]
    assert shown[0].end_us == pytest.approx(1_700_000, abs=150_000)
    used = [
        event.t_start for event in events if event.type == "emotion" and "text" in event.modalities
    ]
    assert used and min(used) >= 1.5
    assert "text" in events[0].modalities


@pytest.mark.slow
def test_spoken_words_reach_the_page_and_the_events_of_a_server():
    for module in ("starlette", "uvicorn", "aiortc", "prometheus_client"):
        pytest.importorskip(module, reason="the server comes with the 'serve' extra")
    sync = pytest.importorskip("websockets.sync.client", reason="comes with the 'serve' extra")
    from tests.support.serving import running

    # What comes at once is read up to a second ahead, and its first second counts for less.
    wave = np.concatenate([quiet(1.5), syllables(1.2, LOW_HZ), quiet(3)])
    with (
        Recognizer.open(device="cpu", threads=1) as recognizer,
        running(recognizer, words=f"{__name__}:open_pitch") as server,
        sync.connect(f"{server.ws}/ingest?modalities=voice") as socket,
    ):
        socket.send(webm(wave))
        lines = [json.loads(socket.recv(timeout=20))]
        assert lines[0]["modalities"] == ["voice", "text"]
        while lines[-1]["type"] != "words":
            lines.append(json.loads(socket.recv(timeout=20)))
        assert lines[-1]["text"] == "how sad"
        assert lines[-1]["t_end"] - lines[-1]["t_start"] == pytest.approx(1.2, abs=0.15)
        while lines[-1]["type"] != "emotion" or "text" not in lines[-1]["modalities"]:
            lines.append(json.loads(socket.recv(timeout=20)))


def webm(wave):
    """Sound (n,) float32 as the bytes of a WebM file."""
    out = io.BytesIO()
    with av.open(out, "w", format="webm") as container:
        stream = container.add_stream("libopus", rate=48_000, layout="mono")
        loud = np.repeat(wave, 3)
        for start in range(0, len(loud), 960):
            piece = (loud[None, start : start + 960] * 32767).astype(np.int16)
            frame = av.AudioFrame.from_ndarray(piece, format="s16", layout="mono")
            frame.sample_rate, frame.pts, frame.time_base = 48_000, start, Fraction(1, 48_000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return out.getvalue()


@pytest.mark.slow
def test_the_command_recognizes_words(talk):
    code = "from affectstream.stream.cli import main; main()"
    arguments = ["--device", "cpu", "--source", str(talk), "--duration", "3.5s"]
    done = subprocess.run(
        [sys.executable, "-c", code, "live", *arguments, "--words", f"{__name__}:open_pitch"],
        capture_output=True,
        text=True,
        timeout=90,
        env={**os.environ, "PYTHONPATH": on_path(Path(__file__).parents[3])},
    )
    assert done.returncode == 0, done.stderr
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert any("text" in e["modalities"] for e in events if e["type"] == "emotion")
    assert "how lovely" not in done.stdout + done.stderr  # words are not kept


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--words", "nowhere:opened"], "--words nowhere:opened: cannot be opened"),
        (["--words-download"], "needs --words"),
        (["--words", f"{__name__}:open_pitch", "--transcript", "x.vtt"], "not from both"),
    ],
)
def test_what_is_wrong_with_the_options_is_reported(talk, arguments, message, capsys):
    with pytest.raises(SystemExit) as left:
        main(["live", "--device", "cpu", "--source", str(talk), *arguments])
    assert left.value.code == 2
    assert message in capsys.readouterr().err


def test_the_dashboard_shows_the_words():
    dashboard = Dashboard("camera 0")
    dashboard.push_words(Cue(1_000_000, 2_500_000, "how lovely"))
    console = Console(record=True, width=100, file=io.StringIO())
    console.print(dashboard.render(None))
    assert "1.0 to 2.5 s  words: how lovely" in console.export_text()


# --- opening ---


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nothing.like_it:opened", "cannot be opened (ModuleNotFoundError"),
        (f"{__name__}:nothing", "AttributeError"),
        (f"{__name__}:quiet", "expected a function that takes language="),
        (f"{__name__}:not_one", "gave a dict without transcribe(samples)"),
    ],
)
def test_a_factory_that_does_not_fit_is_reported(name, message):
    with pytest.raises(OptionError) as caught:
        open_recognizer(name)
    assert message in str(caught.value)


def not_one(language=None):
    return {"language": language}


def test_an_entry_point_is_a_name(tmp_path):
    """As another package registers it: its metadata lies on the path."""
    info = tmp_path / "ears-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: ears\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[affectstream.recognisers]\near = ears:open_pitch\n")
    (tmp_path / "ears.py").write_text(
        "class PitchRecognizer:\n    def transcribe(self, samples):\n        return []\n"
        "def open_pitch(language):\n    print('opened', language)\n    return PitchRecognizer()\n"
    )
    code = (
        "from affectstream.stream.words.opening import open_recognizer; import numpy as np;"
        "print(open_recognizer('ear', language='en').transcribe(np.zeros(9, np.float32)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": on_path(tmp_path)},
        check=True,
    )
    assert done.stdout.split() == ["opened", "en", "[]"]


def test_a_bundle_without_words_is_reported():
    with Bundle.open("pocket", device="cpu") as bundle:
        blind = SimpleNamespace(modalities=("video",), manifest=bundle.manifest)
        with pytest.raises(OptionError, match="reads no words, only video"):
            LiveWords(PitchRecognizer(), blind)


# --- faster-whisper ---


@pytest.fixture
def whisper():
    pytest.importorskip("faster_whisper", reason="faster-whisper comes with the 'asr' extra")
    from affectstream.stream.words.whisper import Whisper

    return Whisper


@pytest.fixture
def no_cache(monkeypatch, tmp_path):
    """As on a machine that has fetched nothing; nobody listens where models come from."""
    constants = pytest.importorskip("huggingface_hub.constants", reason="comes with 'asr'")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))


def test_without_weights_it_says_how_to_fetch_them(whisper, no_cache):
    with pytest.raises(OptionError) as caught:
        whisper.open("tiny.en")
    assert "not on this machine" in str(caught.value)
    assert "--words-download" in str(caught.value)


def test_without_a_network_a_download_says_what_to_do(tmp_path):
    pytest.importorskip("faster_whisper", reason="faster-whisper comes with the 'asr' extra")
    code = (
        "from affectstream.stream.words.opening import open_recognizer\n"
        "from affectstream.stream.errors import OptionError\n"
        "try: open_recognizer('tiny.en', download=True)\n"
        "except OptionError as error: print(error)"
    )
    closed = {
        "HF_ENDPOINT": "http://127.0.0.1:9",
        "HF_HOME": str(tmp_path),
        "NO_PROXY": "127.0.0.1",
    }
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={**os.environ, **closed},
        timeout=60,
    )
    assert done.stdout.startswith(
        "--words tiny.en: its weights cannot be downloaded from http://127.0.0.1:9"
    )
    assert "give its path" in done.stdout


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "has no config.json, model.bin, tokenizer.json"),
        ({"model.bin": b"x"}, "has no config.json, tokenizer.json"),
        (
            {"model.bin": b"junk" * 99, "config.json": b"{}", "tokenizer.json": b"{}"},
            "cannot be opened",
        ),
    ],
)
def test_a_folder_that_is_no_model_is_reported(whisper, tmp_path, files, message):
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    with pytest.raises(OptionError) as caught:
        whisper.open(str(tmp_path))
    assert message in str(caught.value)


@pytest.mark.parametrize("name", ["enormous", "a/b/c", "-x/y"])
def test_a_name_that_is_no_model_is_reported(whisper, no_cache, name):
    with pytest.raises(OptionError, match="no such folder"):
        whisper.open(name)


def test_segments_of_whisper_become_words(whisper):
    """Its interface, with the fields that faster-whisper 1.2 gives."""
    asked = {}

    class Model:
        def transcribe(self, audio, **options):
            asked.update(options, samples=len(audio))
            segment = SimpleNamespace(start=0.2, end=1.1, text=" I am happy.", no_speech_prob=0.01)
            noise = SimpleNamespace(start=1.2, end=1.4, text=" Thanks!", no_speech_prob=0.9)
            return iter([segment, noise]), SimpleNamespace(language="en")

    transcriptions = list(whisper(Model(), "en-GB").transcribe(quiet(2)))
    assert transcriptions == [Transcription(0.2, 1.1, " I am happy.", "en")]
    assert (asked["language"], asked["samples"], asked["vad_filter"]) == ("en", 32_000, False)


def test_the_options_are_those_of_the_installed_whisper():
    from inspect import signature

    module = pytest.importorskip("faster_whisper", reason="comes with the 'asr' extra")
    known = signature(module.WhisperModel.transcribe).parameters
    assert {
        "language",
        "beam_size",
        "temperature",
        "condition_on_previous_text",
        "vad_filter",
    } <= set(known)


def test_without_the_extra_it_says_what_to_install(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "faster_whisper", None)
    with pytest.raises(SystemExit) as left:
        main(["live", "--device", "cpu", "--source", "x.mp4", "--words", "tiny.en"])
    assert left.value.code == 2
    assert "this needs 'faster_whisper': pip install 'affectstream[asr]'" in capsys.readouterr().err
