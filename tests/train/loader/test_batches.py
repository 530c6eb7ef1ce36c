"""Batches of prepared samples: windows, pictures, texts, and what augmentation changes."""

import itertools
import threading
from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch", reason="training needs the 'train' extra")

from affectstream.engines.manifest import SPEAKER_FEATURES
from affectstream.stream.media.grid import GridSampler
from affectstream.stream.media.types import Frame
from affectstream.train.config import FitConfig
from affectstream.train.data.dataset import CropInfo, Dataset
from affectstream.train.data.options import Options
from affectstream.train.data.readers.affdex import find as find_interviews
from affectstream.train.data.reading.clips import read_clip
from affectstream.train.data.reading.crops import Cropper
from affectstream.train.data.sample import Sample
from affectstream.train.errors import DataError
from affectstream.train.loader.augment_state import AugmentState, drop_modalities
from affectstream.train.loader.batches import TrainBatches, ValidBatches, in_advance
from affectstream.train.loader.dialogues import find_listeners, joined_texts, speaker_features
from affectstream.train.loader.pictures import augment, mix, pick_evenly, pictures_on_grid
from affectstream.train.loader.rows import usable_rows
from affectstream.train.loader.samples import Samples
from affectstream.train.loader.window_spec import (
    MIN_OVERLAP,
    WindowSpec,
    cut_sound,
    evaluation_start,
    random_start,
)
from affectstream.train.networks.tokenizer import train_tokenizer
from affectstream.train.tasks import tasks_for
from tests.support.imotions_exports import EMOTIONS as FACE_COLUMNS
from tests.support.imotions_exports import new_export
from tests.support.media import numbered, read_number, write_video
from tests.support.prepared import samples, utterances, write

ALL = ("video", "voice", "text")
PLAIN = FitConfig(batch_size=4, augment=False, modality_dropout=0.0)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "set"
    return Dataset(write(folder, [*utterances(10, "train", crops=16), *utterances(6, "valid")]))


def shown(data, split="train", **changes):
    texts = [text for text in data.column("text") if text]
    tokenizer = train_tokenizer(texts, 300).to_str() if texts else ""
    view = WindowSpec(
        ALL, 3_000_000, 8, size=32, tokens=16, tokenizer=tokenizer, metadata=SPEAKER_FEATURES
    )
    view = replace(view, **changes)
    rows = {s: usable_rows(data, s, view.modalities, ("emotion",)) for s in ("train", "valid")}
    return Samples(data, rows[split], view, tasks_for(("emotion",), data, rows))


def same(a, b):
    return set(a) == set(b) and all(torch.equal(a[name], b[name]) for name in a)


# --- where the window lies ---

LENGTHS = st.integers(1, 20_000_000)


@given(LENGTHS, st.integers(1, 10_000_000), st.floats(0.0, 1.0, exclude_max=True))
def test_a_random_window_shows_most_of_a_clip_or_is_full_of_it(length, window, chance):
    start = random_start(length, window, chance)
    inside = min(length, start + window) - max(0, start)
    assert inside >= MIN_OVERLAP * min(length, window) - 2


@given(LENGTHS, st.integers(1, 10_000_000))
def test_a_clip_is_evaluated_at_its_end_or_in_a_window_inside(length, window):
    start = evaluation_start(length, window, None)
    if length <= window:
        assert start + window == length
    else:
        assert start >= 0 and start + window <= length


def test_a_long_clip_is_evaluated_where_it_is_loudest():
    sound = np.zeros(16_000 * 10, np.float32)
    sound[16_000 * 6 : 16_000 * 8] = 0.5
    start = evaluation_start(10_000_000, 3_000_000, sound)
    assert start <= 6_000_000 and start + 3_000_000 >= 8_000_000


def test_sound_outside_a_clip_is_silence():
    sound = np.arange(1, 16_001, dtype=np.float32)
    window = cut_sound(sound, -500_000, 16_000)
    assert (window[:8_000] == 0).all() and window[8_000] == 1
    window = cut_sound(sound, 500_000, 16_000)
    assert window[0] == 8_001 and (window[8_000:] == 0).all()
    assert not cut_sound(sound, 5_000_000, 100).any()


# --- pictures ---


@settings(max_examples=50)
@given(st.lists(st.integers(0, 4_000_000), max_size=40), st.integers(-1_000_000, 3_000_000))
def test_a_point_takes_the_newest_picture_that_is_not_older_than_a_step(times, start):
    times = sorted(times)
    found = pictures_on_grid(times, start, 24, 8)
    for point in range(24):
        at = start + point * 125_000
        fresh = [n for n, t in enumerate(times) if at - 125_001 <= t <= at + 1]
        assert found.get(point) == (fresh[-1] if fresh else None)


