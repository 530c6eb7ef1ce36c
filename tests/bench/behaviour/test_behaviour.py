"""`bench behaviour` on small material that is made here."""

import json
import math
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from affectstream.bench.behaviour import intervals
from affectstream.bench.behaviour.command import main
from affectstream.bench.behaviour.material import sounds
from affectstream.bench.behaviour.material.media import read_sound, write_sound, write_video
from affectstream.bench.behaviour.report import Measure, NotMeasured, Promise
from affectstream.bench.behaviour.section_list import SECTIONS
from affectstream.bench.behaviour.sections import (
    nonspeech,
    pose,
    reaction,
    roll,
    segments,
    speaker,
    voice_reaction,
)
from affectstream.bench.behaviour.sections.attention import LOOKS, checked_by_eye
from affectstream.bench.behaviour.sections.change import Change, reports_of
from affectstream.engines.errors import UsageError
from affectstream.stream import Emotion, Segment
from affectstream.train.loader.faces.squares import is_held


@pytest.fixture
def data(tmp_path, portrait):
    """A folder of data with one recording: a portrait for three seconds."""
    folder = tmp_path / "data" / "video"
    folder.mkdir(parents=True)
    write_video(folder / "single_face.mp4", [portrait[:360, 40:400]] * 24, 8)
    return folder.parent


def test_two_sections_print_tables_and_end_with_json(data, tmp_path, capsys):
    main(data, "pocket", ["people", "roll"], None, tmp_path / "out")
    lines = capsys.readouterr().out.splitlines()
    result = json.loads(lines[-1])
    assert list(result["sections"]) == ["people", "roll"]
    (alone, *_) = result["sections"]["people"]["measures"]
    assert (alone["value"], alone["n"], alone["holds"]) == (100.0, 1, True)
    turned = {m["name"]: m for m in result["sections"]["roll"]["measures"]}
    assert turned["slope"]["n"] >= 1 and turned["slope"]["promise"]["at_least"] == 0.95
    assert sum(line.startswith("## ") for line in lines) == 2
    assert json.loads((tmp_path / "out" / "behaviour.json").read_text()) == result
    assert (tmp_path / "out" / "behaviour.png").stat().st_size > 1000


def test_json_alone(data, capsys):
    main(data, "pocket", ["people"], None, None, as_json=True)
    (line,) = capsys.readouterr().out.splitlines()
    assert json.loads(line)["sections"]["people"]["measures"]


def test_a_section_without_its_data_gives_the_reason(data, capsys):
    shutil.rmtree(data / "video")
    main(data, "pocket", ["pose", "people", "attention"], None, None)
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    reasons = [section["not_measured"] for section in result["sections"].values()]
    assert "--teacher" in reasons[0] and "video" in reasons[1] and "zip" in reasons[2]


def test_an_unknown_section_is_refused(data):
    with pytest.raises(UsageError, match=r"--only gait.*roll"):
        main(data, "pocket", ["gait"], None, None)


def test_promises_have_two_sides():
    assert Promise(0.95, 1.05).holds(1.0) and not Promise(0.95, 1.05).holds(0.03)
    assert json.dumps(Measure("slope", np.float64(1.0), 1, promise=Promise(0.95, 1.05)).as_json())
    assert Measure("slope", None, 0, promise=Promise(at_least=1.0)).holds is None


def test_intervals_hold_the_value():
    low, high = intervals.share(8, 10)
    assert 40 < low < 80 < high < 100
    assert intervals.share(0, 0) is None and intervals.bootstrap(np.mean, [1, 2]) is None
    low, high = intervals.bootstrap(lambda drawn: float(np.mean(drawn)), list(range(20)))
    assert low < 9.5 < high


def test_slope_of_a_roll_that_follows_half_the_way():
    turned = [
        roll.Turned(str(offset), {a: 0.5 * a + offset for a in roll.ANGLES}) for offset in (0, 7)
    ]
    assert roll.slope(turned) == pytest.approx(0.5)
    assert roll.residual(turned) == pytest.approx(0.0, abs=1e-9)
    assert max(roll.rotate(np.zeros((40, 60, 3), np.uint8), 30).shape) >= 60


def test_speech_of_each_second_comes_out_of_overlapping_windows():
    hops = np.array([0, 0, 1, 1, 1, 0, 0, 0, 1, 0.5, 0, 0])
    window = 6
    voiced = [float(hops[max(0, k - window + 1) : k + 1].sum()) / window for k in range(len(hops))]
    rows = [{"voiced": round(v, 4)} for v in voiced]
    found = nonspeech.per_second(rows, 0.5, window)
    assert found == pytest.approx(hops.reshape(-1, 2).mean(axis=1).tolist(), abs=0.01)


def test_sound_keeps_its_level_and_survives_a_file(tmp_path):
    made = sounds.non_speech(2.0)
    assert len({s.name for s in made}) == len(made) > 20
    for one in made:
        assert len(one.sound) == 32_000 and np.isfinite(one.sound).all(), one.name
    (pink,) = [s.sound for s in made if s.name == "pink noise -30 dBFS"]
    assert 20 * np.log10(np.sqrt(np.mean(pink**2))) == pytest.approx(-30, abs=0.01)
    back = read_sound(write_sound(tmp_path / "pink.wav", pink))
    assert len(back) == len(pink) and np.abs(back - pink).max() < 1e-3


