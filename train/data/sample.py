"""One sample of a prepared data set: what was seen, heard and said, and what it is labelled with.

In memory pictures and sound are arrays; in a row of `samples-*.parquet` they are bytes:

- A crop of up to `MAX_LOSSLESS_PIXELS` a side is a PNG: in a small face a block of JPEG is as large
  as a corner of the mouth. A larger crop is a JPEG of quality `JPEG_QUALITY`, a fifth of the size.
  A grey picture is stored with one channel and read back with three.
- Sound is 16-bit: recordings are, it halves the size, and its noise lies 98 dB under full scale.

What a sample does not have is null. Nothing here needs torch.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from affectstream.engines.labels import EMOTIONS
from affectstream.stream.media.types import SAMPLE_RATE

MAX_LOSSLESS_PIXELS = 112
"""Longest side of a crop, in pixels, that is stored without loss."""
JPEG_QUALITY = 95
SENTIMENTS = ("negative", "neutral", "positive")
SPLITS = ("train", "valid", "test")
GENDERS = ("female", "male", "other")

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
    ]
)
"""Columns of `samples-*.parquet`. `content` is a hash of crops and sound, null where there are
neither, or silence: two people may well say the same words, or nothing."""

TASKS = {
    "emotion": "emotion",
    "emotion_multilabel": "intensities",
    "attention": "attention",
    "engagement": "engagement",
    "valence": "valence",
    "sentiment": "sentiment",
    "intensity": "intensity",
}
"""The column that a task learns from."""

_RANGES = {
    "intensity": (0.0, 1.0),
    "attention": (0.0, 1.0),
    "engagement": (0.0, 1.0),
    "valence": (-1.0, 1.0),
}


@dataclass(slots=True, eq=False, kw_only=True)
class Sample:
    """One sample; None where it has nothing of a kind.

    `recording` is what it was cut from; `dialogue` and `turn` give its place in a conversation (or
    among the frames of one recording). `start_us` and `end_us` are on the recording's clock,
    `crop_times_us` (T,) int64 count from `start_us`. `crops` is (T, S, S, 3) uint8 RGB: the frames
    with a face out of `frames_seen`. `audio` is (n,) float32 in [-1, 1] at 16 kHz. `emotion` is one
    of `EMOTIONS`; `intensities` (8,) float32 in [0, 1] in their order, NaN where there is none;
    `intensity`, how strong the labelled emotion is, `attention` and `engagement` lie in [0, 1],
    `valence` in [-1, 1]; `sentiment` is one of `SENTIMENTS`.
    """

    id: str
    recording: str | None = None
    participant: str | None = None
    dialogue: str | None = None
    turn: int | None = None
    split: str | None = None
    start_us: int | None = None
    end_us: int | None = None
    frames_seen: int | None = None
    crops: NDArray[np.uint8] | None = None
    crop_times_us: NDArray[np.int64] | None = None
    audio: NDArray[np.float32] | None = None
    text: str | None = None
    language: str | None = None
    age: float | None = None
    gender: str | None = None
    emotion: str | None = None
    intensity: float | None = None
    intensities: NDArray[np.float32] | None = None
    attention: float | None = None
    engagement: float | None = None
    valence: float | None = None
    sentiment: str | None = None


def to_row(sample: Sample) -> dict[str, Any]:
    """The row of `SCHEMA` for a sample. Raises `ValueError`, naming the sample, for a bad value."""
    _check(sample)
    row = {f.name: getattr(sample, f.name) for f in fields(sample)}
    hashed = hashlib.blake2b(digest_size=16)
    if sample.crops is not None:
        hashed.update(np.ascontiguousarray(sample.crops).tobytes())
        row["crops"] = [encode_crop(crop) for crop in sample.crops]
    if sample.crop_times_us is not None:
        row["crop_times_us"] = sample.crop_times_us.tolist()
    if sample.audio is not None:
        row["audio"], row["audio_samples"] = encode_audio(sample.audio), len(sample.audio)
        hashed.update(row["audio"])
    if sample.intensities is not None:
        row["intensities"] = {
            name: None if math.isnan(value) else value
            for name, value in zip(EMOTIONS, sample.intensities.tolist(), strict=True)
        }
    empty = sample.crops is None and (sample.audio is None or not sample.audio.any())
    row["content"] = None if empty else hashed.hexdigest()
    return row


def from_row(row: Mapping[str, Any]) -> Sample:
    """The sample of a row; columns that were not read are None."""
    known: dict[str, Any] = {f.name: row.get(f.name) for f in fields(Sample)}
    if known["crops"] is not None:
        known["crops"] = np.stack([decode_crop(blob) for blob in known["crops"]])
    if known["crop_times_us"] is not None:
        known["crop_times_us"] = np.asarray(known["crop_times_us"], np.int64)
    if known["audio"] is not None:
        known["audio"] = decode_audio(known["audio"])
    if known["intensities"] is not None:
        values = [known["intensities"][name] for name in EMOTIONS]
        known["intensities"] = np.asarray([np.nan if v is None else v for v in values], np.float32)
    return Sample(**known)


def encode_crop(rgb: NDArray[np.uint8]) -> bytes:
    """A picture (S, S, 3) uint8 RGB as PNG or JPEG, by its size (see the module)."""
    grey = bool((rgb[..., 0] == rgb[..., 1]).all() and (rgb[..., 1] == rgb[..., 2]).all())
    stored = np.ascontiguousarray(rgb[..., 0] if grey else rgb[..., ::-1])
    if max(rgb.shape[:2]) <= MAX_LOSSLESS_PIXELS:
        return bytes(cv2.imencode(".png", stored)[1])
    return bytes(cv2.imencode(".jpg", stored, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])[1])


def decode_crop(blob: bytes) -> NDArray[np.uint8]:
    """The picture (S, S, 3) uint8 RGB of `encode_crop`."""
    bgr = cv2.imdecode(np.frombuffer(blob, np.uint8), cv2.IMREAD_COLOR)
    if bgr is None:
        raise ValueError(f"a crop of {len(blob)} bytes is no picture: the file is damaged")
    return np.ascontiguousarray(bgr[..., ::-1]).astype(np.uint8, copy=False)


def encode_audio(samples: NDArray[np.float32]) -> bytes:
    """Samples (n,) float32 in [-1, 1] as 16-bit little-endian PCM; louder ones are clipped."""
    return np.rint(np.clip(samples, -1.0, 32767 / 32768) * 32768).astype("<i2").tobytes()


def decode_audio(blob: bytes) -> NDArray[np.float32]:
    """Samples (n,) float32 in [-1, 1] of `encode_audio`."""
    return np.frombuffer(blob, "<i2").astype(np.float32) / np.float32(32768)


def _check(sample: Sample) -> None:
    """Refuse what no recipe could use; a reader of a data set that gets here has a fault."""

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
    for name, allowed in (
        ("emotion", EMOTIONS),
        ("sentiment", SENTIMENTS),
        ("split", SPLITS),
        ("gender", GENDERS),
    ):
        value = getattr(sample, name)
        if value is not None and value not in allowed:
            refuse(name, repr(value), f"one of {', '.join(allowed)}")
    for name, (low, high) in _RANGES.items():
        value = getattr(sample, name)
        if value is not None and not low <= value <= high:
            refuse(name, value, f"{low} to {high}")
    if sample.intensities is not None:
        present = sample.intensities[~np.isnan(sample.intensities)]
        if sample.intensities.shape != (len(EMOTIONS),) or (abs(present - 0.5) > 0.5).any():
            refuse("intensities", sample.intensities, f"{len(EMOTIONS)} numbers from 0 to 1")
