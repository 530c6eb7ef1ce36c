"""The parts of the result files that the gallery shows; everything else in them is skipped."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import Struct


class Interval(Struct):
    """A metric; None stands for a number that is not defined."""

    value: float | None
    low: float | None = None
    high: float | None = None


class _ClassRow(Struct):
    label: str


class _Classes(Struct):
    rows: list[_ClassRow]
    confusion: list[list[int]]
    majority: dict[str, Interval | float | None]
    """Before version 1.2 of the file without intervals."""


class TaskMetrics(Struct):
    """One task of an evaluation."""

    task: str
    samples: int
    by: str
    metrics: dict[str, Interval]
    classes: _Classes | None = None


class EvaluationFile(Struct):
    """``metrics.json``."""

    bundle: str
    version: str
    split: str
    tasks: list[TaskMetrics]
    name: str = ""


class _Recommendation(Struct):
    metric: str
    choice: str | None
    steps: list[str]


class _ComparedTask(Struct):
    task: str
    samples: int
    by: str
    metrics: dict[str, dict[str, Interval]]


class _Network(Struct):
    split: str


class ComparisonFile(Struct):
    """``comparison.json``."""

    networks: list[_Network]
    tasks: list[_ComparedTask]
    recommendation: _Recommendation


class _Point(Struct):
    samples: int
    metrics: dict[str, float | None]


class CurveFile(Struct):
    """``curve.json``."""

    recipe: str
    data: str
    points: list[_Point]


class _Fold(Struct):
    figures: dict[str, float | None]


class FoldsFile(Struct):
    """``folds.json``."""

    recipe: str
    data: str
    samples: int
    folds: list[_Fold]
    pooled: dict[str, Interval]
    interval: str = ""


class RunFile(Struct):
    """``summary.json`` of a run."""

    recipe: str
    best_epoch: int
    figures: dict[str, float | None]
    data: Any = None


class _ReproducedRow(Struct):
    recipe: str
    reported: str
    metrics: dict[str, Interval]
    samples: int = 0
    reason: str = ""


class ReproductionFile(Struct):
    """``reproduce.json``."""

    source: str
    data: str
    rows: list[_ReproducedRow]


class _Coding(Struct):
    kind: str
    by: str
    labels: list[str]
    exact: dict[str, Interval]
    confusion: list[list[int]]
    seconds: float


class AgreementFile(Struct):
    """``agreement.json``."""

    first: str
    second: str
    codings: list[_Coding]


class _Event(Struct):
    t_start: float
    t_end: float
    label: str | None = None
    abstain: str | None = None


class _Explained(Struct):
    name: str
    value: float | None = None
    probability: float | None = None


class _Modality(Struct):
    modality: str
    change: float | None


class _Face(Struct):
    regions: dict[str, float] | None = None


class EventExplanation(Struct, tag_field="type", tag="explanation"):
    """``explanation.json`` of one result of a recording."""

    stream: str
    track: int | None
    event: _Event
    explained: _Explained
    modalities: list[_Modality]
    face: list[_Face] = []


class _Hop(Struct):
    event: _Event
    explained: _Explained


class ClipExplanation(Struct, tag_field="type", tag="explanations"):
    """``explanation.json`` of a stretch of a recording."""

    stream: str
    hops: list[_Hop]


class _Sanity(Struct):
    part: str
    correlation: float


class _Token(Struct):
    token: str
    without: float


class NetworkExplanation(Struct, tag_field="type", tag="network explanation"):
    """``explanation.json`` of `train explain`."""

    recipe: str
    sample: str
    label: str | None
    explained: _Explained
    sanity: list[_Sanity] = []
    tokens: list[_Token] = []


ExplanationFile = EventExplanation | ClipExplanation | NetworkExplanation

Metrics = Mapping[str, Interval]
