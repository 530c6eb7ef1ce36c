"""RAVDESS, speech part: two sentences by 24 actors in eight emotions (Livingstone & Russo, 2018).

Read from ``Actor_NN/*.flac`` (or ``.wav``, or ``.mp4`` with the picture). The name of a file is seven
numbers: modality-channel-emotion-intensity-statement-repetition-actor. Licence CC BY-NC-SA 4.0.

Splits are by actor. With a random split a network recognizes the voices that it was trained on, and
accuracy is overstated by 15 to 20 points.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from affectstream.train.data.options import CLIP_OPTIONS, Options
from affectstream.train.data.reading.clips import clip_job
from affectstream.train.data.reading.reader import Job, RawDataset, Reader
from affectstream.train.data.sample import Sample
from affectstream.train.errors import DataMissing

TRAIN_ACTORS = tuple(range(1, 17))
VALID_ACTORS = tuple(range(17, 21))
"""For choosing the epoch, the temperature and the thresholds; never for training a weight."""
TEST_ACTORS = tuple(range(21, 25))
"""For the last measurement; never for a choice."""

WORDS = ("neutral", "calm", "happy", "sad", "angry", "fearful", "disgust", "surprised")
"""What the numbers 01 to 08 stand for."""
EMOTIONS = {
    "calm": "neutral",  # the nearest of the seven labels
    "happy": "joy",
    "sad": "sadness",
    "angry": "anger",
    "fearful": "fear",
    "surprised": "surprise",
}
"""The words of the set that are not those of `affectstream.engines.labels`."""
STATEMENTS = {"01": "Kids are talking by the door.", "02": "Dogs are sitting by the door."}
STRENGTHS = {"01": 0.5, "02": 1.0}
"""Normal and strong, as `Sample.intensity`."""
SUFFIXES = frozenset({".flac", ".wav", ".mp4"})


def parse(name: str) -> tuple[str, int]:
    """The emotion's word and the actor in a name like ``03-01-06-01-02-01-12``. Raises `ValueError`."""
    fields = name.split("-")
    numbers = [f"{number:02d}" for number in range(1, len(WORDS) + 1)]
    if len(fields) != 7 or fields[2] not in numbers or not fields[6].isdigit():
        raise ValueError(
            f"{name!r} is no RAVDESS name: expected seven numbers joined by '-', "
            f"the third from 01 to 08"
        )
    return WORDS[int(fields[2]) - 1], int(fields[6])


def find(folder: Path, options: Options) -> RawDataset:
    """Every spoken clip below `folder`; a take with picture rather than as sound. Raises `DataMissing`."""
    paths = sorted(p for p in folder.rglob("*") if p.suffix in SUFFIXES and p.stem.count("-") == 6)
    if not paths:
        raise DataMissing(
            f"no clips of RAVDESS below {folder}: expected Actor_NN/*.flac, .wav or .mp4"
        )
    films = {p.stem[3:] for p in paths if p.stem.startswith("01-") and p.suffix == ".mp4"}
    return RawDataset(
        "RAVDESS, speech",
        "CC BY-NC-SA 4.0",
        [_job(path, films, options) for path in paths],
        has_splits=True,
        notes=(
            "calm is labelled neutral unless --map says otherwise",
            "the split is ours, by actor: 1-16 train, 17-20 valid, 21-24 test",
            "every sentence is spoken in every emotion: the text says nothing of the label",
        ),
    )


def _job(path: Path, films: Collection[str], options: Options) -> Job:
    """The job of a file; `films` are the takes that are there with picture and sound."""
    word, actor = parse(path.stem)
    modality, channel, _, strength, statement, _, _ = path.stem.split("-")
    film = modality == "01" and path.suffix == ".mp4"
    skip = "also there with picture and sound" if path.stem[3:] in films and not film else None
    if channel != "01":
        skip = "sung, not spoken"
    training, validating = actor in TRAIN_ACTORS, actor in VALID_ACTORS
    sample = Sample(
        id=path.stem,
        recording=path.stem,
        participant=f"ravdess-{actor:02d}",
        split="train" if training else "valid" if validating else "test",
        text=STATEMENTS.get(statement),
        language="en",
        gender="male" if actor % 2 else "female",
        intensity=STRENGTHS.get(strength),
    )
    return clip_job(path, word, sample, EMOTIONS, options, skip=skip)


READER = Reader(find, CLIP_OPTIONS)
