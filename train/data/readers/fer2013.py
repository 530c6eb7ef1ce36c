"""FER2013: 48x48 grey face crops (Goodfellow et al., 2013), with the votes of FER+ (Barsoum et al., 2016).

Read from ``fer2013.zip`` (``train/<class>/*.png`` is Training, ``test/<class>/*.png`` PublicTest), from
the same folders unpacked, or from the original table with the columns ``emotion``, ``pixels`` and
``Usage``. Its own labels are noisy: people agree with them about 65 % of the time.

``fer2013_votes.csv`` beside the pictures has for each what ten people saw, and ``group``, the same for near
copies. A sample then carries its votes for the seven emotions; its emotion is the majority, none in a tie.
Votes for contempt, for no emotion and for no face are not counted.
"""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from affectstream.engines.labels import EMOTIONS as EMOTION_NAMES
from affectstream.stream.faces.crop import Template
from affectstream.train.data.options import Options, Vocabulary
from affectstream.train.data.reading.crops import Cropper
from affectstream.train.data.reading.reader import Job, RawDataset, Reader, Result, Skipped
from affectstream.train.data.reading.tables import iterate_rows, require_columns
from affectstream.train.data.sample import SPLITS, Sample, Split, resize
from affectstream.train.errors import DataError, DataMissing

EMOTIONS = {"angry": "anger", "happy": "joy", "sad": "sadness"}
"""The words of the set that are not those of `affectstream.engines.labels`."""
VOTES = "fer2013_votes.csv"
VOTED = ("neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear")
"""Columns of the votes that count."""
MIN_VOTES = 5
"""A training picture needs as many votes for the seven emotions."""
SIZE = 48
NUMBERS = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")
"""What the numbers 0 to 6 in the table stand for."""
SPLIT_OF_FOLDER: dict[str, Split] = {"train": "train", "test": "valid", "private": "test"}
SPLIT_OF_USAGE: dict[str, Split] = dict(
    zip(("Training", "PublicTest", "PrivateTest"), SPLITS, strict=True)
)
PLACES = ("fer2013.zip", "fer2013.csv", "icml_face_data.csv", "fer2013")
"""Names below the folder that a user gives."""
_JOB_PICTURES = 500
_PICTURE = re.compile(r"(?:^|/)(train|test|private)/([^/]*)/([^/]*\.(?i:jpg|jpeg|png))$")

TEMPLATE: Template = ((14.7, 17.7), (32.3, 17.7), (23.5, 28.1), (16.7, 36.9), (30.3, 36.9))
"""Where right eye, left eye, nose tip and mouth corners lie in whole pictures: means of 6,533 training
pictures whose face looks at the camera (pose within 15 degrees, roll within 10), by MediaPipe's face mesh
(an eye is the mean of its corners and lids: 33, 133, 159, 145 and 362, 263, 386, 374; nose tip 1; mouth
corners 61 and 291), made symmetric. Pixel centers are whole numbers. Single pictures differ from it by 2 to
3 pixels: FER2013 frames faces loosely, so training moves its pictures at random."""


def find(path: Path, options: Options) -> RawDataset:
    """Every picture, with the splits of the set: PublicTest is ``valid``, PrivateTest ``test``.

    `path` is the archive, the folder that holds ``train/`` and ``test/``, the table, or a folder with one of
    `PLACES`. The pictures are crops already; another crop size resizes them. Of Training, pictures with a
    near copy in another split are left out. Raises `DataMissing` or `DataError`.
    """
    folder = path if path.is_dir() else path.parent
    path = next((path / name for name in PLACES if (path / name).exists()), path)
    label: Labeler = partial(_own_label, options.vocabulary(EMOTIONS))
    if options.labels != "own":
        table = folder / VOTES
        if table.is_file() and path.suffix != ".csv":
            label = partial(
                _voted_label, *_read_votes(table, options.vocabulary({"happiness": "joy"}))
            )
        elif options.labels == "votes":
            raise DataMissing(f"no {VOTES} beside the pictures of {path}: give --labels own")
    if path.suffix == ".csv":
        require_columns(path, next(iterate_rows(path), {}), ("emotion", "pixels", "Usage"))
        jobs = [Job(path.name, partial(_samples, partial(_read_table, path), label))]
    else:
        names, load = _list_files(path)
        parts = [names[at : at + _JOB_PICTURES] for at in range(0, len(names), _JOB_PICTURES)]
        jobs = [Job(part[0], partial(_samples, partial(load, part), label)) for part in parts]
    if not jobs:
        raise DataMissing(
            f"no pictures of FER2013 in {path}: expected fer2013.zip, fer2013.csv, or a folder with "
            "train/<class>/*.jpg and test/<class>/*.jpg"
        )
    return RawDataset("FER2013", "research", jobs, has_splits=True, template=TEMPLATE)


