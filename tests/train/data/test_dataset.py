"""The one layout: what is written is read back, whole, lazily and from another process."""

import pickle

import msgspec
import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from affectstream.train.data.dataset import INFO, Dataset
from affectstream.train.data.sample import (
    MAX_LOSSLESS_PIXELS,
    Sample,
    decode_audio,
    decode_crop,
    encode_audio,
    encode_crop,
    from_row,
    to_row,
)
from affectstream.train.errors import DataError, DataMissing
from affectstream.train.files import encode_json
from tests.support import prepared


def picture(seed, size=24):
    return np.random.default_rng(seed).integers(0, 256, (size, size, 3), np.uint8)


def sample(number, **more):
    return Sample(
        **{
            "id": f"s{number:03d}",
            "participant": f"p{number % 3}",
            "crops": np.stack([picture(number), picture(number + 500)]),
            "crop_times_us": np.array([0, 40_000]),
            "frames_seen": 3,
            "audio": np.linspace(-1, 1, 100 + number, dtype=np.float32),
            "text": f"line {number}",
            "emotion": ("joy", "anger")[number % 2],
            "intensities": np.array([np.nan, 0.25, 1, 0, 0.5, 0, 0, np.nan], np.float32),
            "valence": -0.5,
            **more,
        }
    )


def write(folder, samples, shard_bytes=1 << 30, splits=None):
    splits = splits or {one.id: "train" for one in samples}
    return Dataset(prepared.write(folder, samples, splits=splits, shard_bytes=shard_bytes))


def same(one, other):
    for name in Sample.__slots__:
        a, b = getattr(one, name), getattr(other, name)
        if name == "audio" and a is not None:
            np.testing.assert_allclose(a, b, atol=1 / 32768)
        elif isinstance(a, np.ndarray):
            np.testing.assert_array_equal(a, b)
            assert a.dtype == b.dtype
        elif name != "split":
            assert a == b, name


@pytest.mark.parametrize(("shard_bytes", "shards"), [(1 << 30, 1), (1, 21)])
def test_samples_come_back_by_number_and_in_order(tmp_path, shard_bytes, shards):
    samples = [sample(n) for n in range(20)] + [Sample(id="bare")]
    dataset = write(tmp_path / "set", samples, shard_bytes)
    assert len(dataset.info.shards) == shards
    assert len(dataset) == 21
    for number in (20, 0, 7, 19, 7):
        same(samples[number], dataset[number])
    for one, other in zip(samples, dataset, strict=True):
        same(one, other)
    with pytest.raises(IndexError):
        dataset[21]
    bare = dataset[20]
    assert bare.crops is None and bare.audio is None and bare.intensities is None


def test_shards_are_bounded_and_end_between_jobs(tmp_path):
    loud = [sample(n, audio=np.zeros(2_500_000, np.float32)) for n in range(8)]
    dataset = write(tmp_path / "set", loud, shard_bytes=9 << 20)
    assert [shard.rows for shard in dataset.info.shards] == [2, 2, 2, 2]
    assert [one.id for one in dataset] == [one.id for one in loud]
    assert dataset[5].id == "s005"


def test_memory_is_bounded_by_the_cache(tmp_path):
    loud = [sample(n, audio=np.zeros(2_500_000, np.float32)) for n in range(6)]
    write(tmp_path / "set", loud)
    dataset = Dataset(tmp_path / "set", cache_bytes=1)
    for number in range(6):
        dataset[number]
        assert len(dataset._cache) == 1


def test_a_worker_process_opens_it_again(tmp_path):
    dataset = write(tmp_path / "set", [sample(0), sample(1)])
    again = pickle.loads(pickle.dumps(dataset))
    same(dataset[1], again[1])


def test_large_columns_are_read_on_request(tmp_path):
    write(tmp_path / "set", [sample(0)])
    dataset = Dataset(tmp_path / "set", large=("audio",))[0]
    assert dataset.crops is None
    assert dataset.audio is not None
    assert dataset.crop_times_us.tolist() == [0, 40_000]


def test_columns_and_rows_of_a_split(tmp_path):
    samples = [sample(n, valence=0.5 if n else None) for n in range(4)]
    splits = {"s000": "train", "s001": "valid", "s002": None, "s003": "train"}
    dataset = write(tmp_path / "set", samples, splits=splits)
    assert dataset.column("split").tolist() == ["train", "valid", None, "train"]
    assert np.isnan(dataset.column("valence")[0])
    assert dataset.rows_of("train").tolist() == [0, 3]
    assert dataset.rows_of("train", task="valence").tolist() == [3]
    assert dataset.rows_of(None, task="emotion_multilabel").tolist() == [0, 1, 2, 3]
    with pytest.raises(DataError, match="no samples for split test; rows by split: train"):
        dataset.rows_of("test")
    with pytest.raises(DataError, match="no samples for split train and task attention"):
        dataset.rows_of("train", task="attention")
    with pytest.raises(DataError, match="no split 'dev'"):
        dataset.rows_of("dev")
    with pytest.raises(KeyError):
        dataset.column("crops")


