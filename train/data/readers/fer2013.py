"""FER2013: 48x48 grey face crops in seven classes (Goodfellow et al., 2013).

Read from ``fer2013.zip`` (``train/<class>/*.jpg`` is Training, ``test/<class>/*.jpg`` PublicTest), from
the same two folders unpacked, or (`source` only) from the original table with its columns
``emotion``, ``pixels`` and ``Usage``. The labels are noisy: people agree with them about 65 % of the
time, and some pictures occur several times, in both splits or under two labels.
"""

from __future__ import annotations

import csv
import io
import zipfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from affectstream.train.data.prepare.crops import Cropper
from affectstream.train.data.prepare.source import Job, Made, Options, Skipped, Source
from affectstream.train.data.prepare.vocabulary import Vocabulary
from affectstream.train.data.sample import Sample
from affectstream.train.errors import DataError, DataMissing

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
NUMBERS = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")
"""What the numbers 0 to 6 of the table stand for."""
SPLIT_OF = {"train": "train", "test": "valid", "private": "test"}
"""Of the folders."""
SPLIT_OF_USAGE = {"Training": "train", "PublicTest": "valid", "PrivateTest": "test"}
COLUMNS = ("emotion", "pixels", "Usage")
_JOB_ROWS = 500

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


def source(path: Path, options: Options) -> Source:
    """Every picture, with the splits of the set: PublicTest is ``valid``, PrivateTest ``test``.

    `path` is the archive, the folder that holds ``train/`` and ``test/``, the table, or a folder with
    ``fer2013.zip`` or ``fer2013.csv`` in it. The pictures are crops already, cut as serving would
    (`FER_TO_TEMPLATE`); another crop size enlarges them. Raises `DataMissing` or `DataError`.
    """
    for name in ("fer2013.zip", "fer2013.csv", "icml_face_data.csv", "fer2013"):
        if path.is_dir() and (path / name).exists():
            path = path / name
            break
    vocabulary = options.vocabulary(LABELS)
    if path.suffix == ".csv":
        jobs = _table_jobs(path, vocabulary)
    elif path.suffix == ".zip":
        jobs = _archive_jobs(path, vocabulary)
    else:
        jobs = _folder_jobs(path, vocabulary)
    if not jobs:
        raise DataMissing(
            f"no pictures of FER2013 in {path}: expected fer2013.zip, fer2013.csv, or a folder with "
            "train/<class>/*.jpg and test/<class>/*.jpg"
        )
    return Source("FER2013", "research", jobs, official=True)


def _archive_jobs(path: Path, vocabulary: Vocabulary) -> list[Job]:
    try:
        with zipfile.ZipFile(path) as zipped:
            names = sorted(name for name in zipped.namelist() if _split_of(name))
    except (OSError, zipfile.BadZipFile) as error:
        raise DataMissing(f"{path} cannot be read: {error}") from error

    def job(part: list[str]) -> Job:
        def make(cropper: Cropper) -> Iterator[Made]:
            with zipfile.ZipFile(path) as zipped:
                for name in part:
                    yield _of_file(name, zipped.read(name), vocabulary, cropper)

        return Job(part[0], make)

    return [job(names[at : at + _JOB_ROWS]) for at in range(0, len(names), _JOB_ROWS)]


def _folder_jobs(path: Path, vocabulary: Vocabulary) -> list[Job]:
    if not path.is_dir():
        raise DataMissing(f"{path} is no folder, .zip or .csv of FER2013")
    names = sorted(p.relative_to(path).as_posix() for p in path.rglob("*.*") if p.is_file())
    names = [name for name in names if _split_of(name)]

    def job(part: list[str]) -> Job:
        def make(cropper: Cropper) -> Iterator[Made]:
            for name in part:
                yield _of_file(name, (path / name).read_bytes(), vocabulary, cropper)

        return Job(part[0], make)

    return [job(names[at : at + _JOB_ROWS]) for at in range(0, len(names), _JOB_ROWS)]


