"""Interviews with AFFDEX exports: each frame gets the annotation of its own moment, or none."""

import numpy as np
import pytest

from affectstream.stream.errors import OptionError
from affectstream.train.data.options import Options
from affectstream.train.data.readers.affdex import find
from affectstream.train.data.reading.crops import Cropper
from affectstream.train.data.reading.reader import Skipped, Warned
from affectstream.train.data.sample import Sample
from affectstream.train.errors import DataError, DataMissing
from tests.support.imotions_exports import EMOTIONS, new_export, old_export
from tests.support.media import (
    Sound,
    numbered,
    read_number,
    tone,
    write_video,
)

FPS = 25


def face(**values):
    return {
        name: values.get(name, 1.0) for name in (*EMOTIONS, "Attention", "Engagement", "Valence")
    }


def annotations(count, late_ms=0.0):
    """One a frame, in which Joy is the number of the frame."""
    return [(n * 1000 / FPS + late_ms, face(Joy=float(n))) for n in range(count)]


@pytest.fixture
def folder(tmp_path):
    """Two seconds whose pictures carry their number, with the export of version 7."""
    write_video(tmp_path / "P01.mp4", [numbered(n) for n in range(50)], rate=FPS)
    old_export(tmp_path / "P01.txt", annotations(50))
    return tmp_path


def made(path, options=None, cropper=None):
    cropper = cropper or Cropper("frame", 64)
    out = [one for job in find(path, options or Options()).jobs for one in job.run(cropper)]
    by_kind = {kind: [o for o in out if isinstance(o, kind)] for kind in (Sample, Skipped, Warned)}
    return by_kind[Sample], by_kind[Skipped], by_kind[Warned]


def shown(sample):
    return read_number(sample.crops[0][8:56])


def joy(sample):
    return round(sample.intensities[4] * 100)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (Options(), [k * 25 // 8 for k in range(16)]),
        (Options(every=7), list(range(0, 50, 7))),
        (Options(every=1), list(range(50))),
        (Options(rate=5), list(range(0, 50, 5))),
        (Options(rate=0.7), [0, 35]),
    ],
)
def test_frames_and_annotations_are_of_one_moment(folder, options, expected):
    samples, skipped, warnings = made(folder, options)
    assert [shown(s) for s in samples] == expected
    assert [joy(s) for s in samples] == expected
    assert [s.start_us for s in samples] == [n * 40_000 for n in expected]
    assert [s.turn for s in samples] == list(range(len(expected)))
    assert skipped == warnings == []
    assert {(s.participant, s.age, s.gender, s.dialogue) for s in samples} == {
        ("P01", 29, "female", "P01")
    }


def test_an_annotation_further_away_than_half_a_frame_is_none(folder):
    old_export(folder / "P01.txt", annotations(50, late_ms=18))
    assert len(made(folder, Options(every=1))[0]) == 50
    old_export(folder / "P01.txt", annotations(5, late_ms=25))
    samples, skipped, _ = made(folder, Options(every=1))
    # The annotation 25 ms late of one frame is 15 ms early of the next.
    assert [joy(s) for s in samples] == [0, 1, 2, 3, 4]
    assert [shown(s) for s in samples] == [1, 2, 3, 4, 5]
    assert (skipped[0].reason, skipped[0].count) == ("no annotation near the frame", 45)
    assert skipped[0].detail == "annotations run from 0.0 to 0.2 s"
    samples, _, _ = made(folder, Options(every=1, offset_ms=-25.0))
    assert [shown(s) for s in samples] == [0, 1, 2, 3, 4]


def test_the_emotion_is_the_strongest_from_a_half_on(folder):
    faces = [face(Joy=70.0, Fear=80.0), face(Joy=49.0), face(Contempt=50.0), None]
    old_export(folder / "P01.txt", [(n * 40.0, f) for n, f in enumerate(faces)])
    samples, skipped, _ = made(folder, Options(every=1))
    assert [s.emotion for s in samples] == ["fear", "neutral", "contempt"]
    assert samples[0].intensity == pytest.approx(0.8)
    assert samples[1].intensity is None
    assert np.isnan(samples[0].intensities[0])  # version 7 has no column for neutral
    assert samples[0].attention == pytest.approx(0.01)
    reasons = {s.reason: s.count for s in skipped}
    assert reasons == {"no annotation near the frame": 46, "the face sensor saw no face": 1}


