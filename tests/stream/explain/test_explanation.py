"""Explanations: of the scored hop, by hiding parts of its input from the same engines."""

import json
import shutil

import cv2
import numpy as np
import pytest

from affectstream.engines.manifest import FaceCrop
from affectstream.stream import OptionError, Recognizer, SourceOptions
from affectstream.stream.cli import main
from affectstream.stream.errors import OutputError
from affectstream.stream.events import encode
from affectstream.stream.explain import explanation
from affectstream.stream.explain.explanation import Detail
from affectstream.stream.options import Assignment
from tests.support.media import Sound, write_video
from tests.support.small_bundles import compound, plain

COARSE = Detail(face=3, voice_time=3, voice_frequency=3)
FRAME = FaceCrop(size=16, kind="frame")


def emotions(recognizer, path, options=None):
    return [e for e in recognizer.score(path, options).events if e.type == "emotion"]


@pytest.fixture(scope="module")
def three(tmp_path_factory):
    """A bundle of pictures, voice and words whose logits are 0, s and 2 s (see `small_bundles`)."""
    folder = plain(tmp_path_factory.mktemp("three") / "bundle", crop=FRAME)
    with Recognizer.open(folder, device="cpu", threads=1) as recognizer:
        yield recognizer


def total(scores):
    first, second, _ = scores.values()
    return np.log(second / first)


@pytest.mark.parametrize("hop", [0, 1, 3])
def test_the_explained_scores_are_those_of_the_event(pocket, face, hop):
    events = emotions(pocket, face)
    found = pocket.explain(face, events[hop].t_start + 0.2, detail=COARSE).document
    assert found["event"] == json.loads(encode(events[hop]))
    assert found["explained"]["scores"] == pytest.approx(events[hop].scores, abs=1e-4)
    assert found["explained"]["name"] == max(events[hop].scores, key=events[hop].scores.get)
    assert found["hop"] == hop


def test_every_hop_of_three_modalities_is_explained_as_it_was_scored(three, film):
    events = emotions(three, film)
    assert any(len(event.modalities) == 3 for event in events)
    for event in events:
        found = three.explain(film, event.t_start, detail=COARSE).document
        assert found["explained"]["scores"] == pytest.approx(event.scores, abs=1e-3)
        assert [one["modality"] for one in found["modalities"]] == list(event.modalities)


def test_what_a_modality_contributes_is_the_score_without_it(three, film):
    (event,) = [e for e in emotions(three, film) if e.t_start == 1.5]
    found = three.explain(film, 1.5, detail=COARSE).document
    alone = {one["modality"]: total(one["alone"]["scores"]) for one in found["modalities"]}
    assert sum(alone.values()) == pytest.approx(total(event.scores), abs=0.05)
    for one in found["modalities"]:
        rest = sum(value for name, value in alone.items() if name != one["modality"])
        assert total(one["without"]["scores"]) == pytest.approx(rest, abs=0.05)
        expected = found["explained"]["value"] - one["without"]["value"]
        assert one["change"] == pytest.approx(expected, abs=2e-4)


def test_words_are_left_out_one_by_one(three, film):
    found = three.explain(film, 1.5, SourceOptions(modalities=("text",)), detail=COARSE).document
    assert [one["text"] for one in found["words"]] == ["yes", "well", "no"]
    # The text encoder gives the numbers of the words: 4, 6 and 5 (see `small_bundles`).
    changes = [one["change"] for one in found["words"]]
    assert np.argsort(changes).tolist() == [0, 2, 1]
    assert found["modalities"][0]["without"] is None
    assert not found["face"] and not found["voice"]


def test_hiding_a_part_of_a_picture_that_is_brighter_lowers_its_brightness(tmp_path, three):
    """The face encoder gives the mean color: only parts that differ from it can change anything."""
    from tests.support.media import write_video

    picture = np.zeros((48, 48, 3), np.uint8)
    picture[:, 24:] = 200
    path = write_video(tmp_path / "half.mp4", [picture] * 16, size=(48, 48), rate=16)
    (face,) = three.explain(path, 0.5, explained="sadness", detail=Detail(face=4)).document["face"]
    grid = np.array(face["grid"])
    assert grid[:, 0].max() < -0.001
    assert grid[:, 3].min() > 0.001