def test_rows_without_a_split_to_go_to_are_left_out(tmp_path):
    dataset = write(tmp_path / "set", [sample(n) for n in range(3)], splits={"s001": "test"})
    assert [one.id for one in dataset] == ["s001"]


def test_the_hash_minds_content_and_neither_order_nor_splits(tmp_path):
    def digest(name, samples, splits=None):
        dataset = write(tmp_path / name, samples, splits=splits)
        return dataset.info.content_sha256

    one = digest("a", [sample(0), sample(1)])
    assert digest("b", [sample(1), sample(0)], {"s000": "test", "s001": "valid"}) == one
    assert digest("c", [sample(0), sample(1, emotion="fear")]) != one
    louder = np.linspace(-0.5, 1, 101, dtype=np.float32)
    assert digest("d", [sample(0), sample(1, audio=louder)]) != one


@pytest.mark.parametrize("size", [16, 48, MAX_LOSSLESS_PIXELS])
def test_small_crops_are_stored_without_loss(size):
    for rgb in (picture(1, size), np.repeat(picture(1, size)[..., :1], 3, axis=2)):
        np.testing.assert_array_equal(decode_crop(encode_crop(rgb)), rgb)


def test_a_grey_crop_takes_a_third(portrait):
    grey = np.repeat(portrait[:48, :48, :1], 3, axis=2)
    assert len(encode_crop(grey)) < 0.5 * len(encode_crop(portrait[:48, :48]))


def test_large_crops_lose_little(portrait):
    face = portrait[0:224, 130:354]
    back = decode_crop(encode_crop(face))
    assert len(encode_crop(face)) < 224 * 224 * 3 / 4
    assert np.abs(back.astype(int) - face).mean() < 2.5


@given(st.lists(st.floats(-1.5, 1.5, width=32), max_size=50))
def test_sound_comes_back_within_half_a_step(values):
    samples = np.array(values, np.float32)
    back = decode_audio(encode_audio(samples))
    clipped = np.clip(samples, -1, 32767 / 32768)
    assert (np.abs(back - clipped) <= 0.5001 / 32768).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"emotion": "happy"}, "emotion is 'happy', expected one of neutral"),
        ({"valence": 2.0}, "valence is 2.0, expected -1.0 to 1.0"),
        ({"gender": "f"}, "gender is 'f'"),
        ({"crops": np.zeros((24, 24, 3), np.uint8)}, r"expected \(T, S, S, 3\) uint8"),
        ({"crop_times_us": None}, "expected 2 times"),
        ({"audio": np.array([np.nan], np.float32)}, "finite samples"),
        ({"intensities": np.full(8, 1.5, np.float32)}, "8 numbers from 0 to 1"),
    ],
)
def test_what_no_recipe_could_use_is_not_written(change, message):
    with pytest.raises(ValueError, match=f"sample 's001': .*{message}"):
        to_row(sample(1, **change))


def test_the_same_pictures_and_sound_have_the_same_content():
    assert to_row(sample(1))["content"] == to_row(sample(1, id="x", text="other"))["content"]
    assert to_row(sample(1))["content"] != to_row(sample(2))["content"]
    assert to_row(Sample(id="x", text="What?"))["content"] is None
    assert to_row(Sample(id="x", audio=np.zeros(100, np.float32)))["content"] is None
    same(sample(1), from_row(to_row(sample(1))))


def test_what_is_no_data_set_is_refused(tmp_path):
    with pytest.raises(DataMissing, match=r"no dataset\.json in it; make one with"):
        Dataset(tmp_path)
    dataset = write(tmp_path / "set", [sample(0)])
    info = msgspec.json.decode((tmp_path / "set" / INFO).read_bytes())
    (tmp_path / "set" / INFO).write_bytes(msgspec.json.encode({**info, "format": "9.0"}))
    with pytest.raises(DataError, match=r"format '9.0', expected 1.1"):
        Dataset(tmp_path / "set")
    (tmp_path / "set" / INFO).write_bytes(b"{")
    with pytest.raises(DataError, match="cannot be read"):
        Dataset(tmp_path / "set")
    (tmp_path / "set" / INFO).write_bytes(encode_json(dataset.info))
    pq.write_table(
        pq.read_table(tmp_path / "set/samples-00000.parquet").slice(0, 0),
        tmp_path / "set/samples-00000.parquet",
    )
    with pytest.raises(DataError, match="found 0 rows, expected 1"):
        Dataset(tmp_path / "set")
    (tmp_path / "set/samples-00000.parquet").unlink()
    with pytest.raises(DataMissing, match="cannot be opened"):
        Dataset(tmp_path / "set")
