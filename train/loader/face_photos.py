"""The training batches of `face_detector`: canvases with the outputs of a teacher, without a label file.

The teacher is YuNet, ``models/yunet_n_dynamic.onnx`` in the data folder. It also finds the heads in the
photos that canvases are made of: faces in context, 3,925 head shots, mostly grey and close, longest side 256
pixels, ``faces_in_context.zip`` (``images/<Person>_<number>.jpg``) or the same folder unpacked.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from affectstream.engines.runtimes.onnx import OnnxEngine
from affectstream.stream.faces.detect import Detector, DetectorSpec
from affectstream.train.errors import DataMissing
from affectstream.train.loader.face_canvases import Canvases, Head
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


TEACHER = "models/yunet_n_dynamic.onnx"
SHAPES = ((192, 320), (320, 320), (256, 256), (320, 192), (256, 320), (224, 288))
"""Canvas sizes: 16:9, square and upright pictures letterboxed to 320, and others."""
STEPS = 400
"""Steps an epoch. Canvases are made on the fly, so an epoch is a length, not a pass."""


class Teacher:
    """YuNet on a batch of canvases."""

    def __init__(self, data: Path) -> None:
        """Raises `DataMissing` if the teacher is not in `data`."""
        path = data / TEACHER
        if not path.exists():
            raise DataMissing(f"the teacher is missing: expected YuNet's dynamic graph as {path}")
        self.engine = OnnxEngine(path, threads=torch.get_num_threads())

    def __call__(self, grey: NDArray[np.uint8]) -> dict[str, NDArray[np.float32]]:
        """YuNet's outputs for grey pictures (N, H, W) uint8."""
        feed = np.repeat(grey[:, None].astype(np.float32), 3, axis=1)
        return self.engine.run({"input": feed})

    def heads(self, photos: Sequence[NDArray[np.uint8]]) -> list[Head]:
        """The photos (H, W, 3) uint8 RGB with a face, each with its highest-scoring face."""
        spec = DetectorSpec(size=256, threshold=0.6, color="bgr", layout="nchw")
        detector, heads = Detector(self.engine, spec), []
        for photo in photos:
            for found in detector.detect([photo])[0][:1]:
                left, top, right, bottom = found.box
                grey = np.asarray(cv2.cvtColor(photo, cv2.COLOR_RGB2GRAY), np.uint8)
                face = ((left + right) / 2, (top + bottom) / 2, right - left)
                heads.append(Head(grey, face, _turned(found.landmarks)))
        return heads


def _turned(landmarks: NDArray[np.float32]) -> float:
    """Distance of the nose from the middle of the eyes along the line between them, in eye distances."""
    right, left, nose = landmarks[:3]
    axis = left - right
    return float(abs((nose - (left + right) / 2) @ axis) / max(1.0, axis @ axis))


def labeled(
    canvases: Canvases,
    teacher: Teacher,
    size: int,
    rng: np.random.Generator,
    shape: tuple[int, int] | None = None,
) -> Batch:
    """A batch of `size` canvases: ``grey`` (N, 1, H, W) uint8 degraded, and YuNet's outputs for the clear
    ones."""
    height, width = shape or SHAPES[int(rng.integers(len(SHAPES)))]
    pairs = [canvases.make(height, width, rng) for _ in range(size)]
    clear, degraded = (np.stack(side) for side in zip(*pairs, strict=True))
    targets = {name: torch.from_numpy(value) for name, value in teacher(clear).items()}
    return {"grey": torch.from_numpy(degraded).unsqueeze(1), **targets}


class CanvasBatches:
    """Training batches, made on the fly: a function of the seed and the epoch number."""

    def __init__(self, canvases: Canvases, teacher: Teacher, size: int, seed: int) -> None:
        self._canvases, self._teacher, self._size, self._seed = canvases, teacher, size, seed

    def __len__(self) -> int:
        return STEPS

    def epoch(self, number: int) -> Iterator[Batch]:
        """Batches of `size` canvases, each a function of the seed, the epoch and its place."""
        for k in range(STEPS):
            rng = np.random.default_rng([self._seed, number, k])
            yield labeled(self._canvases, self._teacher, self._size, rng)
