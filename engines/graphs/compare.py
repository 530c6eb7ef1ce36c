"""Compares two runtimes or precisions on the same inputs: errors, agreement and speed."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from affectstream.engines.errors import EngineError
from affectstream.engines.graphs.feeds import Feeds
from affectstream.engines.spec import Array, Engine

MARGIN = 0.02
"""A row is *clear* when its two largest probabilities are further apart than this; otherwise either label
may win."""
MIN_AGREEMENT = 0.995
"""Smallest share of the clear rows that must get the same label."""
MAX_DIFFERENCE = 0.02
"""Largest allowed difference of a probability. Other values may differ by this share of the largest of
them, or of 1 when all are smaller."""
MIN_COSINE = 0.999
"""Smallest cosine between two outputs that are not logits."""


@dataclass(slots=True)
class Agreement:
    """Labels and probabilities of two classifiers, counted over rows."""

    rows: int = 0
    clear: int = 0
    agreed: int = 0
    """Clear rows with the same label on both sides."""
    largest: float = 0.0
    """Largest difference of a probability."""
    beyond: int = 0
    """Rows in which a probability differs by more than `MAX_DIFFERENCE`."""

    def add(self, expected: NDArray[Any], actual: NDArray[Any]) -> None:
        """Add rows of probabilities (N, C); both arrays have one shape."""
        if not len(expected):
            return
        order = np.sort(expected, axis=1)
        clear = order[:, -1] - order[:, -2] > MARGIN
        same = expected.argmax(1) == actual.argmax(1)
        self.rows += len(expected)
        self.clear += int(clear.sum())
        self.agreed += int((clear & same).sum())
        self.largest = max(self.largest, _largest(expected - actual))
        self.beyond += int((~(np.abs(expected - actual).max(axis=1) <= MAX_DIFFERENCE)).sum())

    @property
    def share(self) -> float:
        """Share of the clear rows with the same label; 1 when no row is clear."""
        return self.agreed / self.clear if self.clear else 1.0

    @property
    def passed(self) -> bool:
        """Whether labels and probabilities are within their limits."""
        return self.share >= MIN_AGREEMENT and self.largest <= MAX_DIFFERENCE


@dataclass(slots=True)
class OutputDifference:
    """The error of one output of engine B against engine A, over all batches."""

    output: str
    max_abs: float = 0.0
    scale: float = 0.0
    """Largest absolute value of A's output."""
    agreement: Agreement | None = None
    _sums: NDArray[np.float64] = field(default_factory=lambda: np.zeros(5))

    def add(self, expected: Array, actual: Array) -> None:
        """Add one batch of this output."""
        if expected.shape != actual.shape or expected.dtype != actual.dtype:
            raise EngineError(
                f"output {self.output!r} is {expected.shape} {expected.dtype} on one side and "
                f"{actual.shape} {actual.dtype} on the other: these are not the same network"
            )
        a, b = (array.astype(np.float64).reshape(-1) for array in (expected, actual))
        error = np.abs(a - b)
        self.max_abs = max(self.max_abs, _largest(error))
        self.scale = max(self.scale, _largest(a))
        self._sums += np.array([error.sum(), error.size, a @ b, a @ a, b @ b])
        if self.output == "logits" and expected.ndim == 2:
            self.agreement = self.agreement or Agreement()
            self.agreement.add(softmax(expected), softmax(actual))

    @property
    def mean_abs(self) -> float:
        """Mean absolute error."""
        return float(self._sums[0] / max(self._sums[1], 1))

    @property
    def cosine(self) -> float:
        """Cosine between the two outputs as flat vectors; 1 when both are all zero."""
        _, _, ab, aa, bb = self._sums
        return float(ab / np.sqrt(aa * bb)) if aa * bb else float(aa == bb)

    @property
    def passed(self) -> bool:
        """Whether the output is within its limits; NaN never is."""
        near = self.max_abs <= MAX_DIFFERENCE * max(1.0, self.scale) and self.cosine >= MIN_COSINE
        return self.agreement.passed if self.agreement is not None else near


@dataclass(frozen=True, slots=True)
class Comparison:
    """The difference of each output, and the median time that each engine needs for all feeds."""

    outputs: tuple[OutputDifference, ...]
    a_s: float
    b_s: float

    @property
    def passed(self) -> bool:
        """Whether every output is within its limits."""
        return all(output.passed for output in self.outputs)


def compare(a: Engine, b: Engine, feeds: Feeds, repeats: int) -> Comparison:
    """Run both on all `feeds`: once to measure errors, then alternately `repeats` times to measure time.

    Raises `EngineError` when their inputs or outputs differ.
    """
    for side, first, second in (("inputs", a.inputs, b.inputs), ("outputs", a.outputs, b.outputs)):
        if first.keys() != second.keys():
            raise EngineError(
                f"the two have different {side}: {sorted(first)} and {sorted(second)}; "
                "these are not the same network"
            )
    differences = {name: OutputDifference(name) for name in a.outputs}
    for feed in feeds:
        expected, actual = a.run(feed), b.run(feed)
        for name, difference in differences.items():
            difference.add(expected[name], actual[name])
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(repeats):
        for engine, times_s in zip((a, b), times, strict=True):
            started = time.perf_counter()
            for feed in feeds:
                engine.run(feed)
            times_s.append(time.perf_counter() - started)
    return Comparison(tuple(differences.values()), median(times[0]), median(times[1]))


def softmax(logits: Array) -> NDArray[np.float64]:
    """Probabilities (N, C) float64 of logits (N, C)."""
    scaled = logits.astype(np.float64)
    weights = np.exp(scaled - scaled.max(axis=1, keepdims=True))
    return np.asarray(weights / weights.sum(axis=1, keepdims=True))


def _largest(values: Array) -> float:
    """Largest absolute value: infinity when any is NaN, 0 when there is none."""
    if not values.size:
        return 0.0
    largest = float(np.abs(values).max())
    return float("inf") if np.isnan(largest) else largest
