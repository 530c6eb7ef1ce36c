"""What a reader of a data set gives to `prepare`: which samples there are, and how to make each of them.

A data set is one module of `affectstream.train.data.readers` with ``READER = Reader(find, ...)``. `find`
lists the files and returns a `RawDataset` of jobs; nothing is decoded before a job runs. Readers of other
packages may import the names of options from here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import msgspec

from affectstream.stream.errors import SourceError
from affectstream.stream.faces.crop import TEMPLATE, Template
from affectstream.train.data.dataset import INFO, CropInfo, Dataset
from affectstream.train.data.options import (  # noqa: F401
    CLIP_OPTIONS,
    CROP_OPTIONS,
    RATE_HZ,
    LabelSource,
    Options,
    Vocabulary,
)
from affectstream.train.data.reading.crops import Cropper
from affectstream.train.data.sample import Sample

JOB_SAMPLES = 256
"""Samples of a prepared data set that one job reads."""


class Problem(msgspec.Struct, frozen=True):
    """What a job reports. `reason` is the same text for every case of one cause."""

    name: str
    reason: str
    detail: str = ""
    count: int = 1


class Skipped(Problem, frozen=True):
    """A file or row without a sample."""


class Warned(Problem, frozen=True):
    """A problem of samples that were made nevertheless."""


Result = Sample | Skipped | Warned


@dataclass(frozen=True, slots=True)
class Job:
    """Makes the samples of one file or row."""

    name: str
    make: Callable[[Cropper], Iterable[Result]]
    """May raise `SourceError` for a file that cannot be decoded."""

    def run(self, cropper: Cropper) -> Iterator[Result]:
        """The results of `make`; a file that cannot be decoded is skipped."""
        try:
            yield from self.make(cropper)
        except SourceError as error:
            yield Skipped(self.name, "cannot be decoded", str(error))


@dataclass(frozen=True, slots=True)
class RawDataset:
    """The files of a data set, found but not decoded."""

    title: str
    licence: str
    jobs: Sequence[Job]
    has_splits: bool = False
    why_shared: str | None = None
    """Why its own splits share participants; None if they do not."""
    notes: tuple[str, ...] = ()
    crop: CropInfo | None = None
    """How its pictures were cut, if they are crops of a prepared set."""
    template: Template = TEMPLATE
    """Where the five landmarks lie in its pictures of faces, at `TEMPLATE_SIZE` pixels a side."""


@dataclass(frozen=True, slots=True)
class Reader:
    """How to read one data set."""

    find: Callable[[Path, Options], RawDataset]
    """Lists the files below a path. Raises `DataMissing` or `DataError`."""
    options: frozenset[str] = frozenset()
    """Fields of `Options`, and of `CROP_OPTIONS`, that matter for this set but not for all sets."""
    size: int = 112
    """Side of a crop in pixels, unless the user gives another."""


def find_prepared(folder: Path) -> list[Dataset]:
    """The prepared data sets in the sub-folders of `folder`, in the order of their names."""
    return [Dataset(path.parent) for path in sorted(folder.glob(f"*/{INFO}"))]


def prepared_again(
    sets: Sequence[Dataset], change: Callable[[Dataset, Sample], None], *notes: str
) -> RawDataset:
    """All samples of these sets, each after `change`, which alters it. They keep their splits.

    The sets agree on how pictures were cut. `notes` come after those of the sets.
    """

    def make(data: Dataset, first: int, _: Cropper) -> Iterator[Sample]:
        for row in range(first, min(first + JOB_SAMPLES, len(data))):
            sample = data[row]
            change(data, sample)
            yield sample

    infos = [data.info for data in sets]
    licences = [f"{info.source}: {info.licence}" for info in infos]
    shared = [info.name for info in infos if info.shared_participants]
    return RawDataset(
        ", ".join(info.source for info in infos),
        "; ".join(licences) if len(infos) > 1 else infos[0].licence,
        [
            Job(f"{data.folder.name}, from {first}", partial(make, data, first))
            for data in sets
            for first in range(0, len(data), JOB_SAMPLES)
        ],
        has_splits=True,
        why_shared=f"they are in {', '.join(shared)} itself" if shared else None,
        crop=next((info.crop for info in infos if info.crop is not None), None),
        notes=tuple(dict.fromkeys([*(note for info in infos for note in info.notes), *notes])),
    )
