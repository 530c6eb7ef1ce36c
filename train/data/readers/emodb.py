"""EMO-DB: ten German sentences by ten speakers in seven emotions (Burkhardt et al., 2005).

Read from ``wav/*.flac`` (or ``.wav``). In the name of a file, such as ``03a01Fa``, characters 1-2 are the
speaker and character 6 is the initial of the emotion in German. Boredom is left out: no label stands
for it. Splits are by speaker.
"""

from __future__ import annotations

from pathlib import Path

from affectstream.stream.speaker_metadata import Gender
from affectstream.train.data.options import Options
from affectstream.train.data.reading.clips import clip_job
from affectstream.train.data.reading.reader import Job, RawDataset, Reader
from affectstream.train.data.sample import Sample
from affectstream.train.errors import DataMissing

VALID_SPEAKERS = (13, 14)
"""For choosing the epoch, the temperature and the thresholds; never for training a weight."""
TEST_SPEAKERS = (15, 16)
"""For the last measurement; never for a choice."""

EMOTIONS = {
    "W": "anger",  # Wut
    "E": "disgust",  # Ekel
    "A": "fear",  # Angst
    "F": "joy",  # Freude
    "T": "sadness",  # Trauer
    "N": "neutral",
}
LETTERS = {**EMOTIONS, "L": "boredom"}  # Langeweile

SPEAKERS: dict[int, tuple[Gender, int]] = {
    3: ("male", 31),
    8: ("female", 34),
    9: ("female", 21),
    10: ("male", 32),
    11: ("male", 26),
    12: ("male", 30),
    13: ("female", 32),
    14: ("female", 35),
    15: ("male", 25),
    16: ("female", 31),
}
"""Gender and age, from the page of the data set."""
SENTENCES = {
    "a01": "Der Lappen liegt auf dem Eisschrank.",
    "a02": "Das will sie am Mittwoch abgeben.",
    "a04": "Heute abend könnte ich es ihm sagen.",
    "a05": "Das schwarze Stück Papier befindet sich da oben neben dem Holzstück.",
    "a07": "In sieben Stunden wird es soweit sein.",
    "b01": "Was sind denn das für Tüten, die da unter dem Tisch stehen?",
    "b02": "Sie haben es gerade hochgetragen und jetzt gehen sie wieder runter.",
    "b03": "An den Wochenenden bin ich jetzt immer nach Hause gefahren und habe Agnes besucht.",
    "b09": "Ich will das eben wegbringen und dann mit Karl was trinken gehen.",
    "b10": "Die wird auf dem Platz sein, wo wir sie immer hinlegen.",
}


def parse(name: str) -> tuple[str, int]:
    """The emotion (or ``boredom``) and the speaker in a file's name. Raises `ValueError` for another name."""
    if len(name) != 7 or not name[:2].isdigit() or name[5] not in LETTERS:
        raise ValueError(
            f"{name!r} is no EMO-DB name: expected seven characters, two digits first and one of "
            f"{''.join(sorted(LETTERS))} as the sixth"
        )
    return LETTERS[name[5]], int(name[:2])


def find(folder: Path, options: Options) -> RawDataset:
    """Every clip below `folder`; boredom only with ``--map boredom=...``. Raises `DataMissing`."""
    paths = sorted(
        p for p in folder.rglob("*") if p.suffix in {".flac", ".wav"} and len(p.stem) == 7
    )
    if not paths:
        raise DataMissing(f"no clips of EMO-DB below {folder}: expected wav/03a01Fa.wav and others")
    return RawDataset(
        "EMO-DB",
        "free for research",
        [_job(path, options) for path in paths],
        has_splits=True,
        notes=(
            "the split is ours, by speaker: 3-12 train, 13 and 14 valid, 15 and 16 test",
            "every sentence is spoken in every emotion: the text says nothing of the label",
        ),
    )


def _job(path: Path, options: Options) -> Job:
    word, speaker = parse(path.stem)
    gender, age = SPEAKERS.get(speaker, (None, None))
    held_out = speaker in TEST_SPEAKERS
    sample = Sample(
        id=path.stem,
        recording=path.stem,
        participant=f"emodb-{speaker:02d}",
        split="valid" if speaker in VALID_SPEAKERS else "test" if held_out else "train",
        text=SENTENCES.get(path.stem[2:5]),
        language="de",
        age=age,
        gender=gender,
    )
    return clip_job(path, word, sample, {"boredom": None}, options)


READER = Reader(find)