def _split_of(name: str) -> str | None:
    """The split of ``.../<split>/<class>/<picture>``; None for other files."""
    parts = name.split("/")
    if len(parts) < 3 or not name.lower().endswith((".jpg", ".jpeg", ".png")):
        return None
    return SPLIT_OF.get(parts[-3])


def _of_file(name: str, blob: bytes, vocabulary: Vocabulary, cropper: Cropper) -> Made:
    emotion = vocabulary.emotion(name.split("/")[-2], name)
    if emotion is None:
        return Skipped(name, "label left out", name.split("/")[-2])
    image = cv2.imdecode(np.frombuffer(blob, np.uint8), cv2.IMREAD_GRAYSCALE) if blob else None
    if image is None:
        return Skipped(name, "no picture", f"{len(blob)} bytes that cannot be decoded")
    key = "/".join(name.split("/")[-3:])
    return _sample(key, np.asarray(image, np.uint8), emotion, _split_of(name), cropper)


def _table_jobs(path: Path, vocabulary: Vocabulary) -> list[Job]:
    """One job: a row lies wherever the ones before it end."""

    def make(cropper: Cropper) -> Iterator[Made]:
        with ExitStack() as stack:
            for number, row in enumerate(_open_table(path, stack), 1):
                yield _of_row(f"{path.name}, row {number}", row, vocabulary, cropper)

    with ExitStack() as stack:
        _open_table(path, stack)
    return [Job(path.name, make)]


def _open_table(path: Path, stack: ExitStack) -> csv.DictReader[str]:
    try:
        file = stack.enter_context(path.open(encoding="utf-8-sig", newline=""))
    except OSError as error:
        raise DataMissing(f"{path} cannot be read: {error}") from error
    table = csv.DictReader(file, skipinitialspace=True)
    found = [name.strip() for name in table.fieldnames or ()]
    if missing := [name for name in COLUMNS if name not in found]:
        raise DataError(
            f"{path}: no column {', '.join(missing)}; found {', '.join(found) or 'none'}, "
            f"expected {', '.join(COLUMNS)}"
        )
    return table


def _of_row(where: str, row: dict[str, str], vocabulary: Vocabulary, cropper: Cropper) -> Made:
    number, usage = row["emotion"].strip(), row["Usage"].strip()
    word = NUMBERS[int(number)] if number.isdecimal() and int(number) < len(NUMBERS) else number
    emotion = vocabulary.emotion(word, where)
    if emotion is None:
        return Skipped(where, "label left out", word)
    if usage not in SPLIT_OF_USAGE:
        raise DataError(f"{where}: Usage is {usage!r}, expected one of {', '.join(SPLIT_OF_USAGE)}")
    try:
        pixels = np.loadtxt(io.StringIO(row["pixels"]), np.uint8).reshape(SIZE, SIZE)
    except ValueError:
        return Skipped(where, "no picture", f"pixels are not {SIZE * SIZE} numbers from 0 to 255")
    return _sample(where, pixels, emotion, SPLIT_OF_USAGE[usage], cropper)


def _sample(
    key: str, grey: NDArray[np.uint8], emotion: str, split: str | None, cropper: Cropper
) -> Sample:
    affine = np.array(FER_TO_TEMPLATE)
    if grey.shape != (SIZE, SIZE):
        raise DataError(f"{key}: a picture of {grey.shape}, expected {SIZE}x{SIZE}")
    cut = cv2.warpAffine(grey, affine, (SIZE, SIZE), borderMode=cv2.BORDER_REPLICATE)
    if cropper.size != SIZE:
        how = cv2.INTER_AREA if cropper.size < SIZE else cv2.INTER_LINEAR
        cut = cv2.resize(cut, (cropper.size, cropper.size), interpolation=how)
    return Sample(
        id=key,
        split=split,
        frames_seen=1,
        crops=np.repeat(np.asarray(cut, np.uint8)[None, :, :, None], 3, axis=3),
        crop_times_us=np.zeros(1, np.int64),
        emotion=emotion,
    )
