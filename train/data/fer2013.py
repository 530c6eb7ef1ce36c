"""FER2013: 48x48 grey face crops in seven classes (Goodfellow et al., 2013).

Read from ``fer2013.zip`` (``train/<class>/*.jpg`` is Training, ``test/<class>/*.jpg`` PublicTest) or
from the same two folders unpacked. The labels are noisy: people agree with them about 65 % of the
time.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from affectstream.train.errors import DataMissing

LABELS = {
    "angry": "anger",
    "disgust": "disgust",
    "fear": "fear",
    "happy": "joy",
    "neutral": "neutral",
    "sad": "sadness",
    "surprise": "surprise",
}
SIZE = 48

FER_TO_TEMPLATE = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0))
"""Rows of the affine from pixels of FER2013 to those of the serving template, both 48x48. The template
(`affectstream.stream.faces.crop.TEMPLATE`) is set to the median landmarks of FER2013 (400 training
pictures at five sizes, by the detector of `pocket`), so this is the identity; were the template moved
elsewhere, this alone would change."""


def read(
    root: Path, split: str, labels: tuple[str, ...]
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Images (N, 48, 48) uint8 grey as serving would cut them, label numbers (N,) int64, in order.

    `split` is the folder's name, ``train`` or ``test``; `labels` gives the numbering. Raises
    `DataMissing` when neither ``fer2013.zip`` nor ``fer2013/`` is under `root`.
    """
    images, numbers, affine = [], [], np.array(FER_TO_TEMPLATE)
    for name, blob in _files(root):
        parts = name.split("/")
        if len(parts) < 3 or parts[-3] != split or parts[-2] not in LABELS:
            continue
        image = cv2.imdecode(np.frombuffer(blob, np.uint8), cv2.IMREAD_GRAYSCALE)
        if image is None or image.shape != (SIZE, SIZE):
            raise ValueError(f"{name}: expected a {SIZE}x{SIZE} picture, found {image!r}")
        images.append(cv2.warpAffine(image, affine, (SIZE, SIZE), borderMode=cv2.BORDER_REPLICATE))
        numbers.append(labels.index(LABELS[parts[-2]]))
    if not images:
        raise DataMissing(f"no pictures of FER2013's {split!r} folder under {root}")
    return np.stack(images).astype(np.uint8), np.asarray(numbers, np.int64)


def _files(root: Path) -> Iterator[tuple[str, bytes]]:
    archive, folder = root / "fer2013.zip", root / "fer2013"
    if archive.exists():
        with zipfile.ZipFile(archive) as zipped:
            for name in sorted(zipped.namelist()):
                if name.endswith(".jpg"):
                    yield name, zipped.read(name)
    elif folder.is_dir():
        for path in sorted(folder.rglob("*.jpg")):
            yield path.relative_to(folder.parent).as_posix(), path.read_bytes()
    else:
        raise DataMissing(f"FER2013 not found: expected {archive} or {folder}/train/<class>/*.jpg")
