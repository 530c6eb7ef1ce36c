"""RAVDESS, speech part: two sentences by 24 actors in eight emotions (Livingstone & Russo, 2018).

Read from ``Actor_NN/*.flac`` (or ``.wav``, or ``.mp4`` with the picture). A file's name is seven
numbers: modality-channel-emotion-intensity-statement-repetition-actor. Licence CC BY-NC-SA 4.0.

Splits are by actor, never by clip: a random split lets a network recognise the voices it has heard
and overstates accuracy by 15 to 20 points.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from affectstream.stream.errors import SourceError
from affectstream.train.data.prepare.clips import read_clip
from affectstream.train.data.prepare.crops import Cropper
from affectstream.train.data.prepare.source import Job, Made, Options, Skipped, Source, Warned
from affectstream.train.data.readers.sound import Clip, read_samples
from affectstream.train.data.sample import Sample
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

WORDS = {
    "01": "neutral",
    "02": "calm",
    "03": "happy",
    "04": "sad",
    "05": "angry",
    "06": "fearful",
    "07": "disgust",
    "08": "surprised",
}
"""The set's own words, which ``--map`` translates; `EMOTIONS` unless it does."""
STATEMENTS = {"01": "Kids are talking by the door.", "02": "Dogs are sitting by the door."}
STRENGTHS = {"01": 0.5, "02": 1.0}
"""Normal and strong, as `Sample.intensity`."""
SUFFIXES = frozenset({".flac", ".wav", ".mp4"})


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


def source(folder: Path, options: Options) -> Source:
    """Every spoken clip under `folder`, split by actor as above; of takes that are there both with
    picture and as sound alone, the one with picture. Raises `DataMissing`.
    """
    paths = sorted(p for p in folder.rglob("*") if p.suffix in SUFFIXES and p.stem.count("-") == 6)
    if not paths:
        raise DataMissing(
            f"no clips of RAVDESS under {folder}: expected Actor_NN/*.flac, .wav or .mp4"
        )
    own = {WORDS[code]: emotion for code, emotion in EMOTIONS.items()}
    vocabulary = options.vocabulary(own)
    whole = {p.stem[3:] for p in paths if p.stem.startswith("01-") and p.suffix == ".mp4"}

    def job(path: Path) -> Job:
        def make(cropper: Cropper) -> Iterator[Made]:
            _, actor = parse(path.stem)
            modality, channel, code, strength, statement, _, _ = path.stem.split("-")
            if channel != "01":
                yield Skipped(path.name, "sung, not spoken")
                return
            if path.stem[3:] in whole and not (modality == "01" and path.suffix == ".mp4"):
                yield Skipped(path.name, "also there with picture and sound")
                return
            emotion = vocabulary.emotion(WORDS[code], path.name)
            if emotion is None:
                yield Skipped(path.name, "label left out", WORDS[code])
                return
            try:
                clip = read_clip(path, cropper, frames=options.frames)
            except SourceError as error:
                yield Skipped(path.name, "cannot be decoded", str(error))
                return
            if clip.trouble:
                yield Warned(path.name, "damaged", clip.trouble)
            yield Sample(
                id=path.stem,
                recording=path.stem,
                participant=f"ravdess-{actor:02d}",
                split=_split(actor),
                start_us=0,
                end_us=clip.end_us,
                frames_seen=clip.frames_seen,
                crops=clip.crops,
                crop_times_us=clip.times_us,
                audio=clip.audio,
                text=STATEMENTS.get(statement),
                language="en",
                gender="male" if actor % 2 else "female",
                emotion=emotion,
                intensity=STRENGTHS.get(strength),
            )

        return Job(path.stem, make)

    return Source(
        "RAVDESS, speech",
        "CC BY-NC-SA 4.0",
        [job(path) for path in paths],
        official=True,
        notes=(
            "calm is labelled neutral unless --map says otherwise",
            "the split is ours, by actor: 1-16 train, 17-20 valid, 21-24 test",
            "every sentence is spoken in every emotion: the text says nothing of the label",
        ),
    )


def _split(actor: int) -> str:
    return "train" if actor in TRAIN_ACTORS else "valid" if actor in VALID_ACTORS else "test"
