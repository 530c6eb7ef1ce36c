"""One sample of a prepared data set: pictures, sound, words, and labels.

In memory pictures and sound are arrays; in a row of `samples-*.parquet` they are bytes:

- A crop of up to `MAX_LOSSLESS_PIXELS` a side is a PNG: in a small face a block of JPEG is as large
  as a corner of the mouth. A larger crop is a JPEG of quality `JPEG_QUALITY`.
- Sound is 16-bit; its noise lies 98 dB below full scale.

A field that a sample lacks is null. Nothing here needs torch.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal, get_args

import cv2
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from affectstream.engines.labels import EMOTIONS, SENTIMENTS, Sentiment
from affectstream.stream.media.types import SAMPLE_RATE
from affectstream.stream.speaker_metadata import Gender

Split = Literal["train", "valid", "test"]
SPLITS: tuple[Split, ...] = get_args(Split)
UNSEEN: tuple[Split, ...] = ("valid", "test")
"""Those from which no network learns."""
GENDERS: tuple[Gender, ...] = get_args(Gender)

MAX_LOSSLESS_PIXELS = 112
JPEG_QUALITY = 95

LARGE_COLUMNS = ("crops", "audio")
"""Columns that hold nearly all the bytes."""

SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("recording", pa.string()),
        ("participant", pa.string()),
        ("dialogue", pa.string()),
        ("turn", pa.int32()),
        ("split", pa.string()),
        ("start_us", pa.int64()),
        ("end_us", pa.int64()),
        ("frames_seen", pa.int32()),
        ("crop_times_us", pa.list_(pa.int64())),
        ("crops", pa.list_(pa.binary())),
        ("audio", pa.binary()),
        ("audio_samples", pa.int32()),
        ("text", pa.string()),
        ("language", pa.string()),
        ("age", pa.float32()),
        ("gender", pa.string()),
        ("emotion", pa.string()),
        ("intensity", pa.float32()),
        ("intensities", pa.struct([(name, pa.float32()) for name in EMOTIONS])),
        ("attention", pa.float32()),
        ("engagement", pa.float32()),
        ("valence", pa.float32()),
        ("sentiment", pa.string()),
        ("content", pa.string()),
        ("votes", pa.struct([(name, pa.float32()) for name in EMOTIONS])),
        ("arousal", pa.float32()),
        ("files", pa.list_(pa.string())),
    ]
)
"""Columns of `samples-*.parquet`. `content` is a hash of crops and sound; it is null for a sample
without crops whose sound is absent or silent, because two people may well be silent alike."""
LATER_COLUMNS = ("votes", "arousal", "files")
"""Columns that older data sets lack: all their values are null."""
SMALL_COLUMNS = tuple(name for name in SCHEMA.names if name not in LARGE_COLUMNS)
BY_EMOTION = ("intensities", "votes")
"""Columns with a number for each of `EMOTIONS`."""

TASKS = {
    "emotion": "emotion",
    "emotion_multilabel": "intensities",
    **{
        name: name
        for name in ("attention", "engagement", "valence", "arousal", "sentiment", "intensity")
    },
}
"""What can be learned, and the column of its labels."""

RANGES = {
    **dict.fromkeys(("intensity", "attention", "engagement"), (0.0, 1.0)),
    **dict.fromkeys(("valence", "arousal"), (-1.0, 1.0)),
}
_WORDS: Mapping[str, tuple[str, ...]] = {
    "emotion": EMOTIONS,
    "sentiment": SENTIMENTS,
    "split": SPLITS,
    "gender": GENDERS,
}


@dataclass(slots=True, eq=False, kw_only=True)
class Sample:
    """One sample. A field is None where the data set does not have it.

    `recording` is the file that the sample was cut from; `dialogue` and `turn` give its place in a
    conversation, or among the frames of one recording. `start_us` and `end_us` are on the clock of
    the recording, `crop_times_us` (T,) int64 count from `start_us`. `crops` is (T, S, S, 3) uint8
    RGB: the frames with a face, out of `frames_seen` frames that were searched. `audio` is (n,)
    float32 in [-1, 1] at 16 kHz. `emotion` is one of `EMOTIONS`; `intensities` (8,) float32 in
    [0, 1] follow their order, NaN where unknown; `intensity` is the strength of `emotion`. `votes`
    (8,) float32 counts the people who saw each emotion, in the same order; `emotion` is then what
    most of them saw, None without one majority. `RANGES` has the ranges of the other numbers.
    `files` are the SHA-256 of the recordings that pictures and sound were cut from.
    """

    id: str
    recording: str | None = None
    participant: str | None = None
    dialogue: str | None = None
    turn: int | None = None
    split: Split | None = None
    start_us: int | None = None
    end_us: int | None = None
    frames_seen: int | None = None
    crops: NDArray[np.uint8] | None = None
    crop_times_us: NDArray[np.int64] | None = None
    audio: NDArray[np.float32] | None = None
    text: str | None = None
    language: str | None = None
    age: float | None = None
    gender: Gender | None = None
    emotion: str | None = None
    intensity: float | None = None
    intensities: NDArray[np.float32] | None = None
    attention: float | None = None
    engagement: float | None = None
    valence: float | None = None
    arousal: float | None = None
    sentiment: Sentiment | None = None
    votes: NDArray[np.float32] | None = None
    files: tuple[str, ...] | None = None


def to_row(sample: Sample) -> dict[str, Any]:
    """The row of `SCHEMA` for a sample. Raises `ValueError`, naming the sample, for a bad value."""
    _check(sample)
    row = {f.name: getattr(sample, f.name) for f in fields(sample)}
    if sample.crops is not None:
        row["crops"] = [encode_crop(crop) for crop in sample.crops]
    if sample.crop_times_us is not None:
        row["crop_times_us"] = sample.crop_times_us.tolist()
    if sample.audio is not None:
        row["audio"], row["audio_samples"] = encode_audio(sample.audio), len(sample.audio)
    for name in BY_EMOTION:
        if (found := getattr(sample, name)) is not None:
            values = [None if math.isnan(value) else value for value in found.tolist()]
            row[name] = dict(zip(EMOTIONS, values, strict=True))
    row["content"] = content_of(sample.crops, row["audio"])
    return row


def content_of(crops: NDArray[np.uint8] | None, audio: bytes | None) -> str | None:
    """The column `content` of a sample with these pictures and this stored sound (see `SCHEMA`)."""
    if crops is None and not (audio or b"").strip(b"\0"):
        return None
    found = hashlib.blake2b(digest_size=16)
    found.update(b"" if crops is None else np.ascontiguousarray(crops).tobytes())
    found.update(audio or b"")
    return found.hexdigest()


def from_row(row: Mapping[str, Any]) -> Sample:
    """The sample of a row; columns that were not read are None."""
    values: dict[str, Any] = {f.name: row.get(f.name) for f in fields(Sample)}
    if values["crops"] is not None:
        values["crops"] = np.stack([decode_crop(blob) for blob in values["crops"]])
    if values["crop_times_us"] is not None:
        values["crop_times_us"] = np.asarray(values["crop_times_us"], np.int64)
    if values["audio"] is not None:
        values["audio"] = decode_audio(values["audio"])
    if values["files"] is not None:
        values["files"] = tuple(values["files"])
    for name in BY_EMOTION:
        if values[name] is not None:  # a None within it becomes NaN
            values[name] = np.asarray([values[name][emotion] for emotion in EMOTIONS], np.float32)
    return Sample(**values)


def encode_crop(rgb: NDArray[np.uint8]) -> bytes:
    """A picture (S, S, 3) uint8 RGB as PNG or JPEG, by its size (see the module)."""
    grey = bool((rgb == rgb[..., :1]).all())
    stored = np.ascontiguousarray(rgb[..., 0] if grey else rgb[..., ::-1])
    if max(rgb.shape[:2]) <= MAX_LOSSLESS_PIXELS:
        return bytes(cv2.imencode(".png", stored)[1])
    return bytes(cv2.imencode(".jpg", stored, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])[1])


def decode_crop(blob: bytes) -> NDArray[np.uint8]:
    """The picture (S, S, 3) uint8 RGB of `encode_crop`."""
    rgb = cv2.imdecode(np.frombuffer(blob, np.uint8), cv2.IMREAD_COLOR_RGB)
    if rgb is None:
        raise ValueError(f"a crop of {len(blob)} bytes is not a picture: the file is damaged")
    return np.asarray(rgb, np.uint8)


def resize(picture: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """A square picture, color or grey, at `size` pixels a side; the same array if it has that size."""
    if picture.shape[0] == size:
        return picture
    how = cv2.INTER_AREA if picture.shape[0] > size else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(picture, (size, size), interpolation=how), np.uint8)


def encode_audio(samples: NDArray[np.float32]) -> bytes:
    """Samples (n,) float32 in [-1, 1] as 16-bit little-endian PCM; louder ones are clipped."""
    return np.rint(np.clip(samples, -1.0, 32767 / 32768) * 32768).astype("<i2").tobytes()


def decode_audio(blob: bytes) -> NDArray[np.float32]:
    """Samples (n,) float32 in [-1, 1] of `encode_audio`."""
    return np.frombuffer(blob, "<i2").astype(np.float32) / np.float32(32768)


def _check(sample: Sample) -> None:
    """Refuse values that no recipe could use. They show a fault in the reader of the data set."""

    def refuse(name: str, found: object, expected: str) -> None:
        raise ValueError(f"sample {sample.id!r}: {name} is {found}, expected {expected}")

    if sample.crops is not None:
        shape, times = sample.crops.shape, sample.crop_times_us
        if sample.crops.dtype != np.uint8 or len(shape) != 4 or not shape[0] or shape[3] != 3:
            refuse("crops", f"{shape} {sample.crops.dtype}", "(T, S, S, 3) uint8")
        if times is None or times.shape != (shape[0],):
            refuse("crop_times_us", times, f"{shape[0]} times")
    if sample.audio is not None and (sample.audio.ndim != 1 or not np.isfinite(sample.audio).all()):
        refuse("audio", sample.audio.shape, f"(n,) finite samples at {SAMPLE_RATE} Hz")
    for name, allowed in _WORDS.items():
        value = getattr(sample, name)
        if value is not None and value not in allowed:
            refuse(name, repr(value), f"one of {', '.join(allowed)}")
    for name, (low, high) in RANGES.items():
        value = getattr(sample, name)
        if value is not None and not low <= value <= high:
            refuse(name, value, f"{low} to {high}")
    if sample.intensities is not None:
        known = sample.intensities[~np.isnan(sample.intensities)]
        if sample.intensities.shape != (len(EMOTIONS),) or (abs(known - 0.5) > 0.5).any():
            refuse("intensities", sample.intensities, f"{len(EMOTIONS)} numbers from 0 to 1")
    votes = sample.votes
    if votes is not None and (
        votes.shape != (len(EMOTIONS),) or not (votes >= 0).all() or not 0 < votes.sum() < math.inf
    ):
        refuse("votes", votes, f"{len(EMOTIONS)} numbers, 0 or more, not all 0")