class Labels(NamedTuple):
    """The emotion of a picture, its votes (8,) float32 of `EMOTION_NAMES`, and a name for near copies."""

    emotion: str | None
    votes: NDArray[np.float32] | None = None
    group: str = ""


class Picture(NamedTuple):
    """A picture (48, 48) uint8 of FER2013, None if it cannot be decoded, with its label and split."""

    name: str
    word: str
    split: Split
    grey: NDArray[np.uint8] | None


Labeler = Callable[[Picture], Labels | Skipped]


def _list_files(path: Path) -> tuple[list[str], Callable[[Sequence[str]], Iterator[Picture]]]:
    names: Iterable[str]
    read: Callable[[str], bytes]
    if path.suffix == ".zip":
        try:
            archive = zipfile.ZipFile(path)
        except (OSError, zipfile.BadZipFile) as error:
            raise DataMissing(f"{path} cannot be read: {error}") from error
        names, read = archive.namelist(), archive.read
    elif path.is_dir():
        names = (p.relative_to(path).as_posix() for p in path.rglob("*.*") if p.is_file())
        read = lambda name: (path / name).read_bytes()  # noqa: E731
    else:
        raise DataMissing(f"{path} is no folder, .zip or .csv of FER2013")
    return sorted(filter(_PICTURE.search, names)), partial(_read_files, read)


def _read_files(read: Callable[[str], bytes], names: Sequence[str]) -> Iterator[Picture]:
    for name in names:
        folder, word, file = name.split("/")[-3:]
        blob = np.frombuffer(read(name), np.uint8)
        grey = cv2.imdecode(blob, cv2.IMREAD_GRAYSCALE) if blob.size else None
        yield Picture(f"{folder}/{word}/{file}", word, SPLIT_OF_FOLDER[folder], grey)  # type: ignore[arg-type]


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
    read: Callable[[], Iterator[Picture]], label: Labeler, cropper: Cropper
) -> Iterator[Result]:
    for picture in read():
        labels = label(picture)
        if isinstance(labels, Skipped):
            yield labels
        elif picture.grey is None:
            yield Skipped(picture.name, "no picture", "empty, or cannot be decoded")
        elif picture.grey.shape != (SIZE, SIZE):
            raise DataError(
                f"{picture.name}: a picture of {picture.grey.shape}, expected {SIZE}x{SIZE}"
            )
        else:
            crop = resize(picture.grey, cropper.size)
            yield Sample(
                id=picture.name,
                recording=f"copies of {labels.group}" if labels.group else None,
                split=picture.split,
                frames_seen=1,
                crops=np.repeat(crop[None, :, :, None], 3, axis=3),
                crop_times_us=np.zeros(1, np.int64),
                emotion=labels.emotion,
                votes=labels.votes,
            )


def _own_label(vocabulary: Vocabulary, picture: Picture) -> Labels | Skipped:
    emotion = vocabulary.emotion(picture.word, picture.name)
    return Labels(emotion) if emotion else Skipped(picture.name, "label left out", picture.word)


def _read_votes(table: Path, vocabulary: Vocabulary) -> tuple[dict[str, Labels], dict[str, str]]:
    """The labels of each picture by name, and by group a picture not of Training. Raises `DataError`."""
    emotions = {column: vocabulary.emotion(column, table.name) for column in VOTED}
    numbers = {column: EMOTION_NAMES.index(name) for column, name in emotions.items() if name}
    labels: dict[str, Labels] = {}
    evaluated: dict[str, str] = {}
    for row in iterate_rows(table):
        if not labels:
            require_columns(table, row, ("picture", "group", *VOTED))
        name, group = str(row["picture"]), str(row["group"])
        votes = np.zeros(len(EMOTION_NAMES), np.float32)
        try:
            for column, number in numbers.items():
                votes[number] += float(row[column])
        except ValueError as error:
            raise DataError(f"{table}, {name}: {error}") from error
        first, second = np.sort(votes)[:-3:-1]
        majority = EMOTION_NAMES[int(votes.argmax())] if first > second else None
        labels[name] = Labels(majority, votes, group)
        if SPLIT_OF_FOLDER.get(name.partition("/")[0]) in ("valid", "test"):
            evaluated[group] = name
    return labels, evaluated


def _voted_label(
    labels_of: Mapping[str, Labels], evaluated: Mapping[str, str], picture: Picture
) -> Labels | Skipped:
    labels = labels_of.get(picture.name, Labels(None))
    votes = 0 if labels.votes is None else labels.votes.sum()
    if not votes:
        return Skipped(picture.name, "no votes for an emotion", f"none in {VOTES}")
    if picture.split == "train":
        if votes < MIN_VOTES:
            return Skipped(picture.name, f"fewer than {MIN_VOTES} votes for an emotion")
        if copy := evaluated.get(labels.group):
            return Skipped(picture.name, "near copy in valid or test", f"the same as {copy}")
    return labels


READER = Reader(find, frozenset({"size", "labels"}), size=SIZE)
