"""Prepared data sets, made up for tests and described as `train prepare` describes them."""

import cv2
import numpy as np

from affectstream.stream.faces.crop import scaled_template
from affectstream.train.data.dataset import FORMAT, INFO, CropInfo, DatasetInfo
from affectstream.train.data.prepare.shards import (
    SHARD_BYTES,
    Progress,
    ShardWriter,
    describe,
    finish,
    read_rows,
    shard_path,
)
from affectstream.train.data.sample import Sample
from affectstream.train.files import encode_json

LABELS = ("neutral", "joy", "surprise", "anger")
SIDE = 64
CROP = CropInfo("face", SIDE, scaled_template(SIDE))
WORDS = ("well", "great fun", "oh no really", "go away")


def face(rng, label, size=SIDE, grey=False):
    """A made-up picture: coarse noise, with a bright spot where the label is."""
    coarse = rng.integers(60, 140, (4, 4, 3)).astype(np.uint8)
    picture = cv2.resize(coarse, (size, size), interpolation=cv2.INTER_CUBIC)
    x, y = (0.3 + 0.4 * (label & 1)) * size, (0.3 + 0.4 * (label >> 1)) * size
    cv2.circle(picture, (round(x), round(y)), size // 6, (230, 230, 210), -1)
    return np.repeat(picture[..., :1], 3, axis=2) if grey else picture


def hum(rng, label, seconds):
    """A made-up voice: a tone whose pitch is the label, in a little noise."""
    t = np.arange(round(seconds * 16_000)) / 16_000
    tone = 0.4 * np.sin(2 * np.pi * 300.0 * 2**label * t)
    return (tone + 0.02 * rng.standard_normal(len(t))).astype(np.float32)


def samples(count, split, *, crops=1, grey=False, labels=LABELS, seed=0):
    """Pictures with an emotion each."""
    rng = np.random.default_rng([seed, len(split)])
    for number in range(count):
        label = number % len(labels)
        yield Sample(
            id=f"{split}{number:03d}",
            split=split,
            frames_seen=crops,
            crops=np.stack([face(rng, label, grey=grey) for _ in range(crops)]),
            crop_times_us=np.arange(crops) * 125_000,
            emotion=labels[label],
        )


def utterances(count, split, *, seconds=2.0, crops=8, seed=0):
    """Everything that a sample may have: pictures, sound, words, speakers, every kind of label.

    Dialogues of four turns, spoken by two people in turn.
    """
    rng = np.random.default_rng([seed, len(split)])
    for number in range(count):
        label = number % len(LABELS)
        yield Sample(
            id=f"{split}{number:03d}",
            split=split,
            participant=f"{split}-{number % 2}",
            dialogue=f"{split}-{number // 4}",
            turn=number % 4,
            age=20.0 + 30.0 * (number % 2),
            gender=("female", "male")[number % 2],
            start_us=0,
            end_us=round(seconds * 1e6),
            frames_seen=crops,
            crops=np.stack([face(rng, label) for _ in range(crops)]),
            crop_times_us=np.arange(crops) * round(seconds * 1e6 / crops),
            audio=hum(rng, label, seconds),
            text=f"{WORDS[label]} {('and', 'so', 'then')[number % 3]}",
            language="en",
            emotion=LABELS[label],
            intensity=(label + 1) / 4,
            intensities=np.asarray([0.8 if k == label else 0.1 for k in range(8)], np.float32),
            attention=float(label >= 2),
            engagement=label / 3,
            valence=(0.0, 0.9, 0.3, -0.8)[label],
            arousal=(-0.5, 0.6, 0.8, 0.4)[label],
            sentiment=("neutral", "positive", "positive", "negative")[label],
        )


def write(
    folder,
    made,
    crop=CROP,
    *,
    splits=None,
    shard_bytes=SHARD_BYTES,
    name="made-up",
    source="spots on noise",
):
    """A prepared data set of `made`, one sample a job, written as `train prepare` writes it.

    `splits` maps ids to splits and leaves out other ids; without it samples keep their own split.
    """
    made = list(made)
    folder.mkdir(parents=True)
    with ShardWriter(folder, Progress({}), shard_bytes) as writer:
        for sample in made:
            writer.add(sample)
            writer.end_job()
    count = writer.progress.shards
    shards = finish(folder, count, splits or {s.id: s.split for s in made})
    info = DatasetInfo(
        format=FORMAT,
        name=name,
        source=source,
        licence="none",
        **describe(read_rows([folder / shard.file for shard in shards])),
        shared_participants=(),
        crop=crop,
        shards=shards,
        parameters={},
        versions={},
    )
    (folder / INFO).write_bytes(encode_json(info))
    for number in range(count):
        shard_path(folder, number).unlink()
    return folder


def again(made, split="valid"):
    """The same samples in another split."""
    for sample in made:
        sample.id, sample.split = f"{split}-{sample.id}", split
        yield sample
