"""RAVDESS, speech part: two sentences by 24 actors in eight emotions (Livingstone & Russo, 2018).

Read from ``ravdess/Actor_NN/*.flac`` (or ``.wav``). A file's name is seven numbers:
modality-channel-emotion-intensity-statement-repetition-actor. Licence CC BY-NC-SA 4.0.

Splits are by actor, never by clip: a random split lets a network recognise the voices it has heard
and overstates accuracy by 15 to 20 points.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from affectstream.train.data.sound import Clip, read_samples
from affectstream.train.errors import DataMissing

TRAIN_ACTORS = tuple(range(1, 17))
VALID_ACTORS = tuple(range(17, 21))
"""Choose the epoch, the temperature and the thresholds on these; never a weight."""
TEST_ACTORS = tuple(range(21, 25))
"""Untouched: nothing here may be chosen by looking at them."""

EMOTIONS = {
    "01": "neutral",
    "02": "neutral",  # calm: the seven labels have no word for it, and it is the nearest
    "03": "joy",
    "04": "sadness",
    "05": "anger",
    "06": "fear",
    "07": "disgust",
    "08": "surprise",
}


def parse(name: str) -> tuple[str, int]:
    """Emotion and actor in a file's name, such as ``03-01-06-01-02-01-12``.

    Raises `ValueError` for a name of another form.
    """
    fields = name.split("-")
    if len(fields) != 7 or fields[2] not in EMOTIONS or not fields[6].isdigit():
        raise ValueError(
            f"{name!r} is no RAVDESS name: expected seven numbers joined by '-', "
            f"the third from 01 to 08"
        )
    return EMOTIONS[fields[2]], int(fields[6])


def read(root: Path, actors: Iterable[int]) -> list[Clip]:
    """All speech clips of `actors`, ordered by name, with the seven labels of `EMOTIONS`.

    Raises `DataMissing` when an actor's folder is absent or empty.
    """
    clips = []
    for actor in sorted(set(actors)):
        folder = root / "ravdess" / f"Actor_{actor:02d}"
        paths = sorted(p for p in folder.glob("*") if p.suffix in {".flac", ".wav"})
        if not paths:
            raise DataMissing(f"RAVDESS actor {actor} not found: expected clips in {folder}")
        for path in paths:
            emotion, speaker = parse(path.stem)
            clips.append(Clip(path.stem, f"ravdess-{speaker:02d}", emotion, read_samples(path)))
    return clips
