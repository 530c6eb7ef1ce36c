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
from functools import partial
from pathlib import Path

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
)
from affectstream.train.data.reading.tables import iterate_rows, require_columns
from affectstream.train.data.reading.vocabulary import Vocabulary
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
    names, load = _pictures(_locate(root))
    names = [n for n in names if n.split("/")[-3] == split and n.split("/")[-2] in EMOTIONS]
    if not names:
        raise DataMissing(f"no pictures of FER2013's {split!r} folder below {root}")
    images = [_to_template(name, _decode(name, blob)) for name, blob in load(names)]
    numbers = [labels.index(EMOTIONS[name.split("/")[-2]]) for name in names]
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
        jobs = [Job(path.name, partial(_of_table, path, vocabulary))]
    else:
        names, load = _pictures(path)
        parts = [names[at : at + _JOB_PICTURES] for at in range(0, len(names), _JOB_PICTURES)]
        jobs = [Job(part[0], partial(_of_files, part, load, vocabulary)) for part in parts]
    if not jobs:
        raise DataMissing(
            f"no pictures of FER2013 in {path}: expected fer2013.zip, fer2013.csv, or a folder with "
            "train/<class>/*.jpg and test/<class>/*.jpg"
        )
    return RawDataset("FER2013", "research", jobs, has_splits=True)


def _locate(path: Path) -> Path:
    found = [path / name for name in PLACES if path.is_dir() and (path / name).exists()]
    return found[0] if found else path


Load = Callable[[Sequence[str]], Iterator[tuple[str, bytes]]]
"""Reads pictures by name."""


def _pictures(path: Path) -> tuple[list[str], Load]:
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

    def load(names: Sequence[str]) -> Iterator[tuple[str, bytes]]:
        if path.suffix != ".zip":
            yield from ((name, (path / name).read_bytes()) for name in names)
            return
        with zipfile.ZipFile(path) as archive:
            yield from ((name, archive.read(name)) for name in names)

    return sorted(filter(_is_picture, names)), load


def _is_picture(name: str) -> bool:
    parts = name.split("/")
    return (
        len(parts) >= 3
        and parts[-3] in SPLIT_OF_FOLDER
        and parts[-1].lower().endswith((".jpg", ".jpeg", ".png"))
    )


def _of_files(
    names: Sequence[str], load: Load, vocabulary: Vocabulary, cropper: Cropper
) -> Iterator[JobResult]:
    for name, blob in load(names):
        folder, word = name.split("/")[-3:-1]
        emotion = vocabulary.emotion(word, name)
        if emotion is None:
            yield Skipped(name, "label left out", word)
            continue
        try:
            grey = _decode(name, blob)
        except ValueError:
            yield Skipped(name, "no picture", f"{len(blob)} bytes that cannot be decoded")
            continue
        key = "/".join(name.split("/")[-3:])
        yield _sample(key, grey, emotion, SPLIT_OF_FOLDER[folder], cropper.size)


def _decode(name: str, blob: bytes) -> NDArray[np.uint8]:
    grey = cv2.imdecode(np.frombuffer(blob, np.uint8), cv2.IMREAD_GRAYSCALE) if blob else None
    if grey is None:
        raise ValueError(f"{name} is not a picture")
    return np.asarray(grey, np.uint8)


def _of_table(path: Path, vocabulary: Vocabulary, cropper: Cropper) -> Iterator[JobResult]:
    for number, row in enumerate(iterate_rows(path), 1):
        where, word, usage = f"{path.name}, row {number}", str(row["emotion"]), row["Usage"]
        if word.isdecimal() and int(word) < len(NUMBERS):
            word = NUMBERS[int(word)]
        emotion = vocabulary.emotion(word, where)
        if emotion is None:
            yield Skipped(where, "label left out", word)
            continue
        if usage not in SPLIT_OF_USAGE:
            raise DataError(
                f"{where}: Usage is {usage!r}, expected one of {', '.join(SPLIT_OF_USAGE)}"
            )
        try:
            pixels = np.loadtxt(io.StringIO(str(row["pixels"])), np.uint8).reshape(SIZE, SIZE)
        except ValueError:
            detail = f"pixels are not {SIZE * SIZE} numbers from 0 to 255"
            yield Skipped(where, "no picture", detail)
            continue
        yield _sample(where, pixels, emotion, SPLIT_OF_USAGE[usage], cropper.size)


def _sample(key: str, grey: NDArray[np.uint8], emotion: str, split: Split, size: int) -> Sample:
    crop = _to_template(key, grey)
    if size != SIZE:
        how = cv2.INTER_AREA if size < SIZE else cv2.INTER_LINEAR
        crop = np.asarray(cv2.resize(crop, (size, size), interpolation=how), np.uint8)
    return Sample(
        id=key,
        split=split,
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
