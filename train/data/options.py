"""What `train prepare` can be told: each setting once, with its default, its flag and its help.

The command line is made from these fields, as that of ``train fit`` is from `FitConfig`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

from affectstream.engines.labels import EMOTIONS
from affectstream.stream.errors import OptionError
from affectstream.train.errors import DataError

CropKind = Literal["face", "person", "frame"]
By = Literal["participant", "sample"]
Duplicates = Literal["refuse", "drop", "keep"]
Part = Literal["train", "valid", "test", "unseen"]
"""A split, or all from which no encoder learns: valid and test."""
LabelSource = Literal["votes", "own"]

RATE_HZ = 8.0
"""Pictures a second, unless the user says otherwise: the `frame_hz` of every recipe divides it."""


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """Translates labels. An unknown label is refused or dropped, never guessed."""

    words: Mapping[str, str | None]
    """The emotion for each word, in lower case; None for a word that is dropped."""
    drop_unknown: bool

    def emotion(self, word: str, where: str) -> str | None:
        """The emotion for `word` of the row `where`; None if it is to be dropped. Raises `DataError`."""
        folded = word.strip().casefold()
        if folded in self.words:
            return self.words[folded]
        if self.drop_unknown:
            return None
        raise DataError(
            f"{where}: label {word!r} is none of {', '.join(EMOTIONS)}; translate it with "
            f"--map {word.strip() or 'WORD'}=EMOTION or leave such rows out with --drop-unknown"
        )


def _setting(flag: str, default: Any, help: str, **more: Any) -> Any:
    """A field with its flag; `more` are further arguments of `typer.Option`."""
    shown = False if default in (None, dict) or default is False else _shown(default)
    metadata = {"flag": flag, "option": {"help": help, "show_default": shown, **more}}
    if default is dict:
        return field(default_factory=dict, metadata=metadata)
    return field(default=default, metadata=metadata)


def _shown(default: object) -> str:
    return f"{default:g}" if isinstance(default, float) else str(default)


_of_some_sets = partial(_setting, rich_help_panel="Some sets only")


@dataclass(frozen=True, slots=True)
class Options:
    """Settings of the readers. A reader uses those that its `Reader.options` names, and those for labels."""

    rate: float | None = _setting(
        "--rate",
        None,
        "Crops a second; at least the frame_hz of the recipe.",
        min=0.01,
        show_default=f"{RATE_HZ:g}",
    )
    frames: int | None = _setting(
        "--frames",
        None,
        "Crops of a clip, evenly spread, instead of --rate; leaves gaps.",
        min=1,
        max=256,
    )
    every: int | None = _of_some_sets(
        "--every", None, "affdex: each Nth frame instead of --rate.", min=1
    )
    sound_s: float = _of_some_sets(
        "--sound", 0.0, "affdex: seconds of sound before a frame.", min=0.0, max=30.0
    )
    time: str | None = _of_some_sets(
        "--time", None, "affdex: column of times.", show_default="MediaTime"
    )
    stimulus: str | None = _of_some_sets("--stimulus", None, "affdex: rows of this stimulus.")
    event_source: str | None = _of_some_sets("--event-source", None, "affdex: rows of this sensor.")
    offset_ms: float = _of_some_sets(
        "--offset-ms", 0.0, "affdex: added to the export's times.", show_default=False
    )
    times: int = _of_some_sets("--times", 1, "paired: partners of a sample.", min=1)
    part: Part | None = _of_some_sets(  # noqa: RUF009
        "--part",
        None,
        "paired: only this split of each set, in two halves; unseen: valid and test.",
    )
    conflicts: float = _of_some_sets(
        "--conflicts", 0.0, "paired: share whose modalities contradict.", min=0.0, max=1.0
    )
    degrade: float = _of_some_sets(
        "--degrade", 0.0, "paired: share with noise, blur and so on.", min=0.0, max=1.0
    )
    labels: LabelSource | None = _of_some_sets(  # noqa: RUF009
        "--labels", None, "fer2013: FER+ votes, or its own labels.", show_default="votes, if any"
    )
    columns: Mapping[str, str] = _of_some_sets(
        "--column", dict, "OURS=YOURS, a column of a conversation; repeat."
    )
    language: str | None = _of_some_sets(
        "--language", None, "Language of a conversation without that column."
    )
    translate: Mapping[str, str] = _setting("--map", dict, "OLD=EMOTION, a label of yours; repeat.")
    drop_unknown: bool = _setting("--drop-unknown", False, "Leave out rows with any other label.")

    def vocabulary(self, own: Mapping[str, str | None]) -> Vocabulary:
        """The vocabulary of a set whose `own` words stand for emotions, or for none (None); those of the user
        come first. Raises `OptionError`."""
        for old, new in self.translate.items():
            if new not in EMOTIONS:
                raise OptionError(
                    f"--map {old}={new}: {new!r} is no emotion, expected one of {', '.join(EMOTIONS)}"
                )
        pairs = {**{name: name for name in EMOTIONS}, **own, **self.translate}.items()
        words = {word.strip().casefold(): emotion for word, emotion in pairs}
        return Vocabulary(words, self.drop_unknown)


@dataclass(frozen=True, slots=True, kw_only=True)
class PrepareConfig(Options):
    """What to prepare and how. `dataset.json` keeps it as `parameters`."""

    set: str
    crop: CropKind = _setting("--crop", "face", "Part of a picture.")  # noqa: RUF009
    size: int = _setting("--size", 112, "Side of a crop, pixels.", min=16, max=1024)
    split: str | None = _setting(
        "--split",
        None,
        "official, none, or shares of train/valid/test.",
        show_default="official, else 70/15/15",
    )
    by: By = _setting(  # noqa: RUF009
        "--by",
        "participant",
        "participant: none in two splits; sample: stratified only.",
    )
    seed: int = _setting("--seed", 0, "Seed of the split.")
    duplicates: Duplicates = _setting(  # noqa: RUF009
        "--duplicates",
        "refuse",
        "The same picture or sound in two splits: refuse, drop (of train), keep.",
    )


CROP_OPTIONS = frozenset({"crop", "size"})
CLIP_OPTIONS = CROP_OPTIONS | {"frames", "rate"}
FOR_ALL_SETS = frozenset({"split", "by", "seed", "duplicates", "translate", "drop_unknown"})
"""Settings that matter whatever the reader."""