@given(st.integers(1, 200), st.integers(1, 40))
def test_pictures_are_spread_evenly(count, most):
    found = pick_evenly(count, most)
    assert len(found) == min(count, most)
    assert sorted(set(found)) == found
    assert found[0] >= 0 and found[-1] < count
    assert len(set(np.diff(found))) <= 2


def test_frames_stand_where_they_are_in_time(data):
    batch = shown(data).batch([0])
    # Two seconds of pictures, at the end of a window of three seconds at 8 Hz.
    assert batch["pixels"].shape == (1, 24, 32, 32, 3)
    assert batch["pixels"].dtype == torch.uint8
    assert batch["video_mask"][0].nonzero()[:, 0].tolist() == list(range(8, 24))
    assert (batch["pixels"][0, :8] == 0).all()
    assert batch["samples"].shape == (1, 48_000)
    assert not batch["samples"][0, :16_000].any() and batch["samples"][0, 16_000:].any()


FPS, LENGTH_US = 25, 5_000_000
FRAMES = LENGTH_US * FPS // 1_000_000


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    """Five seconds whose pictures carry their number."""
    path = tmp_path_factory.mktemp("film") / "a.mp4"
    return write_video(path, [numbered(n) for n in range(FRAMES)], rate=FPS)


def prepared(folder, made):
    """A data set of the same samples in both splits, and with a second emotion, as tasks need."""
    made = [replace(one, split="train", emotion="joy") for one in made]
    made[0] = replace(made[0], emotion="anger")
    again = [
        replace(one, id=f"v{one.id}", recording=f"v{one.recording}", split="valid") for one in made
    ]
    return Dataset(write(folder, [*made, *again], CropInfo("frame", 64, None)))


def windows_of(data, window_us, frame_hz):
    return shown(
        data,
        window_us=window_us,
        frame_hz=frame_hz,
        size=64,
        modalities=("video",),
        metadata=(),
    )


def numbers_at_points(data, index, window_us, frame_hz, training=None):
    """{point of the window: number of its picture} of sample `index`."""
    batch = windows_of(data, window_us, frame_hz).batch([index], training)
    points = batch["video_mask"][0].nonzero()[:, 0].tolist()
    return {p: read_number(batch["pixels"][0, p].numpy()[8:56]) for p in points}


