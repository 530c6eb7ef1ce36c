"""What a data set hands to `prepare`: jobs, each making the samples of one file or row."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from affectstream.train.data.dataset import CropInfo
from affectstream.train.data.prepare.crops import Cropper
from affectstream.train.data.prepare.vocabulary import Vocabulary
from affectstream.train.data.sample import Sample


class Skipped(msgspec.Struct, frozen=True):
    """What made no sample. `reason` is the same words for the same cause, `detail` of this one."""

    name: str
    reason: str
    detail: str = ""
    count: int = 1


class Warned(msgspec.Struct, frozen=True):
    """What a person should know of samples that were made all the same."""

    name: str
    reason: str
    detail: str = ""
    count: int = 1


Made = Sample | Skipped | Warned


@dataclass(frozen=True, slots=True)
class Job:
    """One file or row. `make` may be called once; what it makes depends on nothing else."""

    name: str
    make: Callable[[Cropper], Iterable[Made]]


@dataclass(frozen=True, slots=True)
class Source:
    """A data set, found and understood, nothing decoded yet.

    `official` says that the samples come with splits; `shared_people` then says why participants may
    be in several of them, or is None where they must not be.
    """

    title: str
    licence: str
    jobs: Sequence[Job]
    official: bool = False
    shared_people: str | None = None
    notes: tuple[str, ...] = ()
    crop: CropInfo | None = None
    """How the pictures were cut, where that was done before."""


@dataclass(frozen=True, slots=True)
class Options:
    """What a person may ask of a source; a set takes those that it names."""

    frames: int = 8
    """Crops spread over each clip."""
    every: int | None = None
    rate: float | None = None
    """Of a long recording: every Nth frame, or so many a second."""
    sound_s: float = 0.0
    """Seconds of sound before each frame of a long recording that go with it."""
    time: str | None = None
    stimulus: str | None = None
    event_source: str | None = None
    offset_ms: float = 0.0
    times: int = 1
    part: str | None = None
    conflicts: float = 0.0
    """Of pairs: partners of each sample, the split that is taken, the share that contradict."""
    columns: Mapping[str, str] = field(default_factory=dict)
    language: str | None = None
    translate: Mapping[str, str] = field(default_factory=dict)
    drop_unknown: bool = False

    def vocabulary(self, own: Mapping[str, str], *, leaves_out: Sequence[str] = ()) -> Vocabulary:
        """The vocabulary of a set whose `own` words stand for emotions, some left out by default."""
        return Vocabulary(
            own, self.translate, drop_unknown=self.drop_unknown, leaves_out=leaves_out
        )


MakeSource = Callable[[Path, Options], Source]
