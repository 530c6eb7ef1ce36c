"""EMO-DB: ten German sentences by ten speakers in seven emotions (Burkhardt et al., 2005).

Read from ``emodb/wav/*.flac`` (or ``.wav``). In a file's name, such as ``03a01Fa``, characters 1-2
are the speaker and character 6 is the emotion's German initial. Boredom, which the seven labels
lack, is left out.
"""

from __future__ import annotations

from pathlib import Path

from affectstream.train.data.sound import Clip, read_samples
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