def test_members_of_a_bundle_are_explained_together(tmp_path, film):
    seen = plain(tmp_path / "both" / "seen", takes=("video",), crop=FRAME)
    heard = plain(tmp_path / "both" / "heard", takes=("voice", "text"))
    both = compound(tmp_path / "both", [seen, heard], (2.0, 0.5))
    with Recognizer.open(both, device="cpu", threads=1) as recognizer:
        (event,) = [e for e in emotions(recognizer, film) if e.t_start == 1.5]
        found = recognizer.explain(film, 1.5, detail=COARSE).document
    assert found["explained"]["scores"] == pytest.approx(event.scores, abs=1e-3)
    assert len(found["face"]) == len(found["voice"]) == 1 and len(found["words"]) == 3


def test_the_page_and_the_pictures(pocket, face, tmp_path):
    page = pocket.explain(face, "0:01.6", detail=COARSE).write(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} >= {
        "explanation.json",
        "face.png",
        "frame.png",
    }
    assert cv2.imread(str(tmp_path / "face.png")).shape[0] > 100
    text = page.read_text()
    assert (
        "http://" not in text.replace("http://www.w3.org/2000/svg", "") and "https://" not in text
    )
    assert "data:image/png;base64," in text
    regions = json.loads((tmp_path / "explanation.json").read_text())["face"][0]["regions"]
    assert list(regions) == ["forehead", "eyes and brows", "nose and cheeks", "mouth and chin"]


def test_nothing_of_an_earlier_explanation_stays(pocket, face, tmp_path):
    for name in ("face_2.png", "explanation.mp4.0a1b2c3d.tmp", "mine.png", "voice_over.png"):
        (tmp_path / name).write_bytes(b"of somebody")
    pocket.explain(face, 1.6, detail=COARSE).write(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {
        *("explanation.json", "explanation.html", "face.png", "frame.png", "voice.png"),
        *("mine.png", "voice_over.png"),
    }
    pocket.explain_clip(face, 0.5, 1).write(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {
        *("explanation.json", "explanation.mp4", "mine.png", "voice_over.png"),
    }


def test_a_recording_is_not_replaced_by_its_explanation(pocket, face, tmp_path):
    recording = shutil.copy(face, tmp_path / "explanation.mp4")
    with pytest.raises(OutputError, match=r"replace the recording .*: choose another --output"):
        pocket.explain(recording, 1, detail=COARSE).write(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["explanation.mp4"]


def test_an_interrupted_explanation_says_what_its_pictures_are_of(
    pocket, face, tmp_path, monkeypatch
):
    found = pocket.explain(face, 1, detail=COARSE)
    before = explanation.write_atomic

    def die(path, content):
        before(path, content)
        if path.suffix == ".png":
            raise OSError("No space left on device")

    monkeypatch.setattr(explanation, "write_atomic", die)
    with pytest.raises(OutputError):
        found.write(tmp_path)
    assert list(tmp_path.glob("*.png"))
    assert json.loads((tmp_path / "explanation.json").read_text())["source"] == str(face)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"at": 9}, "the recording ends at 2 s"),
        ({"at": 1, "track": 7}, "person 7 to explain; found person 1"),
        ({"at": 1, "explained": "bliss"}, "predicts neutral, anger.*surprise$"),
        ({"at": 1, "explained": "valence"}, "surprise; it derives valence and arousal from these"),
    ],
)
def test_what_cannot_be_explained_is_an_error_that_says_why(pocket, face, options, message):
    with pytest.raises(OptionError, match=message):
        pocket.explain(face, **options)


def test_a_time_before_the_start_is_an_error(pocket, face):
    with pytest.raises(OptionError, match="before --start 1 s"):
        pocket.explain(face, 0.5, SourceOptions(start_us=1_000_000))