def test_sound_before_the_frame_goes_with_it(tmp_path):
    sound = Sound(np.concatenate([np.zeros((48_000, 1), np.float32), tone(1.0, 48_000)]))
    write_video(tmp_path / "a.mp4", 50, rate=FPS, sound=sound)
    new_export(tmp_path / "a.csv", annotations(50))
    samples, _, _ = made(tmp_path, Options(every=10, sound_s=0.5))
    assert [s.start_us for s in samples] == [0, 400_000, 800_000, 1_200_000, 1_600_000]
    assert samples[0].audio is None  # nothing has been heard yet
    loud = [np.sqrt(np.mean(s.audio[-1600:] ** 2)) > 0.1 for s in samples[1:]]
    assert loud == [False, False, True, True]
    assert {len(s.audio) for s in samples[1:]} == {8000}
    first_half, second_half = samples[3].audio[:4000], samples[3].audio[-3000:]
    assert np.abs(first_half).max() < 0.05 < np.abs(second_half).max()


def test_a_recording_without_faces_is_used_with_a_warning(folder):
    samples, _, warnings = made(folder, Options(every=10), Cropper("face", 48))
    assert [s.crops for s in samples] == [None] * 5
    assert {s.frames_seen for s in samples} == {1}
    assert warnings[0].reason == "hardly any face found"
    assert "in 0 of 5 frames" in warnings[0].detail and "--crop frame" in warnings[0].detail


def test_faces_are_cut_as_serving_cuts_them(tmp_path, portrait):
    from affectstream.stream.faces.crop import TEMPLATE

    write_video(tmp_path / "a.mp4", [portrait] * 5, rate=FPS)
    new_export(tmp_path / "a.csv", annotations(5))
    with Cropper("face", 48) as cropper:
        small = made(tmp_path, Options(every=1), cropper)[0][0].crops[0]
        assert np.allclose(cropper.template, TEMPLATE)
    with Cropper("face", 96) as cropper:
        large = made(tmp_path, Options(every=1), cropper)[0][0].crops[0]
    half = large.reshape(48, 2, 48, 2, 3).mean((1, 3))
    assert np.abs(half - small).mean() < 4  # the same view, at twice the size
    with Cropper("person", 96) as cropper:
        person = made(tmp_path, Options(every=1), cropper)[0][0].crops[0]
    assert np.abs(person.astype(int) - large).mean() > 20


def test_broken_videos_and_exports_without_one_are_skipped_with_a_reason(folder):
    whole = (folder / "P01.mp4").read_bytes()
    (folder / "P02.mp4").write_bytes(whole[: len(whole) // 2])
    old_export(folder / "P02.txt", annotations(50), name="P02")
    (folder / "P03.avi").write_text("this is no video")
    old_export(folder / "P03.txt", annotations(50), name="P03")
    old_export(folder / "P04.txt", annotations(50), name="P04")
    (folder / "ExportMerge.csv").write_text("a,b\n1,2\n")
    samples, skipped, _ = made(folder)
    assert {s.participant for s in samples} == {"P01"}
    found = {s.name: (s.reason, s.detail) for s in skipped}
    assert found["P02"][0] == found["P03"][0] == "cannot be decoded"
    assert "P02.mp4" in found["P02"][1]
    assert found["P04"][0] == "no video"
    assert found["ExportMerge"][0] == "export cannot be used"
    assert "no header" in found["ExportMerge"][1]


def test_a_video_may_be_named_as_the_respondent(folder):
    (folder / "P01.txt").rename(folder / "001_export.txt")
    (folder / "P01.mp4").rename(folder / "p01.mp4")
    samples, skipped, _ = made(folder)
    assert {s.recording for s in samples} == {"001_export"}
    assert skipped == []


def test_a_table_can_say_which_belong_together(folder):
    (folder / "pairs.csv").write_text("export,video,participant\nP01.txt,P01.mp4,ann\n")
    assert {s.participant for s in made(folder / "pairs.csv")[0]} == {"ann"}
    (folder / "pairs.csv").write_text("export,film\nP01.txt,P01.mp4\n")
    with pytest.raises(DataError, match="no column video; found export, film; expected export, "):
        made(folder / "pairs.csv")
    (folder / "pairs.csv").write_text("export,video\nP01.txt,P01.mp4\nP01.txt,P01.mp4\n")
    with pytest.raises(DataError, match=r"row 1: export is 'P01\.txt', expected one of each"):
        made(folder / "pairs.csv")


def test_exports_of_one_name_in_two_folders_stay_apart(folder):
    for name in ("one", "two"):
        (folder / name).mkdir()
        for file in ("P01.txt", "P01.mp4"):
            (folder / name / file).write_bytes((folder / file).read_bytes())
    for file in ("P01.txt", "P01.mp4"):
        (folder / file).unlink()
    samples, _, _ = made(folder)
    assert {s.recording for s in samples} == {"one/P01", "two/P01"}
    assert len({s.id for s in samples}) == len(samples) == 2 * 16


def test_what_cannot_be_is_refused(tmp_path):
    with pytest.raises(DataMissing, match="no iMotions export in"):
        made(tmp_path)
    with pytest.raises(OptionError, match="--every and --rate exclude each other"):
        made(tmp_path, Options(every=3, rate=1.0))
