"""Faces in context: 3,925 head shots, mostly grey and close, longest side 256 pixels.

Read from ``faces_in_context.zip`` (``images/<Person>_<number>.jpg``) or from the same folder
unpacked under ``faces_in_context/``. Only the pictures are used: where the faces are is the
teacher's to say (see `affectstream.train.recipes.pocket.pocket_detector`).
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from affectstream.train.errors import DataMissing

HELD_SHARE = 0.05
"""Share of the people kept for validation."""


def read(root: Path) -> tuple[list[NDArray[np.uint8]], list[NDArray[np.uint8]]]:
    """Photos (H, W, 3) uint8 RGB to train on and to validate on, each in a fixed order.

    All photos of one person are on one side. They stay decoded in memory: about 0.6 GB. Raises
    `DataMissing` when neither ``faces_in_context.zip`` nor ``faces_in_context/`` is under `root`.
    """
    train: list[NDArray[np.uint8]] = []
    held: list[NDArray[np.uint8]] = []
    for name, blob in _files(root):
        photo = cv2.imdecode(np.frombuffer(blob, np.uint8), cv2.IMREAD_COLOR_RGB)
        if photo is None:
            raise ValueError(f"{name}: not a picture that OpenCV can read")
        (held if is_held(name) else train).append(np.asarray(photo, np.uint8))
    if not train or not held:
        raise DataMissing(f"no photos in faces_in_context under {root}: expected images/*.jpg")
    return train, held


def is_held(name: str) -> bool:
    """Whether the photo of this file name belongs to a person kept for validation."""
    person = name.rsplit("/", 1)[-1].rsplit("_", 1)[0]
    return zlib.crc32(person.encode()) % 1000 < HELD_SHARE * 1000


def _files(root: Path) -> Iterator[tuple[str, bytes]]:
    archive, folder = root / "faces_in_context.zip", root / "faces_in_context"
    if archive.exists():
        with zipfile.ZipFile(archive) as zipped:
            for name in sorted(zipped.namelist()):
                if name.endswith(".jpg"):
                    yield name, zipped.read(name)
    elif folder.is_dir():
        for path in sorted(folder.rglob("*.jpg")):
            yield path.relative_to(folder).as_posix(), path.read_bytes()
    else:
        raise DataMissing(f"photos not found: expected {archive} or {folder}/images/*.jpg")
