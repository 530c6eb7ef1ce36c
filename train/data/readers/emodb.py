"""EMO-DB: ten German sentences by ten speakers in seven emotions (Burkhardt et al., 2005).

Read from ``emodb/wav/*.flac`` (or ``.wav``). In a file's name, such as ``03a01Fa``, characters 1-2
are the speaker and character 6 is the emotion's German initial. Boredom, which the seven labels
lack, is left out.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from affectstream.stream.errors import SourceError
from affectstream.train.data.prepare.clips import read_clip
from affectstream.train.data.prepare.crops import Cropper
from affectstream.train.data.prepare.source import Job, Made, Options, Skipped, Source, Warned
from affectstream.train.data.readers.sound import Clip, read_samples
from affectstream.train.data.sample import Sample
from affectstream.train.errors import DataMissing

EMOTIONS = {
    "W": "anger",  # Wut
    "E": "disgust",  # Ekel
    "A": "fear",  # Angst
    "F": "joy",  # Freude
    "T": "sadness",  # Trauer
    "N": "neutral",
}
BOREDOM = "L"  # Langeweile

SPEAKERS = {
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
"""Gender and age, from the set's own page."""
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


def parse(name: str) -> tuple[str | None, int]:
    """Emotion (None for boredom) and speaker in a file's name.

    Raises `ValueError` for a name of another form.
    """
    known = len(name) == 7 and name[:2].isdigit() and name[5] in {*EMOTIONS, BOREDOM}
    if not known:
        raise ValueError(
            f"{name!r} is no EMO-DB name: expected seven characters, two digits first and one of "
            f"{''.join(sorted({*EMOTIONS, BOREDOM}))} as the sixth"
        )
    return EMOTIONS.get(name[5]), int(name[:2])


def read(root: Path) -> list[Clip]:
    """All clips but the bored ones, ordered by name.

    Raises `DataMissing` when the folder is absent or empty.
    """
    folder = root / "emodb" / "wav"
    paths = sorted(p for p in folder.glob("*") if p.suffix in {".flac", ".wav"})
    if not paths:
        raise DataMissing(f"EMO-DB not found: expected clips in {folder}")
    clips = []
    for path in paths:
        emotion, speaker = parse(path.stem)
        if emotion is not None:
            clips.append(Clip(path.stem, f"emodb-{speaker:02d}", emotion, read_samples(path)))
    return clips


def source(folder: Path, options: Options) -> Source:
    """Every clip under `folder`; boredom only where ``--map boredom=...`` translates it.

    Raises `DataMissing`.
    """
    paths = sorted(
        p for p in folder.rglob("*") if p.suffix in {".flac", ".wav"} and len(p.stem) == 7
    )
    if not paths:
        raise DataMissing(f"no clips of EMO-DB under {folder}: expected wav/03a01Fa.wav and others")
    vocabulary = options.vocabulary({}, leaves_out=["boredom"])

    def job(path: Path) -> Job:
        def make(cropper: Cropper) -> Iterator[Made]:
            word, speaker = parse(path.stem)
            emotion = vocabulary.emotion(word or "boredom", path.name)
            if emotion is None:
                yield Skipped(path.name, "label left out", word or "boredom")
                return
            try:
                clip = read_clip(path, cropper, frames=1)
            except SourceError as error:
                yield Skipped(path.name, "cannot be decoded", str(error))
                return
            if clip.trouble:
                yield Warned(path.name, "damaged", clip.trouble)
            gender, age = SPEAKERS.get(speaker, (None, None))
            yield Sample(
                id=path.stem,
                recording=path.stem,
                participant=f"emodb-{speaker:02d}",
                start_us=0,
                end_us=clip.end_us,
                audio=clip.audio,
                text=SENTENCES.get(path.stem[2:5]),
                language="de",
                age=age,
                gender=gender,
                emotion=emotion,
            )

        return Job(path.stem, make)

    return Source(
        "EMO-DB",
        "free for research",
        [job(path) for path in paths],
        notes=("every sentence is spoken in every emotion: the text says nothing of the label",),
    )
