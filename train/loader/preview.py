"""Augmentation to look at and to listen to: original samples beside augmented ones."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from scipy.io import wavfile
from torch import Tensor

from affectstream.stream.media.types import SAMPLE_RATE
from affectstream.stream.sinks.base import writing
from affectstream.train.data.dataset import Dataset
from affectstream.train.data.sample import encode_audio, resize
from affectstream.train.errors import DataError
from affectstream.train.loader import augment_sound, pictures
from affectstream.train.loader.rows import has_modality
from affectstream.train.loader.window_spec import loudest_window
from affectstream.train.networks.mel import LogMel

FRAMES, SOUND = "frames.png", "sound.png"
VARIANTS = 7
SOUND_VARIANTS = 3
"""Augmented versions of each sound; as many more have parts hidden."""
_TILE = 112
_RANGE = 18.0  # of log-mels, 78 dB under the loudest
_GAP = 2


def preview(
    data: Path,
    output: Path,
    *,
    split: str = "train",
    count: int = 8,
    seed: int = 0,
    seconds: float = 3,
) -> Iterator[Path]:
    """Write sheets of pictures and of log-mels, and WAV files, into `output`; yields each path.

    `frames.png` has a row for each of `count` samples of `split`: an original picture, then augmented ones.
    `sound.png` has the loudest `seconds` of each as log-mels: original, augmented (both also as WAV files),
    and with bars hidden by SpecAugment. Raises `DataMissing`, `DataError` for a data set without pictures and
    sound, `OutputError` where the disk refuses.
    """
    dataset = Dataset(data)
    rows = dataset.rows_of(split)
    generator = torch.Generator().manual_seed(seed)
    with_video, with_voice = (
        rows[has_modality(dataset, what)[rows]] for what in ("video", "voice")
    )
    if not len(with_video) and not len(with_voice):
        raise DataError(
            f"data set {dataset.info.name!r}: none of the {len(rows)} samples of split {split} has "
            "pictures or sound; words are not augmented"
        )
    with writing(output):
        output.mkdir(parents=True, exist_ok=True)
    # Spread over the split: neighbours in a data set are often of one recording.
    video, voice = (
        [int(found[number]) for number in pictures.pick_evenly(len(found), count)]
        for found in (with_video, with_voice)
    )
    if video:
        yield _frames(dataset, video, output, generator)
    if voice:
        yield from _sound(dataset, voice, output, generator, seconds)


def _frames(dataset: Dataset, rows: list[int], output: Path, generator: torch.Generator) -> Path:
    sheet = []
    for row in rows:
        crops = dataset[row].crops
        assert crops is not None  # by `has_modality`
        picture = torch.from_numpy(crops[len(crops) // 2]).float()
        many = picture.expand(VARIANTS, *picture.shape)
        changed = pictures.augment(many, torch.arange(VARIANTS), generator)
        tiles = torch.cat([picture.unsqueeze(0), changed]).round().to(torch.uint8).numpy()
        sheet.append([resize(tile, max(_TILE, tile.shape[0])) for tile in tiles])
    return _write_sheet(output / FRAMES, sheet)


def _sound(
    dataset: Dataset, rows: list[int], output: Path, generator: torch.Generator, seconds: float
) -> Iterator[Path]:
    mels, sheet = LogMel(), []
    for number, row in enumerate(rows):
        audio = dataset[row].audio
        assert audio is not None  # by `has_modality`
        loudest = loudest_window(audio, round(seconds * SAMPLE_RATE))
        window = torch.from_numpy(loudest).unsqueeze(0)
        changed = augment_sound.augment(window.repeat(SOUND_VARIANTS, 1), generator)
        versions = torch.cat([window, changed])
        for version, sound in enumerate(versions.numpy()):
            name = f"changed-{version}" if version else "as-it-is"
            yield _write_wav(output / f"sound-{number:02d}-{name}.wav", sound)
        shown = mels(versions)
        hidden = augment_sound.spec_augment(shown[:1].repeat(SOUND_VARIANTS, 1, 1), generator)
        sheet.append([_colored(mel, shown[0].max()) for mel in (*shown, *hidden)])
    yield _write_sheet(output / SOUND, sheet)


def _colored(mel: Tensor, loudest: Tensor) -> NDArray[np.uint8]:
    """Log-mels (B, T), low bands at the bottom and each twice as high: (2 B, T, 3) uint8 RGB."""
    grey = ((mel - loudest + _RANGE) / _RANGE).clamp(0, 1).mul(255).round().to(torch.uint8)
    tall = np.repeat(grey.flip(0).numpy(), 2, axis=0)
    return np.asarray(cv2.applyColorMap(tall, cv2.COLORMAP_INFERNO)[..., ::-1], np.uint8)


def _write_sheet(path: Path, sheet: list[list[NDArray[np.uint8]]]) -> Path:
    edges = ((0, _GAP), (0, _GAP), (0, 0))
    whole = np.vstack([np.hstack([np.pad(tile, edges) for tile in row]) for row in sheet])
    with writing(path):
        path.write_bytes(cv2.imencode(".png", np.ascontiguousarray(whole[..., ::-1]))[1].tobytes())
    return path


def _write_wav(path: Path, samples: NDArray[np.float32]) -> Path:
    with writing(path):
        wavfile.write(path, SAMPLE_RATE, np.frombuffer(encode_audio(samples), "<i2"))
    return path