def test_a_person_is_chosen_by_number(pocket, face):
    options = SourceOptions(assignment=Assignment(everything=1))
    assert pocket.explain(face, 1, options, track=1, detail=COARSE).document["track"] == 1


def test_the_command(face, tmp_path, capsys):
    arguments = ["explain", face, "--at", "00:01.2", "--patches", 3, "-o", tmp_path / "why"]
    with pytest.raises(SystemExit) as left:
        main(list(map(str, arguments)))
    said = capsys.readouterr().out
    assert not left.value.code
    assert "person 1" in said and "without the part of the face" in said
    assert said.strip().endswith("explanation.html")


def test_a_command_that_finds_nothing_writes_nothing(face, tmp_path, capsys):
    with pytest.raises(SystemExit) as left:
        main(["explain", str(face), "--at", "1:00:00", "-o", str(tmp_path / "none")])
    assert left.value.code == 2 and "ends at 2 s" in capsys.readouterr().err
    assert not (tmp_path / "none").exists()


def test_an_output_that_is_a_file_is_refused_before_anything_is_computed(tmp_path, capsys):
    (tmp_path / "why").write_text("mine")
    with pytest.raises(SystemExit) as left:
        main(["explain", "none.mp4", "--at", "1", "-o", str(tmp_path / "why")])
    said = " ".join(capsys.readouterr().err.replace("│", " ").split())
    assert left.value.code == 2 and "is a file" in said


def test_a_stretch_becomes_a_video_and_the_numbers_of_each_hop(pocket, face, tmp_path, capsys):
    times = ["--from", "0.5", "--to", "0:01.5"]
    with pytest.raises(SystemExit) as left:
        main(["explain", str(face), *times, "--patches", "2", "-o", str(tmp_path)])
    assert not left.value.code and capsys.readouterr().out.strip().endswith("explanation.mp4")
    hops = json.loads((tmp_path / "explanation.json").read_text())["hops"]
    events = emotions(pocket, face)
    assert [hop["event"]["scores"] for hop in hops] == [events[n].scores for n in (1, 2)]
    video = cv2.VideoCapture(str(tmp_path / "explanation.mp4"))
    assert video.get(cv2.CAP_PROP_FRAME_COUNT) == pytest.approx(25, abs=2)
    assert json.loads((tmp_path / "explanation.json").read_text())["notes"] == []
    with pytest.raises(OptionError, match="at most 120 s"):
        pocket.explain_clip(face, 1, 1000)
    with pytest.raises(OptionError, match="from 2 to 1 s: expected an end after the beginning"):
        pocket.explain_clip(face, 2, 1)


def test_a_stretch_beyond_the_end_says_what_it_covers(face, tmp_path, capsys):
    times = ["--from", "1.5", "--to", "9"]
    with pytest.raises(SystemExit) as left:
        main(["explain", str(face), *times, "--patches", "2", "-o", str(tmp_path)])
    assert not left.value.code
    said = capsys.readouterr().err
    assert "of 1.5 to 9 s, 0.5 s have results of person 1, between 1.5 and 2 s" in said
    (note,) = json.loads((tmp_path / "explanation.json").read_text())["notes"]
    assert note in said


def test_a_stretch_of_sound_alone_cannot_be_drawn(pocket, tmp_path):
    hum = Sound(np.zeros((32_000, 1), np.float32), 16_000, "flac")
    with pytest.raises(OptionError, match=r"hum\.flac has no pictures, over which a video could"):
        pocket.explain_clip(write_video(tmp_path / "hum.flac", 0, sound=hum), 0, 1)


@pytest.mark.parametrize("times", [[], ["--from", "1"], ["--at", "1", "--to", "2"]])
def test_a_command_without_a_time_or_with_two_is_an_error(face, tmp_path, capsys, times):
    with pytest.raises(SystemExit) as left:
        main(["explain", str(face), *times, "-o", str(tmp_path)])
    assert left.value.code == 2 and "--from" in capsys.readouterr().err
