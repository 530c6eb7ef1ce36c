"""FER2013: 48x48 grey face crops in seven classes (Goodfellow et al., 2013).

Read from ``fer2013.zip`` (``train/<class>/*.jpg`` is Training, ``test/<class>/*.jpg`` PublicTest), from
the same folders unpacked, or from the original table with the columns ``emotion``, ``pixels`` and
``Usage``. The labels are noisy: people agree with them about 65 % of the time, and some pictures occur
several times, in both splits or with two labels.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from affectstream.train.data.reading.crops import Cropper
from affectstream.train.data.reading.reader import (
    Job,
    JobResult,
    Options,
    RawDataset,
    Reader,
    Skipped,
    Vocabulary,
)
from affectstream.train.data.reading.tables import iterate_rows, require_columns
from affectstream.train.data.sample import Sample, Split
from affectstream.train.errors import DataError, DataMissing

EMOTIONS = {
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
"""What the numbers 0 to 6 in the table stand for."""
SPLIT_OF_FOLDER: dict[str, Split] = {"train": "train", "test": "valid", "private": "test"}
SPLIT_OF_USAGE: dict[str, Split] = {
    "Training": "train",
    "PublicTest": "valid",
    "PrivateTest": "test",
}
COLUMNS = ("emotion", "pixels", "Usage")
PLACES = ("fer2013.zip", "fer2013.csv", "icml_face_data.csv", "fer2013")
"""Names below the folder that a user gives."""
_JOB_PICTURES = 500

FER_TO_TEMPLATE = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0))
"""Rows of the affine from pixels of FER2013 to those of the serving template, both 48x48. The template
(`affectstream.stream.faces.crop.TEMPLATE`) is the median landmarks of FER2013 (400 training pictures at
five sizes, by the detector of `pocket`), so this is the identity. Change it if the template moves."""


def read(
    root: Path, split: str, labels: Sequence[str]
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Images (N, 48, 48) uint8 grey as serving would cut them, and label numbers (N,) int64.

    `split` is the name of a folder, ``train`` or ``test``; `labels` gives the numbers. Raises
    `DataMissing` if there are no pictures in ``root/fer2013.zip`` or ``root/fer2013/``.
    """
    images, numbers = [], []
    names, load = _list_files(_locate(root))
    for picture in load([name for name in names if name.split("/")[-3] == split]):
        if picture.grey is None:
            raise DataError(f"{picture.name} is not a picture")
        if picture.word in EMOTIONS:
            images.append(_to_template(picture.name, picture.grey))
            numbers.append(labels.index(EMOTIONS[picture.word]))
    if not images:
        raise DataMissing(f"no pictures of FER2013's {split!r} folder below {root}")
    return np.stack(images), np.asarray(numbers, np.int64)


def find(path: Path, options: Options) -> RawDataset:
    """Every picture, with the splits of the set: PublicTest is ``valid``, PrivateTest ``test``.

    `path` is the archive, the folder that holds ``train/`` and ``test/``, the table, or a folder with one of
    `PLACES`. The pictures are crops already, cut as in serving (`FER_TO_TEMPLATE`); another crop size
    resizes them. Raises `DataMissing` or `DataError`.
    """
    path = _locate(path)
    vocabulary = options.vocabulary(EMOTIONS)
    if path.suffix == ".csv":
        require_columns(path, next(iterate_rows(path), {}), COLUMNS)
        jobs = [Job(path.name, partial(_samples, partial(_read_table, path), vocabulary))]
    else:
        names, load = _list_files(path)
        parts = [names[at : at + _JOB_PICTURES] for at in range(0, len(names), _JOB_PICTURES)]
        jobs = [Job(part[0], partial(_samples, partial(load, part), vocabulary)) for part in parts]
    if not jobs:
        raise DataMissing(
            f"no pictures of FER2013 in {path}: expected fer2013.zip, fer2013.csv, or a folder with "
            "train/<class>/*.jpg and test/<class>/*.jpg"
        )
    return RawDataset("FER2013", "research", jobs, has_splits=True)


def _locate(path: Path) -> Path:
    found = [path / name for name in PLACES if path.is_dir() and (path / name).exists()]
    return found[0] if found else path


