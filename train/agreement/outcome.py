"""How two sides are compared, and what comes of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from affectstream.train.agreement.boundaries import Boundaries
from affectstream.train.statistics import Interval


@dataclass(frozen=True, slots=True)
class Settings:
    """How two sides are compared. Times in seconds."""

    step: float = 0.1
    tolerance: float = 0.5
    offset: float = 0.0
    """Added to the times of the second side."""
    persons: Mapping[str, str] | None = None
    """The first side's names to the second's."""
    rename: Mapping[str, str] | None = None
    """Labels of either side to the name that both shall have."""


@dataclass(frozen=True, slots=True)
class Disagreement:
    """A stretch in which both give a verdict, and not the same one within the tolerance."""

    recording: str
    person: str | None
    start: float
    end: float
    first: str
    second: str


@dataclass(frozen=True, slots=True)
class CodingAgreement:
    """Two codings of one kind, over all recordings."""

    kind: str
    recordings: int
    seconds: float
    """In which both give a verdict."""
    coverage: tuple[float, float]
    """Of the time in which either gives a verdict, the share in which the first does, and the second."""
    given: tuple[float, float]
    """The seconds in which the first gives a verdict, and the second."""
    exact: dict[str, Interval]
    tolerant: dict[str, float]
    by: str
    """What the intervals draw."""
    labels: tuple[str, ...]
    confusion: NDArray[np.int64]
    """(K, K) moments, first side in rows."""
    onsets: Boundaries
    offsets: Boundaries
    lag: float
    """The shift of the second side, in seconds, at which they agree most."""
    disagreements: tuple[Disagreement, ...]
    by_recording: Mapping[str, Mapping[str, Interval]]
    """`exact` of each recording alone, drawing blocks of time; empty for one recording."""


@dataclass(frozen=True, slots=True)
class RatingAgreement:
    """Two ratings of one kind, over all recordings."""

    kind: str
    recordings: int
    seconds: float
    metrics: dict[str, Interval]
    by: str


@dataclass(frozen=True, slots=True)
class Agreement:
    """Everything that both sides annotated."""

    first: str
    second: str
    settings: Settings
    codings: tuple[CodingAgreement, ...]
    ratings: tuple[RatingAgreement, ...]
    left: tuple[tuple[str, ...], tuple[str, ...]]
    """What was not compared of the first side, and of the second: recordings that the other side lacks, and
    kinds that it lacks or never has at the same time."""