def test_a_segment_against_its_hops():
    def hop(n, label, track=1):
        return Emotion(
            stream="a", track=track, t_start=n / 2, t_end=(n + 1) / 2, modalities=("video",),
            label=label, confidence=None, scores=None, abstain=None, assigned_by=None,
        )  # fmt: skip

    segment = Segment(
        stream="a", track=1, t_start=0.5, t_end=2.5, modalities=("video",), of="emotion",
        state="happy", mean=0.6, peak=0.7,
    )  # fmt: skip
    labels = ["sad", "happy", None, "happy", "happy", "happy"]
    events = [*(hop(n, label) for n, label in enumerate(labels)), hop(2, "sad", track=2), segment]
    (found,) = segments.agreements(events, "a")
    assert (found.hops, found.same, found.labeled) == (4, 3, 3)


def test_a_change_is_followed_by_hops_and_segments():
    def row(n, label):
        return {"t_start": n / 2, "t_end": (n + 1) / 2, "label": label}

    def segment(state, start, end):
        return Segment(
            stream="a", track=1, t_start=start, t_end=end, modalities=("voice",), of="emotion",
            state=state, mean=0.6, peak=0.7,
        )  # fmt: skip

    change = Change("a", "anger", "joy", at_s=2.2)
    rows = [row(n, label) for n, label in enumerate(["joy", *["anger"] * 5, None, "joy", "joy"])]
    events = [segment("anger", 0.5, 3.0), segment("joy", 3.5, 4.5)]
    found = change.followed(rows, events)
    assert found.delay_s == pytest.approx(1.3), "the joy before the change does not count"
    assert found.known_s == pytest.approx(1.8)
    assert (found.onset_s, found.offset_s) == pytest.approx((1.3, 0.8))
    at_once = change.followed([row(4, "joy")], [])
    assert (at_once.delay_s, at_once.onset_s) == (0.0, math.inf)
    never = change.followed(rows[:7], events)
    assert (never.delay_s, never.onset_s) == (math.inf, pytest.approx(1.3))
    measures = {m.name: m for m in reports_of([found, at_once, never])}
    assert measures["delay, median"].value == pytest.approx(1.3)
    assert measures["label came at all"].value == pytest.approx(200 / 3)


def test_acted_sentences_are_those_of_speakers_who_were_not_learned_from(tmp_path):
    for name in ("ravdess/Actor_01/03-01-05-01-01-01-01", "ravdess/Actor_17/03-01-05-01-01-01-17"):
        path = tmp_path / f"{name}.flac"
        path.parent.mkdir(parents=True)
        path.touch()
    for name in ("emodb/wav/03a01Fa.flac", "emodb/wav/13a01Wa.flac", "nemo/KS0/KS0_fear_2.ogg"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    ways = {
        speaker: [way for way, _ in found]
        for speaker, found in voice_reaction.read_speakers(tmp_path).items()
    }
    assert ways == {"RAVDESS 17": ["05"], "EMO-DB 13": ["W"], "nEMO KS0": ["fear"]}


def test_no_splice_cuts_from_one_person_to_another():
    assert reaction.shows_one_person(Path("driving_d9.mp4"))
    assert reaction.shows_one_person(Path("mine.mp4")), "nobody counted its people"
    assert not reaction.shows_one_person(Path("two_people.mp4"))


def test_boxes_overlap():
    row = {"left": 0.0, "top": 0.0, "right": 0.5, "bottom": 0.5}
    boxes = np.array([[0, 0, 0.5, 0.5], [0.25, 0, 0.75, 0.5], [0.6, 0.6, 1, 1]], np.float32)
    assert pose.overlap(row, boxes).tolist() == pytest.approx([1.0, 1 / 3, 0.0])


def test_answers_with_times_of_another_clock_are_refused():
    old = SimpleNamespace(teacher_answers=lambda name: {"time": np.zeros(3)})
    with pytest.raises(NotMeasured, match="run the script again"):
        pose.measure(old)


def test_photos_are_of_people_who_are_kept_out_of_training():
    photos = checked_by_eye()
    assert all(is_held(file) for file, _ in photos)
    assert {looks for _, looks in photos} == set(LOOKS)
    assert 100 <= len(photos) == len(dict(photos)) <= 200


def test_the_guide_lists_every_section():
    guide = (Path(__file__).parents[3] / "docs/guides/behaviour.md").read_text()
    assert [name for name in SECTIONS if f"| `{name}` |" not in guide] == []


def test_a_voice_goes_to_the_face_on_the_side_of_the_talker():
    is_left = {1: True, 2: False}
    given = [speaker.given_to({"track": track}, is_left, True) for track in (1, 2, None)]
    assert given == ["right", "wrong", "nobody"]