class Picture(NamedTuple):
    """A picture (48, 48) uint8 of FER2013, None if it cannot be decoded, with its label and split."""

    name: str
    word: str
    split: Split
    grey: NDArray[np.uint8] | None


def _list_files(path: Path) -> tuple[list[str], Callable[[Sequence[str]], Iterator[Picture]]]:
    """The names ``.../<folder>/<class>/<picture>`` in an archive or a folder, and how to read them."""
    if path.suffix == ".zip":
        try:
            with zipfile.ZipFile(path) as archive:
                names = archive.namelist()
        except (OSError, zipfile.BadZipFile) as error:
            raise DataMissing(f"{path} cannot be read: {error}") from error
    elif path.is_dir():
        names = [p.relative_to(path).as_posix() for p in path.rglob("*.*") if p.is_file()]
    else:
        raise DataMissing(f"{path} is no folder, .zip or .csv of FER2013")
    return sorted(filter(_is_picture, names)), partial(_read_files, path)


def _is_picture(name: str) -> bool:
    parts = name.split("/")
    return (
        len(parts) >= 3
        and parts[-3] in SPLIT_OF_FOLDER
        and parts[-1].lower().endswith((".jpg", ".jpeg", ".png"))
    )


def _read_files(path: Path, names: Sequence[str]) -> Iterator[Picture]:
    with ExitStack() as stack:
        read = (
            stack.enter_context(zipfile.ZipFile(path)).read
            if path.suffix == ".zip"
            else lambda name: (path / name).read_bytes()
        )
        for name in names:
            folder, word, file = name.split("/")[-3:]
            blob = read(name)
            grey = (
                cv2.imdecode(np.frombuffer(blob, np.uint8), cv2.IMREAD_GRAYSCALE) if blob else None
            )
            picture = None if grey is None else np.asarray(grey, np.uint8)
            yield Picture(f"{folder}/{word}/{file}", word, SPLIT_OF_FOLDER[folder], picture)


def _read_table(path: Path) -> Iterator[Picture]:
    for number, row in enumerate(iterate_rows(path), 1):
        where, word, usage = f"{path.name}, row {number}", str(row["emotion"]), row["Usage"]
        if word.isdecimal() and int(word) < len(NUMBERS):
            word = NUMBERS[int(word)]
        if usage not in SPLIT_OF_USAGE:
            raise DataError(
                f"{where}: Usage is {usage!r}, expected one of {', '.join(SPLIT_OF_USAGE)}"
            )
        try:
            grey = np.loadtxt(io.StringIO(str(row["pixels"])), np.uint8).reshape(SIZE, SIZE)
        except ValueError:
            grey = None
        yield Picture(where, word, SPLIT_OF_USAGE[usage], grey)


def _samples(
    read: Callable[[], Iterator[Picture]], vocabulary: Vocabulary, cropper: Cropper
) -> Iterator[JobResult]:
    for picture in read():
        emotion = vocabulary.emotion(picture.word, picture.name)
        if emotion is None:
            yield Skipped(picture.name, "label left out", picture.word)
        elif picture.grey is None:
            yield Skipped(picture.name, "no picture", "empty, or cannot be decoded")
        else:
            yield _sample(picture, picture.grey, emotion, cropper.size)


def _sample(picture: Picture, grey: NDArray[np.uint8], emotion: str, size: int) -> Sample:
    crop = _to_template(picture.name, grey)
    if size != SIZE:
        how = cv2.INTER_AREA if size < SIZE else cv2.INTER_LINEAR
        crop = np.asarray(cv2.resize(crop, (size, size), interpolation=how), np.uint8)
    return Sample(
        id=picture.name,
        split=picture.split,
        frames_seen=1,
        crops=np.repeat(crop[None, :, :, None], 3, axis=3),
        crop_times_us=np.zeros(1, np.int64),
        emotion=emotion,
    )


def _to_template(name: str, grey: NDArray[np.uint8]) -> NDArray[np.uint8]:
    if grey.shape != (SIZE, SIZE):
        raise DataError(f"{name}: a picture of {grey.shape}, expected {SIZE}x{SIZE}")
    affine = np.array(FER_TO_TEMPLATE)
    moved = cv2.warpAffine(grey, affine, (SIZE, SIZE), borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(moved, np.uint8)


READER = Reader(find, frozenset({"size"}), size=SIZE)
