"""Prepared sets of faces, voices and words put together by their label."""

from collections import Counter, defaultdict

import numpy as np
import pytest

from affectstream.stream.demo import babble
from affectstream.train.data.dataset import CropInfo, Dataset
from affectstream.train.data.degrade import PAIRED_FACES, VOICES
from affectstream.train.data.options import PrepareConfig
from affectstream.train.data.prepare.prepare import prepare
from affectstream.train.data.sample import Sample
from affectstream.train.errors import DataError, DataMissing
from tests.support import prepared

EMOTIONS = ("joy", "anger", "sadness")
TEMPLATE = ((15.3, 18.7), (32.7, 18.7), (24.0, 28.6), (16.8, 36.7), (31.2, 36.7))


def write(folder, samples, crop=None):
    prepared.write(folder, samples, crop, name=folder.name)


def faces(count):
    return [
        Sample(
            id=f"face{n}",
            split="valid" if n % 2 else "train",
            frames_seen=1,
            crops=np.full((1, 48, 48, 3), n + 1, np.uint8),
            crop_times_us=np.zeros(1, np.int64),
            emotion=EMOTIONS[n // 2 % 3],
        )
        for n in range(count)
    ]


def voices(count):
    return [
        Sample(
            id=f"voice{n}",
            split="valid" if n % 2 else "train",
            participant=f"actor{n % 4}",
            gender="female",
            audio=np.full(1600, (n + 1) / 100, np.float32),
            emotion=EMOTIONS[n // 2 % 3],
        )
        for n in range(count)
    ]


@pytest.fixture
def parts(tmp_path):
    folder = tmp_path / "parts"
    write(folder / "faces", faces(60), CropInfo("face", 48, TEMPLATE))
    write(folder / "voices", voices(12))
    return folder


def run(parts, output, **options):
    return prepare(PrepareConfig(set="paired", **options), parts, output)


def origin(sample):
    """The numbers of the face and the voice that a pair was made of."""
    return int(sample.crops[0, 0, 0, 0]) - 1, round(float(sample.audio[0]) * 100) - 1


def test_a_pair_has_one_label_one_split_and_everything_of_its_parts(parts, tmp_path):
    made = run(parts, tmp_path / "out", times=3)
    data = Dataset(tmp_path / "out")
    assert len(data) == 36
    assert made.info.modalities == {"video": 36, "audio": 36, "text": 0}
    assert made.info.crop == CropInfo("face", 48, TEMPLATE)
    for sample in data:
        face, voice = origin(sample)
        assert sample.emotion == EMOTIONS[face // 2 % 3] == EMOTIONS[voice // 2 % 3]
        assert (
            sample.split
            == ("valid" if face % 2 else "train")
            == ("valid" if voice % 2 else "train")
        )
        assert (sample.participant, sample.gender) == (f"actor{voice % 4}", "female")
    assert max(Counter(origin(s)[0] for s in data).values()) <= 2  # 10 faces a label and split


def test_two_runs_give_the_same_pairs(parts, tmp_path):
    first = run(parts, tmp_path / "a").info.content_sha256
    assert run(parts, tmp_path / "b").info.content_sha256 == first


def test_one_split_is_split_again_without_a_face_in_both(parts, tmp_path):
    run(parts, tmp_path / "out", part="valid", times=9)
    data = list(Dataset(tmp_path / "out"))
    assert all(face % 2 and voice % 2 for face, voice in map(origin, data))
    assert {origin(sample)[0] for sample in data} == set(range(1, 60, 2))
    parts_of = defaultdict(set)
    for sample in data:
        parts_of[sample.participant].add(sample.split)
        parts_of[origin(sample)[0]].add(sample.split)
    assert set.union(*parts_of.values()) == {"train", "valid"}
    assert all(len(found) == 1 for found in parts_of.values())


def test_the_id_of_a_conflicting_pair_names_its_emotions(parts, tmp_path):
    run(parts, tmp_path / "out", conflicts=1.0)
    for sample in Dataset(tmp_path / "out"):
        face, voice = origin(sample)
        own, other = sample.id.split(" ")[1].split("/")
        assert own == sample.emotion == EMOTIONS[voice // 2 % 3]
        assert other == EMOTIONS[face // 2 % 3] != own


def test_one_set_is_not_enough(tmp_path):
    write(tmp_path / "parts" / "voices", voices(6))
    with pytest.raises(DataMissing, match="holds 1 prepared data sets, expected two or three"):
        run(tmp_path / "parts", tmp_path / "out")


def test_two_sets_of_the_same_kind_are_refused(parts, tmp_path):
    write(parts / "more", voices(6))
    with pytest.raises(DataError, match="both more and voices give audio"):
        run(parts, tmp_path / "out")


def test_a_share_of_the_pairs_is_degraded_and_their_ids_say_how(parts, tmp_path):
    run(parts, tmp_path / "clean", times=2)
    run(parts, tmp_path / "worse", times=2, degrade=1.0)
    run(parts, tmp_path / "some", times=2, degrade=0.5)
    clean, worse = list(Dataset(tmp_path / "clean")), list(Dataset(tmp_path / "worse"))
    assert [s.id.partition(" ~")[0] for s in worse] == [s.id for s in clean]
    for one, other in zip(clean, worse, strict=True):
        face, voice = other.id.partition(" ~")[2].split(",")
        assert face in PAIRED_FACES and voice in VOICES
        assert one.crops.shape == other.crops.shape
    different = [not np.array_equal(a.crops, b.crops) for a, b in zip(clean, worse, strict=True)]
    assert sum(different) > len(different) / 2  # JPEG and blur leave a flat picture as it is
    degraded = sum(" ~" in sample.id for sample in Dataset(tmp_path / "some"))
    assert 0 < degraded < len(clean)


def test_a_degraded_pair_that_disagrees_still_names_its_emotions(parts, tmp_path):
    run(parts, tmp_path / "out", conflicts=1.0, degrade=1.0)
    for sample in Dataset(tmp_path / "out"):
        own, other = sample.id.split(" ")[-1].split("/")
        assert own == sample.emotion != other


@pytest.mark.parametrize("name", VOICES)
def test_a_degraded_voice_is_still_a_sound(name):
    voice = babble(2)[:32_000].astype(np.float32)
    worse = VOICES[name](voice, np.random.default_rng(0))
    assert worse.dtype == np.float32 and np.isfinite(worse).all() and np.abs(worse).max() <= 1
    assert len(worse) == len(voice) or name == "part"
    again = VOICES[name](voice, np.random.default_rng(0))
    np.testing.assert_array_equal(worse, again)
    assert len(worse) != len(voice) or not np.allclose(worse, voice)


def test_the_unseen_part_is_valid_and_test(tmp_path):
    heard = voices(36)
    for number, sample in enumerate(heard):
        sample.split = ("train", "valid", "test")[number % 3]
        sample.participant = f"actor{number % 6}"
        sample.emotion = EMOTIONS[number // 6 % 3]
    write(tmp_path / "parts" / "faces", faces(60), CropInfo("face", 48, TEMPLATE))
    write(tmp_path / "parts" / "voices", heard)
    run(tmp_path / "parts", tmp_path / "out", part="unseen")
    people = {sample.participant for sample in Dataset(tmp_path / "out")}
    assert people == {"actor1", "actor2", "actor4", "actor5"}


def test_the_set_with_the_fewest_people_gives_the_people(tmp_path):
    write(tmp_path / "parts" / "faces", faces(12), CropInfo("face", 48, TEMPLATE))
    write(tmp_path / "parts" / "voices", voices(24))  # more samples, but of four people
    run(tmp_path / "parts", tmp_path / "out")
    found = list(Dataset(tmp_path / "out"))
    assert len(found) == 24 and {sample.participant for sample in found} == {
        f"actor{n}" for n in range(4)
    }
