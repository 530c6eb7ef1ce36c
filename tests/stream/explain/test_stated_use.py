"""What an explanation states: its recording, and purpose and consent, also those of the run."""

import hashlib
import json
import shutil
import struct
import zlib

import av
import cv2
import numpy as np
import pytest

from affectstream.stream import OptionError, SourceOptions
from affectstream.stream.explain.explanation import Detail
from affectstream.stream.explain.png_text import with_texts
from affectstream.stream.explain.stated_use import inherit_use
from tests.support.command import run_command

COARSE = Detail(face=3, voice_time=3, voice_frequency=3)
USE = ("--purpose", "a study of löve", "--consent", "form 12")


def chunks(png):
    """Kind and data of the chunks of a PNG file."""
    place, found = 8, []
    while place < len(png):
        (length,) = struct.unpack(">I", png[place : place + 4])
        kind, data = png[place + 4 : place + 8], png[place + 8 : place + 8 + length]
        assert struct.unpack(">I", png[place + 8 + length :][:4])[0] == zlib.crc32(kind + data)
        found.append((kind, data))
        place += 12 + length
    return found


def test_every_file_of_an_explanation_states_it(face, tmp_path):
    line = ("explain", face, "--at", "1", "--patches", 3, "-o", tmp_path / "why", *USE)
    assert run_command(*line) == 0
    document = json.loads((tmp_path / "why/explanation.json").read_text())
    assert (document["purpose"], document["consent"]) == USE[1::2]
    assert document["source"] == str(face)
    assert document["input"] == {
        "size": face.stat().st_size,
        "sha256": hashlib.sha256(face.read_bytes()).hexdigest(),
    }
    assert "form 12" in (tmp_path / "why/explanation.html").read_text()
    pictures = list((tmp_path / "why").glob("*.png"))
    assert len(pictures) >= 2
    for path in pictures:
        assert (b"iTXt", b"Consent\0\0\0\0\0form 12") in chunks(path.read_bytes())
        assert cv2.imread(str(path)) is not None


def test_a_video_states_it_too(face, tmp_path):
    times = ("--from", "0.5", "--to", "1.0", "--patches", 3)
    assert run_command("explain", face, *times, "-o", tmp_path / "why", *USE) == 0
    document = json.loads((tmp_path / "why/explanation.json").read_text())
    assert document["consent"] == "form 12" and document["source"] == str(face)
    with av.open(str(tmp_path / "why/explanation.mp4")) as video:
        assert video.metadata["comment"] == "purpose: a study of löve; consent: form 12"


def test_nothing_stated_is_nothing(pocket, face):
    document = pocket.explain(face, 1, detail=COARSE).document
    assert document["purpose"] is None and document["consent"] is None


@pytest.fixture
def run(tmp_path):
    """The folder of the results of a recording, which state purpose and consent."""
    recording = tmp_path / "talk.mp4"
    recording.write_bytes(b"a talk")
    folder = tmp_path / "results/talk.mp4"
    folder.mkdir(parents=True)
    identity = {"size": 6, "sha256": hashlib.sha256(b"a talk").hexdigest()}
    document = {"source": str(recording), "input": identity, "purpose": "p", "consent": "c"}
    (folder / "run.json").write_text(json.dumps(document))
    return folder


def use(*given, **stated):
    options = inherit_use(SourceOptions(**stated), *given)
    return options.purpose, options.consent


def test_purpose_and_consent_of_the_run_are_taken_over(run, tmp_path):
    recording = tmp_path / "talk.mp4"
    assert use(recording, tmp_path / "why", run) == ("p", "c")
    assert use(recording, run / "why/1") == ("p", "c")  # an output in the results
    assert use(recording, tmp_path / "why") == (None, None)
    assert use(recording, run / "why", purpose="p") == ("p", "c")
    assert use(recording, run / "why", consent="d") == ("p", "d")
    # A consent to one purpose is none to another.
    assert use(recording, run / "why", purpose="q") == ("q", None)
    moved = shutil.move(recording, tmp_path / "moved.mp4")
    assert use(moved, run / "why") == ("p", "c")


def test_results_of_another_recording_are_refused(run, tmp_path):
    other = tmp_path / "other.mp4"
    other.write_bytes(b"an other")
    assert use(other, run / "why") == (None, None)
    with pytest.raises(OptionError, match=r"holds results of .*talk\.mp4, not of .*other\.mp4"):
        use(other, tmp_path / "why", run)
    with pytest.raises(OptionError, match=r"holds no run\.json"):
        use(other, tmp_path / "why", tmp_path)


def test_texts_do_not_change_the_picture():
    picture = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    png = cv2.imencode(".png", picture)[1].tobytes()
    assert with_texts(png, {}) == png
    changed = with_texts(png, {"Purpose": "größe"})
    assert [kind for kind, _ in chunks(changed)][:2] == [b"IHDR", b"iTXt"]
    assert (cv2.imdecode(np.frombuffer(changed, np.uint8), 1) == picture).all()


def test_an_event_of_a_scored_recording_is_explained_for_the_same_and_purged_with_it(
    face, tmp_path
):
    recording = shutil.copy(face, tmp_path / "face.mp4")
    assert run_command("score", recording, "-o", tmp_path / "out", "-f", "jsonl", *USE) == 0
    why = tmp_path / "why"
    line = ("explain", recording, "--at", "1", "--patches", 3, "-o", why)
    assert run_command(*line, "--results", tmp_path / "out/face.mp4") == 0
    assert json.loads((why / "explanation.json").read_text())["consent"] == "form 12"
    purge = ("purge", recording, "-o", tmp_path / "out", "--explanations", why)
    assert run_command(*purge) == 0
    assert not list(why.iterdir())
