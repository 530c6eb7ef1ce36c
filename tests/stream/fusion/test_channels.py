"""One speaker on each side of stereo sound: both have their own readings, in view or not."""

import wave

import av
import numpy as np
import pytest

from affectstream.engines.bundle.bundle import Bundle
from affectstream.stream import Assignment, OptionError, SourceOptions
from affectstream.stream.demo import babble
from affectstream.stream.fusion.fuse import Fuser
from affectstream.stream.media.types import SAMPLE_RATE
from affectstream.stream.windowing.windows import Window
from tests.stream.live.test_session import Played, bare
from tests.support.media import Sound, write_video

SIDES = Assignment(channels=(1, 2))
ANN = babble(6)[: 4 * SAMPLE_RATE]
BEN = np.roll(ANN, SAMPLE_RATE)[::-1]


@pytest.fixture(scope="module")
def call(tmp_path_factory):
    return record(tmp_path_factory.mktemp("call") / "call.wav", ANN, BEN)


def record(path, left, right):
    """A call without a picture, `left` and `right` (n,) in [-1, 1]."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(2)
        file.setsampwidth(2)
        file.setframerate(SAMPLE_RATE)
        file.writeframes((np.stack([left, right], 1) * 32767).astype("<i2").tobytes())
    return path


def score(recognizer, path, assignment=SIDES, **options):
    return recognizer.score(path, SourceOptions(assignment=assignment, **options))


def emotions(result, track):
    return [e for e in result.events if e.type == "emotion" and e.track == track]


def scores(result, track):
    return [e.scores for e in emotions(result, track)]


def warnings(result):
    return [e.detail for e in result.events if e.type == "stream" and e.what == "warning"]


def test_each_side_of_a_call_without_a_picture_is_read_for_its_person(recognizer, call, tmp_path):
    both = score(recognizer, call)
    assert {e.track for e in both.events if e.type == "emotion"} == {1, 2}
    for track in (1, 2):
        found = emotions(both, track)
        assert [e.t_start for e in found] == [hop / 2 for hop in range(8)]
        spoken = [e for e in found if e.modalities == ("voice",)]
        assert len(spoken) >= 5
        assert {e.assigned_by for e in spoken} == {"channel"}
        assert {e.track for e in both.events if e.type == "segment" and e.of == "emotion"} >= {
            track
        }
    assert scores(both, 1) != scores(both, 2)
    assert warnings(both) == []

    quiet = score(recognizer, record(tmp_path / "muted.wav", ANN, 0 * BEN))
    # A batch of one side and one of both round differently.
    for alone, beside in zip(scores(quiet, 1), scores(both, 1), strict=True):
        assert alone == (beside if beside is None else pytest.approx(beside, abs=2e-4))
    assert {(e.abstain, e.assigned_by) for e in emotions(quiet, 2)} == {("no_speech", None)}

    other = score(recognizer, call, Assignment(channels=(2, 1)))
    assert (scores(other, 2), scores(other, 1)) == (scores(both, 1), scores(both, 2))


def test_both_who_speak_in_one_window_are_heard():
    window = Window(
        hop=5,
        start_us=2_500_000,
        end_us=3_000_000,
        tracks={},
        sound=np.stack([ANN, BEN], 1)[: 3 * SAMPLE_RATE],
        voiced_us=(2_000_000, 2_500_000),
        cue=None,
    )
    with Bundle.open("pocket", device="cpu") as bundle:
        readings = Fuser(bundle, assignment=SIDES, modalities=("voice",)).push(window)
    found = [(r.track, r.assigned_by, round(r.voiced, 3)) for r in readings]
    assert found == [(1, "channel", 0.667), (2, "channel", 0.833)]


def test_live_reads_the_sides_of_a_call_as_score_does(recognizer, call):
    scored = score(recognizer, call)
    played = Played(recognizer, modalities=("voice",), options=SourceOptions(assignment=SIDES))
    with av.open(str(call)) as container:
        played.push([(round(f.pts * f.time_base * 1e6), f) for f in container.decode(audio=0)])
    played.session.close()
    live = [bare(event) for event in played.events if event.type != "stream"]
    filed = [bare(event) for event in scored.events if event.type != "stream"]
    for one in live + filed:
        one.pop("stream")
    assert len(filed) >= 16
    assert live == filed


def test_words_without_a_speaker_belong_to_the_recording(recognizer, call, tmp_path):
    said = tmp_path / "said.srt"
    said.write_text("1\n00:00:00,200 --> 00:00:01,000\nI am so happy!\n")
    result = score(recognizer, call, transcript=said)
    used = {
        (e.track, e.modalities) for e in result.events if e.type == "emotion" and e.t_start == 2.0
    }
    assert used == {(1, ("voice",)), (2, ("voice",)), (None, ("text",))}


def test_words_of_two_speakers_do_not_belong_to_the_only_track_in_view(recognizer, tmp_path):
    pytest.importorskip("skimage", reason="the portrait comes with the 'demo' extra")
    from affectstream.stream.demo import portrait

    picture = portrait()[:288]
    size = (picture.shape[1], picture.shape[0])
    sound = Sound(np.stack([ANN, BEN], 1)[: 3 * SAMPLE_RATE], SAMPLE_RATE)
    path = write_video(tmp_path / "call.mp4", [picture] * 75, size=size, sound=sound)
    said = tmp_path / "said.vtt"
    said.write_text("WEBVTT\n\n00:00.200 --> 00:01.000\nI am so happy!\n")
    result = score(recognizer, path, transcript=said)
    used = {
        e.track: (e.modalities, e.assigned_by)
        for e in result.events
        if e.type == "emotion" and e.t_start == 2.0
    }
    assert used == {
        1: (("video", "voice"), "channel"),
        2: (("voice",), "channel"),
        None: (("text",), None),
    }
    assert warnings(result) == ["person 2 was never seen"]


def test_a_cue_of_a_named_speaker_joins_the_voice_of_the_same_side(recognizer, call, tmp_path):
    said = tmp_path / "said.vtt"
    said.write_text("WEBVTT\n\n00:00.200 --> 00:01.000\n<v Ben>I am so happy!\n")
    assignment = Assignment(channels=(1, 2), names={"Ben": 2})
    result = score(recognizer, call, assignment, transcript=said)
    (found,) = [e for e in emotions(result, 2) if e.t_start == 2.0]
    assert (found.modalities, found.assigned_by) == (("voice", "text"), "transcript")


def test_both_sides_cannot_be_the_same_person():
    with pytest.raises(OptionError, match="both sides of the sound are of track 3"):
        Assignment.parse([], "left=3,right=3")
