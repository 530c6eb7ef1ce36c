"""The training batches of `face_detector`: canvases of photos in which YuNet has found the faces.

YuNet, ``models/yunet_n_dynamic.onnx`` in the data folder, looks at each upright photo once: box and
landmarks of a head that is turned on a canvas follow from these, so no teacher has to find turned heads
and there is no label file. The photos are faces in context, 3,925 head shots, mostly close, longest side
256 pixels, ``faces_in_context.zip`` (``images/<Person>_<number>.jpg``) or the same folder unpacked.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from affectstream.engines.runtimes.onnx import OnnxEngine
from affectstream.stream.faces.detect import Detector, DetectorSpec
from affectstream.train.errors import DataMissing
from affectstream.train.loader.face_canvases import Canvases, Faces, Head
from affectstream.train.loader.face_squares import person_number
from affectstream.train.recipe import Batch

HELD_SHARE = 0.05
"""Share of the people kept for validation."""


def read_photos(root: Path) -> tuple[list[NDArray[np.uint8]], list[NDArray[np.uint8]]]:
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
    return person_number(name) % 1000 < HELD_SHARE * 1000


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


YUNET = "models/yunet_n_dynamic.onnx"
"""In the data folder."""
CERTAIN = 0.6
"""YuNet's score of a face that has to be found; weaker ones, from `WEAK` on, may be found or not."""
WEAK = 0.3
SHAPES = ((128, 192), (160, 160), (192, 128), (128, 160), (192, 320), (320, 256))
"""Canvas sizes: mostly small ones, which give more steps for the same time, and two for large faces."""
STEPS = 400
"""Steps an epoch. Canvases are made on the fly, so an epoch is a length, not a pass."""
MOST_FACES = 32
"""Faces of one canvas; further ones are dropped, and canvases with so many are rare."""


def find_heads(photos: Sequence[NDArray[np.uint8]], data: Path) -> list[Head]:
    """The photos (H, W, 3) uint8 RGB in which YuNet finds a face, with all of its faces.

    Raises `DataMissing` if YuNet is not in `data`.
    """
    path = data / YUNET
    if not path.exists():
        raise DataMissing(f"the teacher is missing: expected YuNet's dynamic graph as {path}")
    spec = DetectorSpec(size=256, threshold=WEAK, color="bgr", layout="nchw")
    heads = []
    with OnnxEngine(path, threads=torch.get_num_threads()) as engine:
        detector = Detector(engine, spec)
        for photo in photos:
            found = detector.detect([photo])[0]
            if not found or found[0].score < CERTAIN:
                continue
            faces = Faces(
                np.array([face.box for face in found], np.float32),
                np.array([face.landmarks for face in found], np.float32),
                np.array([face.score >= CERTAIN for face in found]),
            )
            grey = np.asarray(cv2.cvtColor(photo, cv2.COLOR_RGB2GRAY), np.uint8)
            heads.append(Head(grey, faces, _turned(found[0].landmarks)))
    return heads


def _turned(landmarks: NDArray[np.float32]) -> float:
    """Distance of the nose from the middle of the eyes along the line between them, in eye distances."""
    right, left, nose = landmarks[:3]
    axis = left - right
    return float(abs((nose - (left + right) / 2) @ axis) / max(1.0, axis @ axis))


def canvas_batch(
    canvases: Canvases, size: int, rng: np.random.Generator, shape: tuple[int, int] | None = None
) -> Batch:
    """A batch of `size` canvases: ``grey`` (N, 1, H, W) uint8 and ``faces`` (N, `MOST_FACES`, 15) float32.

    A face is its box x0, y0, x1, y1, five landmarks x, y, and 1 for a face that has to be found, 0 for one
    that may be found or not, -1 for none.
    """
    height, width = shape or SHAPES[int(rng.integers(len(SHAPES)))]
    grey = np.empty((size, 1, height, width), np.uint8)
    rows = np.full((size, MOST_FACES, 15), -1, np.float32)
    for picture, row in zip(grey, rows, strict=True):
        picture[0], faces = canvases.make(height, width, rng)
        count = min(len(faces.boxes), MOST_FACES)
        row[:count, :4] = faces.boxes[:count]
        row[:count, 4:14] = faces.landmarks[:count].reshape(-1, 10)
        row[:count, 14] = faces.certain[:count]
    return {"grey": torch.from_numpy(grey), "faces": torch.from_numpy(rows)}


class CanvasBatches:
    """Training batches, made on the fly: a function of the seed and the epoch number."""

    def __init__(self, canvases: Canvases, size: int, seed: int) -> None:
        self._canvases, self._size, self._seed = canvases, size, seed

    def __len__(self) -> int:
        return STEPS

    def epoch(self, number: int) -> Iterator[Batch]:
        """Batches of `size` canvases, each a function of the seed, the epoch and its place."""
        for k in range(STEPS):
            yield canvas_batch(
                self._canvases, self._size, np.random.default_rng([self._seed, number, k])
            )
