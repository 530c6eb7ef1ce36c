"""Whose mouth moves with the voice: the filter alone, and in recordings of one and of two faces."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from affectstream.stream import Assignment, SourceOptions
from affectstream.stream.demo import mouth_openings, open_mouth, portrait, syllables
from affectstream.stream.faces.face import Face
from affectstream.stream.faces.measures.quality import Quality
from affectstream.stream.fusion.speaking import Speaking, SpeakingMouths
from affectstream.stream.media.types import SAMPLE_RATE
from affectstream.stream.windowing.windows import TrackSample, Window
from tests.support.media import Sound, write_video

HZ, POINTS, WINDOW_S = 8, 4, 3
FACE = Face((0, 0, 9, 9), np.zeros((5, 2), np.float32), 1.0, quality=Quality(1.0, 1.0, 1.0))


def windows(mouths, sound, late_us=0):
    """The windows of `sound` with mouths: openings `late_us` after each grid point, by track."""
    hops = len(sound) * 2 // SAMPLE_RATE
    padded = np.concatenate([np.zeros(WINDOW_S * SAMPLE_RATE, np.float32), sound])
    for hop in range(hops):
        end = (hop + 1) * POINTS
        end_sample = end * SAMPLE_RATE // HZ
        tracks = {
            track: tuple(
                TrackSample(
                    p, p * 125_000 + late_us, (9, 9), replace(FACE, mouth_open=float(openings[p]))
                )
                for p in range(max(0, end - WINDOW_S * HZ), min(end, len(openings)))
                if openings[p] is not None
            )
            for track, openings in mouths.items()
        }
        yield Window(
            hop=hop,
            start_us=hop * 500_000,
            end_us=end * 125_000,
            tracks={track: samples for track, samples in tracks.items() if samples},
            sound=padded[end_sample : end_sample + WINDOW_S * SAMPLE_RATE, None],
            voiced_us=(2_000_000,),
            cue=None,
        )


def follow(mouths, sound, voiced=True):
    """What the filter says at the end of each hop."""
    filter_ = SpeakingMouths(HZ, POINTS)
    return [
        filter_.push(window, list(window.tracks), voiced=voiced)
        for window in windows(mouths, sound)
    ]


@pytest.fixture(scope="module")
def talk():
    """Six seconds in which somebody speaks, pauses for a second, and speaks again."""
    sound = syllables(6)
    sound[2 * SAMPLE_RATE : 3 * SAMPLE_RATE] = 0
    return sound


@pytest.fixture(scope="module")
def speaking(talk):
    """The mouth of the speaker: with the sound, it opens and closes."""
    random = np.random.default_rng(1)
    openings = np.array(mouth_openings(talk, HZ))
    return np.where(openings > 0.05, random.uniform(0, 0.3, len(openings)), 0.02)


def resting(n, seed=2):
    return np.random.default_rng(seed).uniform(0, 0.015, n)


def babbling(n, seed=3):
    """A mouth that moves all the time."""
    return np.random.default_rng(seed).uniform(0, 0.3, n)


def test_the_mouth_that_moves_with_the_voice_speaks(talk, speaking):
    found = follow({4: resting(48), 7: speaking}, talk)
    assert {one.speaker for one in found[1:]} == {7}
    assert sum(found[-1].by_track.values()) <= 1


def test_a_pause_tells_the_speaker_from_a_mouth_that_always_moves(talk, speaking):
    found = follow({1: babbling(48), 2: speaking}, talk)
    assert {one.speaker for one in found[:4]} <= {None, 2}
    assert {one.speaker for one in found[6:]} == {2}


def test_nobody_in_view_speaks_where_all_mouths_rest(talk):
    found = follow({1: resting(48), 2: resting(48, 5)}, talk)
    assert {one.speaker for one in found} == {None}
    assert max(found[-1].by_track.values()) < 0.05


def test_a_lone_mouth_that_rests_contradicts_and_one_that_moves_does_not(talk, speaking):
    silent, own = follow({1: resting(48)}, talk), follow({1: speaking}, talk)
    assert [one.contradicts(1) for one in silent[3:]] == [True] * 9
    assert not any(one.contradicts(1) for one in own)
    assert own[-1].speaker == 1


def test_a_mouth_that_is_not_measured_says_nothing(talk):
    """It must not win because the other one rests."""
    found = follow({1: resting(48), 2: [None] * 48, 3: [0.1] + [None] * 47}, talk)
    assert {one.speaker for one in found} == {None}
    assert not Speaking().contradicts(1)


def test_without_a_voice_nobody_speaks_and_evidence_fades(talk, speaking):
    assert {one.speaker for one in follow({1: speaking}, talk, voiced=False)} == {None}
    mouths = SpeakingMouths(HZ, POINTS)
    shown = list(windows({1: speaking}, talk))
    assert [mouths.push(window, [1], voiced=True) for window in shown[:4]][-1].speaker == 1
    for _ in range(60):
        faded = mouths.push(shown[-1], [1], voiced=False)
    assert faded.speaker is None


def test_frames_that_are_looked_at_late_are_compared_with_the_sound_of_their_time(talk, speaking):
    def loudness(late_us):
        mouths = SpeakingMouths(HZ, POINTS)
        mouths._peak_db = -5.0  # louder than all of it: what is heard does not change the scale
        shown = windows({1: speaking}, talk, late_us)
        return [mouths._loudness(window, window.hop * POINTS) for window in shown]

    on_time_hops = loudness(0)
    assert np.max(on_time_hops) > 0.1
    for on_time, late in zip(on_time_hops, loudness(125_000), strict=True):
        assert list(on_time[1:-1]) == pytest.approx(list(late[:-2]))


def test_speakers_take_turns():
    first, second = syllables(6), syllables(6, seed=4)
    random = np.random.default_rng(6)
    moving = random.uniform(0, 0.3, 48)
    ann = np.concatenate([moving, resting(48)])
    ben = np.concatenate([resting(48, 7), moving[::-1]])
    found = follow({1: ann, 2: ben}, np.concatenate([first, second]))
    assert {one.speaker for one in found[1:12]} == {1}
    assert {one.speaker for one in found[16:]} == {2}


def test_the_result_does_not_depend_on_how_loud_the_recording_is(talk, speaking):
    mouths = {1: babbling(48), 2: speaking}
    loud = [one.speaker for one in follow(mouths, talk)]
    assert [one.speaker for one in follow(mouths, talk * 0.1)] == loud


# --- in recordings ---


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """Two faces beside each other for four seconds; the mouth of the right one moves with the sound."""
    pytest.importorskip("skimage", reason="the portrait comes with the 'demo' extra")
    ann = portrait()
    sound = syllables(4)
    pictures = []
    for opening in mouth_openings(sound, 25):
        ben = open_mouth(ann, opening)[:, ::-1, [2, 0, 1]]  # another person to the tracker
        pictures.append(np.concatenate([ann, ben], 1)[:288])
    size = pictures[0].shape[1], pictures[0].shape[0]
    folder = tmp_path_factory.mktemp("pair")
    (folder / "words.vtt").write_text("WEBVTT\n\n00:00.500 --> 00:02.000\nhow lovely\n")
    return write_video(
        folder / "pair.mp4", pictures, size=size, rate=25, sound=Sound(sound[:, None], SAMPLE_RATE)
    )


def given(recognizer, path, **options):
    """Track and `assigned_by` of voice and of words in the hops from 1 s on."""
    result = recognizer.score(path, SourceOptions(**options))
    rows = [e for e in result.events if e.type == "emotion" and e.t_start >= 1]
    return [
        {(e.track, e.assigned_by) for e in rows if modality in e.modalities}
        for modality in ("voice", "text")
    ]


def test_voice_and_words_go_to_the_face_whose_mouth_moves(recognizer, pair):
    (voice, words) = given(recognizer, pair, transcript=pair.parent / "words.vtt")
    assert voice == words == {(2, "mouth")}


def test_an_option_wins_over_the_mouths(recognizer, pair):
    words = pair.parent / "words.vtt"
    found = given(recognizer, pair, transcript=words, assignment=Assignment(everything=1))
    assert found == [{(1, "option")}, {(1, "option")}]
    found = given(recognizer, pair, assignment=Assignment(names={"Ann": 1}))
    assert found[0] == {(None, None)}


def test_the_only_face_gets_no_voice_while_its_mouth_rests(recognizer, tmp_path):
    pytest.importorskip("skimage", reason="the portrait comes with the 'demo' extra")
    picture = portrait()[:288]
    sound = Sound(syllables(5)[:, None], SAMPLE_RATE)
    path = write_video(
        tmp_path / "voice_over.mp4", [picture] * 125, size=(320, 288), rate=25, sound=sound
    )
    result = recognizer.score(path)
    voiced = [e for e in result.events if e.type == "emotion" and "voice" in e.modalities]
    assert {e.track for e in voiced if e.t_start >= 2.5} == {None}
