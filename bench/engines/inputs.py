"""Real faces, voices and lines as engine inputs, from the original files of the data sets, without labels.

It reads only what training used to fit or to select; never FER2013 PrivateTest, RAVDESS actors 21 to 24 or
MELD test.
"""

from __future__ import annotations

import csv
import zipfile
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from affectstream.engines.errors import AffectstreamError
from affectstream.stream.media.recording import Recording
from affectstream.stream.media.types import Samples
from affectstream.stream.windowing.sound_timeline import SoundTimeline

LAST_ACTOR = 20
PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg")
"""The original pixels come as PNG, copies of the set as JPEG."""
RECORDING_SUFFIXES = frozenset({".mp4", ".mov", ".mkv", ".webm", ".wav"})


class InputsMissing(AffectstreamError):
    """The folder of the data sets lacks what a measurement needs."""


def faces(root: Path) -> NDArray[np.uint8]:
    """FER2013 PublicTest (N, 48, 48, 3) uint8 from ``fer2013.zip``, gray in all three channels."""
    path = root / "fer2013.zip"
    images = []
    if path.is_file():
        with zipfile.ZipFile(path) as archive:
            for name in sorted(archive.namelist()):
                if name.lower().endswith(PICTURE_SUFFIXES) and "test" in name.split("/")[:-1]:
                    blob = np.frombuffer(archive.read(name), np.uint8)
                    image = cv2.imdecode(blob, cv2.IMREAD_COLOR_RGB)
                    if image is None:
                        raise InputsMissing(f"{path}: {name} is not an image")
                    images.append(np.asarray(image, np.uint8))
    if not images:
        raise InputsMissing(f"no images found: expected test/<class>/*.png in {path}")
    return np.stack(images)


def voices(root: Path, length: int) -> NDArray[np.float32]:
    """Windows of speech (N, length) float32 at 16 kHz from RAVDESS and EMO-DB: a window starts every
    `length` / 2 samples, the last is padded with zeros."""
    actors = [root / "ravdess" / f"Actor_{actor:02d}" for actor in range(1, LAST_ACTOR + 1)]
    paths = [p for folder in (*actors, root / "emodb" / "wav") for p in sorted(folder.glob("*"))]
    found = [w for p in paths if p.suffix in (".flac", ".wav") for w in _windows(p, length)]
    if not found:
        raise InputsMissing(f"no speech found: expected ravdess/Actor_01 or emodb/wav in {root}")
    return np.stack(found)


def _windows(path: Path, length: int) -> Iterator[NDArray[np.float32]]:
    with Recording.open(path) as recording:
        runs = [item for item in recording if isinstance(item, Samples)]
    timeline = SoundTimeline()
    for run in runs:
        timeline.push(run)
    for start in range(0, max(1, timeline.end - length // 2), length // 2):
        yield timeline.window(start, start + length)[:, 0]


def lines(root: Path) -> list[str]:
    """The utterances of MELD dev, as written."""
    path = root / "meld" / "dev_sent_emo.csv"
    if not path.is_file():
        raise InputsMissing(f"no lines found: expected {path}")
    with path.open(encoding="utf-8", newline="") as file:
        return [row["Utterance"] for row in csv.DictReader(file)]


def clips(root: Path) -> list[Path]:
    """Recordings under ``video/``, by name."""
    found = sorted(path for path in (root / "video").glob("*") if path.suffix in RECORDING_SUFFIXES)
    if not found:
        raise InputsMissing(f"no recordings found: expected some in {root / 'video'}")
    return found
