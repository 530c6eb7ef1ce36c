"""Assigning voice and words to two people in view, by default and by options."""

import json

import numpy as np
import pytest

from affectstream.stream import Assignment, OptionError, Recognizer, SourceError, SourceOptions
from affectstream.stream.demo import babble, portrait
from tests.support.media import Sound, write_video


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """Two people beside each other for three seconds; only the left channel speaks."""
    pytest.importorskip("skimage", reason="the portrait comes with the 'demo' extra")
    ann = portrait()
    ben = ann[:, ::-1, [2, 0, 1]]  # mirrored and in other colors: another person to the tracker
    picture = np.concatenate([ann, ben], 1)[:288]
    talk = babble(6)[: 3 * 16_000]
    sound = Sound(np.stack([talk, 0 * talk], 1), 16_000)
    folder = tmp_path_factory.mktemp("pair")
    size = (picture.shape[1], picture.shape[0])
    path = write_video(folder / "pair.mp4", [picture] * 75, size=size, sound=sound)
    (folder / "said.vtt").write_text(
        "WEBVTT\n\n00:00.200 --> 00:01.000\n<v Ann>I am so happy!\n\n"
        "00:01.200 --> 00:02.000\n<v Ben>Oh no, that is terrible.\n"
    )
    return path


def score(path, **options):
    with Recognizer.open(threads=2) as recognizer:
        return recognizer.score(path, SourceOptions(**options))


def used(result, t_start):
    """Modalities and `assigned_by` of each track in the hop that starts at `t_start`."""
    return {
        event.track: (event.modalities, event.assigned_by)
        for event in result.events
        if event.type == "emotion" and event.t_start == t_start
    }


def test_two_people_are_read_by_their_faces_and_the_recording_by_its_voice(pair):
    found = used(score(pair), 2.0)
    assert found == {1: (("video",), None), 2: (("video",), None), None: (("voice",), None)}


def test_everything_belongs_to_the_track_that_is_named(pair):
    found = used(score(pair, assignment=Assignment(everything=2)), 2.0)
    assert found == {1: (("video",), None), 2: (("video", "voice"), "option")}


def test_one_speaker_a_side(pair):
    found = used(score(pair, assignment=Assignment(channels=(1, 2))), 2.0)
    assert found == {1: (("video", "voice"), "channel"), 2: (("video",), None)}
    found = used(score(pair, assignment=Assignment(channels=(2, 1))), 2.0)
    assert found[2] == (("video", "voice"), "channel")


def test_names_in_the_transcript(pair):
    names = {"Ann": 1, "Ben": 2}
    options = {"transcript": pair.with_name("said.vtt"), "assignment": Assignment(names=names)}
    result = score(pair, **options)
    assert used(result, 1.0)[1] == (("video", "voice", "text"), "transcript")
    assert used(result, 2.0)[2] == (("video", "voice", "text"), "transcript")
    assert "text" not in used(result, 2.0)[1][0]


def test_assignments_that_match_nothing_are_reported(pair):
    result = score(pair, assignment=Assignment(names={"Zoe": 9}))
    warnings = [e.detail for e in result.events if e.type == "stream" and e.what == "warning"]
    assert warnings == [
        "person 9 was never seen",
        "nobody in the transcript is named 'Zoe'",
    ]


def test_one_speaker_a_side_needs_two_sides(tmp_path):
    sound = Sound(babble(1)[:, None], 16_000)
    path = write_video(tmp_path / "mono.mp4", 25, sound=sound)
    with pytest.raises(SourceError, match="needs stereo sound, found 1 channels"):
        score(path, assignment=Assignment(channels=(1, 2)))


@pytest.mark.parametrize("language", ["en", "eng", "EN", "en-US", "en_GB"])
def test_every_spelling_of_english_is_english(pair, language):
    result = score(pair, transcript=pair.with_name("said.vtt"), language=language)
    assert "text" in used(result, 2.0)[None][0]


def test_no_language_at_all_is_refused(pair):
    with pytest.raises(OptionError, match="'klingon' is not known"):
        score(pair, language="klingon")


def test_a_malformed_transcript_beside_a_recording_is_only_reported(pair):
    beside = pair.with_suffix(".srt")
    beside.write_text("")
    try:
        result = score(pair)
    finally:
        beside.unlink()
    (warning,) = [e.detail for e in result.events if e.type == "stream" and e.what == "warning"]
    assert "transcript is not used: pair.srt" in warning
    assert str(pair.parent) not in warning
    assert result.complete


def test_focal_length_is_in_pixels_of_the_recording(tmp_path):
    pytest.importorskip("skimage", reason="the portrait comes with the 'demo' extra")
    import cv2

    yaws = []
    for width in (1280, 2560):
        face = cv2.resize(portrait(), (width // 4, width // 4 * 290 // 320))
        picture = np.full((width * 9 // 16, width, 3), 60, np.uint8)
        picture[width // 8 : width // 8 + face.shape[0], : face.shape[1]] = face
        path = write_video(tmp_path / f"{width}.mp4", [picture] * 13, size=(width, width * 9 // 16))
        table = score(path, focal_px=0.35 * width).readings
        yaws.append(table.column("yaw").to_pylist()[0])
    assert yaws[0] == pytest.approx(yaws[1], abs=2.0)


def test_times_stay_within_the_requested_part(pair):
    result = score(pair, start_us=700_000, end_us=1_300_000)
    spans = [(e.t_start, e.t_end) for e in result.events]
    assert min(start for start, _ in spans) == 0.7
    assert max(end for _, end in spans) <= 1.35
    rows = result.readings.to_pylist()
    assert rows[0]["t_start"] == 0.7
    assert json.dumps(spans)


def test_a_video_without_sound_ends_when_it_ends(tmp_path):
    path = write_video(tmp_path / "short.mp4", 33)  # 1.32 s
    result = score(path)
    assert max(event.t_end for event in result.events) == 1.32
