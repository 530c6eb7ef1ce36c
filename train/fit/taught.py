"""Are samples cut from the coded recordings with which a bundle was taught?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from affectstream.engines.bundle.taught import TaughtWith
from affectstream.train.data.dataset import Dataset, has_value
from affectstream.train.errors import RunError


@dataclass(frozen=True, slots=True)
class TaughtSamples:
    """What is known of the samples of a data set that may be from recordings that taught a bundle."""

    recordings: int
    """How many taught the bundle."""
    samples: int
    """How many were looked at."""
    found: int
    """Samples that were cut from the files of these recordings."""
    doubts: tuple[str, ...]
    """Why it is not known of all samples; empty if it is."""

    def check(self, name: str, data: Path) -> None:
        """Raise `RunError` if samples are from these recordings; `name` is of the bundle."""
        if self.found:
            raise RunError(
                f"{name} was taught with the recordings that samples of {data} were cut from "
                f"({self.found} of {self.samples}): figures on these samples say nothing about others; "
                "prepare a data set without these recordings"
            )

    @property
    def in_doubt(self) -> int:
        """How many recordings taught the bundle, if some of the samples may be from them; else 0."""
        return self.recordings if self.doubts else 0

    def remark(self, name: str) -> str:
        """What a user should know who evaluates the bundle `name`; empty if it was not taught."""
        if not self.recordings:
            return ""
        taught = f"{name} was taught with {self.recordings} coded recordings"
        if self.doubts:
            return (
                f"{taught}, and it is not known whether these samples are from them: if they are, the "
                f"figures say nothing about others ({'; '.join(self.doubts)})"
            )
        return f"{taught}: no sample was cut from their files; converted copies would not be found"


def taught_samples(taught: TaughtWith, data: Path, splits: Sequence[str]) -> TaughtSamples:
    """Compare the files that samples of `splits` of the data set in `data` were cut from with those of the
    recordings that `taught` a bundle. Raises `DataMissing` or `DataError`."""
    if not taught.count:
        return TaughtSamples(0, 0, 0, ())
    dataset = Dataset(data, large=())
    rows = np.isin(dataset.column("split").astype(str), splits)
    files = dataset.column("files")[rows].tolist()
    doubts = []
    if taught.unknown:
        doubts.append(
            f"an earlier version did not keep what identifies {taught.unknown} of the recordings: teach the "
            "bundle again"
        )
    unnamed = np.array([not own for own in files], bool)
    if unnamed.any():
        doubt = f"{unnamed.sum()} of {len(files)} samples do not say from which files they were cut"
        if _from_recordings(dataset)[rows][unnamed].any():
            doubt += ": prepare the data set again with this version"
        doubts.append(doubt)
    found = sum(not taught.files.isdisjoint(own or ()) for own in files)
    return TaughtSamples(taught.count, len(files), found, tuple(doubts))


def _from_recordings(dataset: Dataset) -> NDArray[np.bool_]:
    """(n,) which samples were cut from recordings: those with sound, and pictures with a time in one. Single
    pictures, as of FER2013, and lines of text never say from which files they are."""
    heard, seen, timed = (
        has_value(dataset.column(name)) for name in ("audio_samples", "frames_seen", "start_us")
    )
    return heard | (seen & timed)