def served_numbers(frame_hz):
    """{grid point: number of its frame} of the film in serving."""
    sampler = GridSampler(frame_hz)
    frames = [Frame(n * 1_000_000 // FPS, None) for n in range(FRAMES)]
    served = [one for frame in frames for one in sampler.push(frame)]
    served += sampler.flush(LENGTH_US)
    return {p: one.frame.pts_us * FPS // 1_000_000 for one in served for p in one.points}


RECIPES = [(2_500_000, 4), (2_000_000, 4), (3_000_000, 8)]


@pytest.mark.parametrize(("window_us", "frame_hz"), RECIPES)
def test_a_clip_gives_the_frames_that_serving_takes(film, tmp_path, window_us, frame_hz):
    clip = read_clip(film, Cropper("frame", 64), Options())
    made = [
        Sample(
            id=f"{n}", start_us=0, end_us=LENGTH_US, crops=clip.crops, crop_times_us=clip.times_us
        )
        for n in range(2)
    ]
    data = prepared(tmp_path / "set", made)
    served, count = served_numbers(frame_hz), window_us * frame_hz // 1_000_000
    middle = (LENGTH_US - window_us) // 2 * frame_hz // 1_000_000
    found = numbers_at_points(data, 0, window_us, frame_hz)
    assert found == {p: served[middle + p] for p in range(count)}
    made = windows_of(data, window_us, frame_hz)
    assert made.windows.coverage() == 1.0
    for seed in range(20):  # a training window may begin before the clip, or end after it
        chance = AugmentState(torch.Generator().manual_seed(seed), FitConfig(modality_dropout=0.0))
        points = made.batch([0], chance)["video_mask"][0].nonzero()[:, 0].tolist()
        assert points == list(range(points[0], points[-1] + 1))
        assert len(points) >= MIN_OVERLAP * count - 1
        assert len(points) == count or points[0] == 0 or points[-1] == count - 1


@pytest.mark.parametrize(("window_us", "frame_hz"), RECIPES)
def test_a_frame_of_a_recording_gets_the_frames_before_it(film, tmp_path, window_us, frame_hz):
    """The rows of an annotated interview hold one crop each."""
    new_export(
        film.with_suffix(".csv"),
        [(n * 1000 / FPS, dict.fromkeys(FACE_COLUMNS, 1.0)) for n in range(FRAMES)],
    )
    (job,) = find_interviews(film.parent, Options()).jobs
    rows = list(job.run(Cropper("frame", 64)))
    data = prepared(tmp_path / "set", rows)
    served, count = served_numbers(frame_hz), window_us * frame_hz // 1_000_000
    for index in (0, 5, 30, len(rows) - 1):
        last = -(-rows[index].start_us * frame_hz // 1_000_000)
        wanted = {p: served.get(last - count + 1 + p) for p in range(count - 1)}
        found = numbers_at_points(data, index, window_us, frame_hz)
        assert found.pop(count - 1) == read_number(rows[index].crops[0][8:56])
        assert found == {p: n for p, n in wanted.items() if n is not None}
        chance = AugmentState(torch.Generator().manual_seed(0), PLAIN)
        assert list(numbers_at_points(data, index, window_us, frame_hz, chance)) == [
            *found,
            count - 1,
        ]


def frame_rows(count, split="train"):
    """Rows of one frame each, eight a second, of one person in one recording."""
    return [
        replace(one, start_us=n * 125_000, end_us=n * 125_000, recording=f"{split} a")
        for n, one in enumerate(samples(count, split))
    ]


def test_a_window_has_no_pictures_of_another_split_person_or_recording(tmp_path):
    made = frame_rows(24)
    made[20].split, made[21].participant, made[22].recording = "valid", "p2", "b"
    made[19].crops = made[19].crop_times_us = None
    data = Dataset(write(tmp_path / "set", [*made, *samples(4, "valid")]))
    made = windows_of(data, 1_000_000, 8)
    found = made.batch([made.rows.tolist().index(23)])["video_mask"][0]
    # Rows 16 to 18, and once more 18, which is one step old then; the last is the row's own.
    assert found.tolist() == [True, True, True, True, False, False, False, True]


def test_the_sound_of_a_frame_ends_with_it(tmp_path):
    made = [*frame_rows(10), *frame_rows(4, "valid")]
    for one in made:
        one.audio = np.full(8_000, 0.1, np.float32)
    data = Dataset(write(tmp_path / "set", made))
    window = {"window_us": 1_000_000, "modalities": ("video", "voice"), "metadata": ()}
    batch = shown(data, **window).batch([9])
    # The last point is that of the frame, and lasts an eighth of a second.
    heard = batch["samples"][0].nonzero()[:, 0]
    assert (int(heard[0]), int(heard[-1])) == (6_000, 13_999)


def test_sparse_pictures_are_noticed(film, tmp_path):
    clip = read_clip(film, Cropper("frame", 64), Options(frames=4))
    one = Sample(id="", start_us=0, end_us=LENGTH_US, crops=clip.crops, crop_times_us=clip.times_us)
    data = prepared(tmp_path / "clips", [replace(one, id=f"{n}") for n in range(2)])
    assert windows_of(data, 2_000_000, 4).windows.coverage() < 0.6
    data = Dataset(write(tmp_path / "rows", [*frame_rows(32)[::7], *samples(4, "valid")]))
    assert windows_of(data, 2_000_000, 8).windows.coverage() < 0.5
    still = Dataset(write(tmp_path / "still", [*samples(4, "train"), *samples(4, "valid")]))
    assert windows_of(still, 2_000_000, 8).windows.coverage() == 1.0


def test_a_set_of_pictures_trains_on_one_and_is_evaluated_on_all(data):
    view = {"one_frame": True, "modalities": ("video",), "metadata": ()}
    made = shown(data, **view)
    train, valid = TrainBatches(made, PLAIN), ValidBatches(made)
    assert {tuple(b["pixels"].shape) for b in train.epoch(0)} == {(4, 1, 32, 32, 3)}
    assert valid[0]["pixels"].shape == (10, 16, 32, 32, 3)
    assert valid[0]["video_mask"].all()
    firsts = {next(iter(train.epoch(e)))["pixels"].float().sum().item() for e in range(4)}
    assert len(firsts) == 4


def test_pictures_beside_the_window_are_better_than_none_where_the_order_does_not_matter(
    film, tmp_path
):
    clip = read_clip(film, Cropper("frame", 64), Options(frames=2))
    times = np.array([0, 4_750_000])
    one = Sample(id="", start_us=0, end_us=LENGTH_US, crops=clip.crops, crop_times_us=times)
    data = prepared(tmp_path / "set", [replace(one, id=f"{n}") for n in range(2)])
    view = {"window_us": 1_000_000, "frame_hz": 4, "size": 64, "modalities": ("video",)}
    ordered, unordered = (
        shown(data, **view, metadata=(), one_frame=flag).batch([0]) for flag in (False, True)
    )
    assert not ordered["video_mask"].any() and unordered["video_mask"].sum() == 2


def test_augmented_pictures_stay_pictures_and_grey_ones_grey(portrait):
    crop = cv2.resize(portrait[0:224, 130:354], (64, 64)).astype(np.float32)
    batch, each = torch.from_numpy(np.stack([crop] * 16)), torch.arange(16)
    out = augment(batch, each, torch.Generator().manual_seed(0))
    assert out.shape == batch.shape
    assert out.min() >= 0 and out.max() <= 255
    flipped = [
        bool((o - b).abs().mean() > (o - b.flip(1)).abs().mean())
        for o, b in zip(out, batch, strict=True)
    ]
    assert 2 <= sum(flipped) <= 14
    grey = augment(batch[..., :1].repeat(1, 1, 1, 3), each, torch.Generator().manual_seed(0))
    assert (grey - grey[..., :1]).abs().max() < 1e-3


def test_covered_and_degraded_pictures_stay_pictures(portrait):
    picture = cv2.resize(portrait, (48, 48), interpolation=cv2.INTER_AREA)
    many = torch.from_numpy(picture).float().repeat(16, 1, 1, 1)
    one = {"owner": torch.arange(16), "erasing": 0.9, "degrading": 0.9}
    changed = augment(many, generator=torch.Generator().manual_seed(0), **one)
    assert changed.shape == many.shape and changed.min() >= 0 and changed.max() <= 255
    plain = augment(many, torch.arange(16), torch.Generator().manual_seed(0))
    assert (changed != plain).any(3).float().mean() > 0.5
    grey = augment(many[..., :1], generator=torch.Generator().manual_seed(0), **one)
    assert grey.shape == (16, 48, 48, 1)


def test_mixup_blends_pictures_and_their_classes():
    pixels = torch.arange(4, dtype=torch.uint8).view(4, 1, 1, 1, 1) * 80
    batch = {"pixels": pixels.expand(4, 1, 16, 16, 3), "emotion": torch.arange(4)}
    shares = {"emotion": torch.eye(4)}
    generator = torch.Generator().manual_seed(0)
    mixed = [mix(batch, shares, 0.4, generator) for _ in range(40)]
    changed = [one for one in mixed if (one["pixels"] != batch["pixels"]).any()]
    assert 8 < len(changed) < 32
    for one in mixed:
        levels = one["pixels"][:, 0, 0, 0, 0].float()
        torch.testing.assert_close(
            levels, one["emotion"] @ (80.0 * torch.arange(4)), atol=0.51, rtol=0
        )
        torch.testing.assert_close(one["emotion"].sum(1), torch.ones(4))


def test_single_pictures_in_memory_are_those_of_the_file(tmp_path):
    made = [*samples(6, "train", grey=True), *samples(4, "valid", grey=True)]
    data = Dataset(write(tmp_path / "set", made))
    window = {"modalities": ("video",), "size": 64, "one_frame": True, "tokenizer": ""}
    kept = shown(data, **window, metadata=())
    batch = kept.batch([4, 1])
    assert batch["pixels"].shape == (2, 1, 64, 64, 3) and batch["video_mask"].all()
    np.testing.assert_array_equal(batch["pixels"][0], data[4].crops)
    training = AugmentState(
        torch.Generator().manual_seed(0), replace(PLAIN, augment=True, erasing=0.5, mixup=0.4)
    )
    batch = kept.batch([0, 1, 2], training)
    assert batch["pixels"].shape == (3, 1, 64, 64, 3) and batch["pixels"].dtype == torch.uint8
    assert (batch["pixels"] == batch["pixels"][..., :1]).all()
    assert batch["emotion"].shape == (3, 4)


def test_single_pictures_are_mixed_and_masked_nowhere_on_the_device_of_the_network(tmp_path):
    made = [*samples(6, "train", grey=True), *samples(4, "valid", grey=True)]
    data = Dataset(write(tmp_path / "set", made))
    window = {"modalities": ("video",), "size": 64, "one_frame": True, "tokenizer": ""}
    kept = shown(data, **window, metadata=())
    assert kept.move(torch.device("cpu"))
    batches = TrainBatches(kept, FitConfig(batch_size=4, mixup=0.4, erasing=0.4, degrading=0.4))
    here, there = (list(made.epoch(2)) for made in (batches, batches.placed(torch.device("cpu"))))
    assert all(same(a, b) for a, b in zip(here, there, strict=True))
    assert "video_mask" not in here[0]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no NVIDIA GPU here")
def test_single_pictures_are_augmented_on_the_gpu_alike_each_time(tmp_path):
    made = [*samples(8, "train", grey=True), *samples(4, "valid", grey=True)]
    data = Dataset(write(tmp_path / "set", made))
    window = {"modalities": ("video",), "size": 64, "one_frame": True, "tokenizer": ""}
    config = FitConfig(batch_size=4, mixup=0.4, erasing=0.4, degrading=0.4)
    batches = TrainBatches(shown(data, **window, metadata=()), config).placed(torch.device("cuda"))
    first, again = list(batches.epoch(1)), list(batches.epoch(1))
    assert all(part.is_cuda for batch in first for part in batch.values())
    assert all(same(a, b) for a, b in zip(first, again, strict=True))


def test_batches_with_sound_are_made_on_the_cpu(data):
    assert not shown(data).move(torch.device("cpu"))


def test_batches_made_in_advance_are_the_same_in_the_same_order():
    made = [{"emotion": torch.tensor([n])} for n in range(9)]
    assert [int(batch["emotion"]) for batch in in_advance(iter(made))] == list(range(9))


def test_an_error_in_advance_is_raised_where_the_batch_is_needed():
    def broken():
        yield {"emotion": torch.tensor([0])}
        raise DataError("no such sample")

    batches = in_advance(broken())
    assert int(next(batches)["emotion"]) == 0
    with pytest.raises(DataError, match="no such sample"):
        next(batches)


def test_batches_made_in_advance_end_with_their_reader():
    endless = in_advance({"emotion": torch.tensor([n])} for n in itertools.count())
    next(endless)
    endless.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("batches")]


def test_pictures_of_one_clip_change_alike():
    one = torch.rand(1, 32, 32, 3) * 255
    out = augment(one.repeat(6, 1, 1, 1), torch.tensor([0, 0, 0, 1, 1, 1]), torch.Generator())
    assert torch.equal(out[0], out[1]) and torch.equal(out[3], out[5])
    assert not torch.equal(out[0], out[3])


# --- speakers and words ---


def conversation(folder, turns):
    """A data set of (speaker, age, gender, words), one dialogue, all in split train."""
    return Dataset(
        write(
            folder,
            [
                Sample(
                    id=f"{n}",
                    split="train" if n < 4 else "valid",
                    dialogue="d",
                    turn=n,
                    participant=who,
                    age=age,
                    gender=gender,
                    text=words,
                    emotion=("joy", "anger")[n % 2],
                )
                for n, (who, age, gender, words) in enumerate(turns)
            ],
        )
    )


@pytest.fixture
def talk(tmp_path):
    return conversation(
        tmp_path / "set",
        [
            ("Ann", 30.0, "female", "one"),
            ("Bob", None, "male", "two"),
            ("Ann", 30.0, "female", "three"),
            ("Cem", 50.0, None, "four"),
            ("Bob", None, "male", "five"),
        ],
    )


def test_the_listener_is_the_other_who_spoke_last(talk):
    assert find_listeners(talk) == [None, 0, 1, 2, 3]
    numbers, known = speaker_features(talk)
    assert SPEAKER_FEATURES[:4] == ("age", "female", "male", "other")
    assert numbers[0].tolist() == pytest.approx([0.3, 1, 0, 0, 0, 0, 0, 0])
    assert known[0].tolist() == [True] * 4 + [False] * 4
    assert numbers[1].tolist() == pytest.approx([0, 0, 1, 0, 0.3, 1, 0, 0])
    assert known[1].tolist() == [False, True, True, True, True, True, True, True]
    assert known[4].tolist() == [False, True, True, True, True, False, False, False]
    picked, _ = speaker_features(talk, ("listener_age", "age"))
    assert picked[1].tolist() == pytest.approx([0.3, 0.0])


def test_context_is_the_earlier_utterances_of_the_same_split(talk):
    assert joined_texts(talk) == ["one", "two", "three", "four", "five"]
    found = joined_texts(talk, 2)
    assert found[0] == "one"
    assert [found[2].index(word) for word in ("one", "two", "three")] == sorted(
        found[2].index(word) for word in ("one", "two", "three")
    )
    assert "one" not in found[3]
    assert found[4] == "five"  # the lines before are of split train


def test_words_are_tokens_with_their_mask(data):
    batch = shown(data).batch(range(4))
    assert batch["ids"].shape == batch["tokens_mask"].shape == (4, 16)
    assert ((batch["ids"] > 0) <= batch["tokens_mask"]).all()
    assert batch["text_mask"].all() and batch["text_mask"].shape == (4, 1)


# --- chance ---


def test_the_same_epoch_gives_the_same_batches_and_another_gives_others(data):
    def epoch(number, **changes):
        config = replace(PLAIN, augment=True, modality_dropout=0.3, **changes)
        made = shown(data, modalities=("video", "text"))
        return list(TrainBatches(made, config).epoch(number))

    first = epoch(0)
    assert len(first) == 2
    assert all(same(a, b) for a, b in zip(first, epoch(0), strict=True))
    assert not same(first[0], epoch(1)[0])
    assert not same(first[0], epoch(0, seed=1)[0])
    assert not same(first[0], first[1])


@pytest.mark.slow
def test_workers_make_the_same_batches(data):
    config = replace(PLAIN, augment=True, modality_dropout=0.3)
    made = shown(data)
    here = TrainBatches(made, config)
    there = TrainBatches(made, replace(config, workers=2))
    for number in (0, 1):
        pairs = list(zip(here.epoch(number), there.epoch(number), strict=True))
        assert len(pairs) == 2
        assert all(same(a, b) for a, b in pairs)
    valid = list(zip(ValidBatches(made), ValidBatches(made, workers=2), strict=True))
    assert valid and all(same(a, b) for a, b in valid)


def test_dropout_hides_modalities_but_never_all():
    count = 4_000
    there = torch.rand(count, 3) < 0.7
    there[~there.any(1), 0] = True
    batch = {f"{m}_mask": there[:, i : i + 1].clone() for i, m in enumerate(ALL)}
    batch["metadata_mask"] = torch.ones(count, 8, dtype=torch.bool)
    drop_modalities(
        batch, ALL, AugmentState(torch.Generator().manual_seed(0), FitConfig(modality_dropout=0.3))
    )
    left = torch.cat([batch[f"{m}_mask"] for m in ALL], 1)
    assert left.any(1).all()
    assert (left <= there).all()
    full = there.all(1)
    for column in range(3):
        assert 0.25 < 1.0 - float(left[full][:, column].float().mean()) < 0.33
    visible = batch["metadata_mask"].float().mean(1)
    assert set(visible.tolist()) == {0.0, 1.0}
    assert 0.65 < float(visible.mean()) < 0.75


# --- what a data set lacks ---


def test_rows_without_a_modality_are_masked(tmp_path):
    made = list(utterances(6, "train"))
    made[0].audio = None
    made[1].crops = made[1].crop_times_us = None
    made[2].text = None
    made[3].audio = np.zeros(16_000, np.float32)  # silence is no voice
    data = Dataset(write(tmp_path / "set", [*made, *utterances(4, "valid")]))
    batch = shown(data).batch(range(6))
    masks = {m: batch[f"{m}_mask"].any(1).tolist() for m in ALL}
    assert masks["voice"] == [False, True, True, False, True, True]
    assert masks["video"] == [True, False, True, True, True, True]
    assert masks["text"] == [True, True, False, True, True, True]


@pytest.mark.parametrize("modality", ["voice", "text"])
def test_a_set_that_has_none_of_a_modality_is_refused(modality, tmp_path):
    data = Dataset(write(tmp_path / "set", [*samples(4, "train"), *samples(4, "valid")]))
    with pytest.raises(DataError, match=rf"none of the 4 samples .* has {modality}") as error:
        usable_rows(data, "train", ("video", modality), ("emotion",))
    assert "\n" not in str(error.value)


def test_the_shares_of_several_processes_make_up_an_epoch(data):
    whole = TrainBatches(shown(data), PLAIN)
    shares = [whole.placed(torch.device("cpu"), rank, 2) for rank in range(2)]
    batches, parts = list(whole.epoch(3)), [list(share.epoch(3)) for share in shares]
    assert len(batches) == sum(len(part) for part in parts) == 2
    for number, batch in enumerate(batches):
        assert same(batch, parts[number % 2][number // 2])
