"""The pictures that canvases are made of: photos of heads, crops of faces, and pictures without people.

The photos are faces in context, 3,925 head shots, mostly close, longest side 256 pixels,
``faces_in_context.zip`` (``images/<Person>_<number>.jpg``) or the same folder unpacked. Where ``fer2013.zip``
is there, its 48-pixel crops serve for small faces: of many more people, hundreds of them in profile, which
the photos hardly have.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from affectstream.train.errors import DataMissing
from affectstream.train.loader.faces.degrade import Picture
from affectstream.train.loader.faces.squares import person_number

HELD_SHARE = 0.05
"""Share of the people kept for validation."""
YUNET = "models/yunet_n_dynamic.onnx"
"""The teacher, in the data folder."""
FREE_PX = 640
"""Longest side of a picture without people."""
FREE_PICTURES = (
    *("brick", "cell", "chelsea", "coffee", "coins", "grass", "gravel", "horse"),
    *("hubble_deep_field", "immunohistochemistry", "moon", "page", "retina", "rocket", "text"),
)
"""Pictures without people in `skimage.data`, all part of the installed package."""


def read_photos(root: Path) -> tuple[list[Picture], list[Picture]]:
    """Photos (H, W, 3) uint8 RGB to train on and to validate on, other people on each side, each in a fixed
    order. About 0.6 GB. Raises `DataMissing` without ``faces_in_context.zip`` and ``faces_in_context/`` under
    `root`."""
    archive, folder = root / "faces_in_context.zip", root / "faces_in_context"
    if archive.exists():
        files = _in_archive(archive, ".jpg")
    elif folder.is_dir():
        paths = sorted(folder.rglob("*.jpg"))
        files = ((path.relative_to(folder).as_posix(), path.read_bytes()) for path in paths)
    else:
        raise DataMissing(f"photos not found: expected {archive} or {folder}/images/*.jpg")
    sides: tuple[list[Picture], list[Picture]] = ([], [])
    for name, blob in files:
        sides[is_held(name)].append(_decoded(name, blob))
    if not all(sides):
        raise DataMissing(f"no photos in faces_in_context under {root}: expected images/*.jpg")
    return sides


def read_crops(root: Path) -> tuple[list[Picture], list[Picture]]:
    """Crops of FER2013, (48, 48) uint8 grey, to train on and to validate on; none without ``fer2013.zip``."""
    sides: tuple[list[Picture], list[Picture]] = ([], [])
    archive = root / "fer2013.zip"
    for name, blob in _in_archive(archive, ".png") if archive.exists() else ():
        sides[not name.startswith("train/")].append(_decoded(name, blob, cv2.IMREAD_GRAYSCALE))
    return sides


def free_pictures(folder: Path | None = None) -> list[Picture]:
    """RGB pictures without faces: those of scikit-image and scikit-learn, and the JPEG files in `folder`
    where it exists, in the order of their names."""
    from skimage import data
    from sklearn.datasets import load_sample_images  # type: ignore[import-untyped]

    found = [np.asarray(getattr(data, name)()) for name in FREE_PICTURES]
    found += [np.asarray(side) for side in data.stereo_motorcycle()[:2]]  # type: ignore[no-untyped-call]
    found += list(load_sample_images().images)
    for path in sorted(folder.glob("*.jpg")) if folder is not None else ():
        found.append(_decoded(str(path), path.read_bytes()))
    free = []
    for picture in found:
        levels = picture.astype(np.uint8) * 255 if picture.dtype == bool else picture
        levels = levels[..., :3] if levels.ndim == 3 else np.repeat(levels[..., None], 3, 2)
        scale = min(1.0, FREE_PX / max(levels.shape))
        small = cv2.resize(levels, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        free.append(np.asarray(small, np.uint8))
    return free


def is_held(name: str) -> bool:
    """Whether the photo of this file name belongs to a person kept for validation."""
    return person_number(name) % 1000 < HELD_SHARE * 1000


def _decoded(name: str, blob: bytes, kind: int = cv2.IMREAD_COLOR_RGB) -> Picture:
    picture = cv2.imdecode(np.frombuffer(blob, np.uint8), kind)
    if picture is None:
        raise ValueError(f"{name}: not a picture that OpenCV can read")
    return np.asarray(picture, np.uint8)


def _in_archive(path: Path, suffix: str) -> Iterator[tuple[str, bytes]]:
    with zipfile.ZipFile(path) as archive:
        for name in sorted(archive.namelist()):
            if name.endswith(suffix):
                yield name, archive.read(name)
