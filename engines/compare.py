"""Two runtimes, or two precisions, on the same inputs: how far apart, how fast, and good enough?"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from affectstream.engines.errors import EngineError
from affectstream.engines.spec import Array, Engine, TensorSpec

MARGIN = 0.02
"""Where the two largest probabilities are nearer than this, either may win."""
AGREEMENT = 0.995
"""The same label, as a share of the rows whose margin is larger."""
DIFFERENCE = 0.02
"""The most that a probability may differ by; other values by as much of the largest of them, or of 1
where all are smaller."""
COSINE = 0.999

ROWS = 8
SIDE = 160
"""Rows of a made-up batch, and the length of any other free axis."""

Feeds = Sequence[Mapping[str, Array]]


@dataclass(slots=True)
class Agreement:
    """Labels and probabilities of two classifiers, added up over rows."""

    rows: int = 0
    decided: int = 0
    agreed: int = 0
    largest: float = 0.0
    """Largest difference of a probability."""
    beyond: int = 0
    """Rows in which one differs by more than `DIFFERENCE`."""

    def add(self, expected: NDArray[Any], found: NDArray[Any]) -> None:
        """Add rows of probabilities (N, C); both must be of one shape."""
        if not len(expected):
            return
        order = np.sort(expected, axis=1)
        clear = order[:, -1] - order[:, -2] > MARGIN
        same = expected.argmax(1) == found.argmax(1)
        self.rows += len(expected)
        self.decided += int(clear.sum())
        self.agreed += int((clear & same).sum())
        self.largest = max(self.largest, _largest(expected - found))
        self.beyond += int((~(np.abs(expected - found).max(axis=1) <= DIFFERENCE)).sum())

    @property
    def share(self) -> float:
        """Rows with the same label among those with a clear one."""
        return self.agreed / self.decided if self.decided else 1.0

    @property
    def passed(self) -> bool:
        """Whether both limits are kept."""
        return self.share >= AGREEMENT and self.largest <= DIFFERENCE


@dataclass(slots=True)
class OutputDifference:
    """How far one output of B is from that of A, added up over batches."""

    output: str
    max_abs: float = 0.0
    scale: float = 0.0
    """Largest absolute value of A."""
    agreement: Agreement | None = None
    _sums: NDArray[np.float64] = field(default_factory=lambda: np.zeros(5))

    def add(self, expected: Array, found: Array) -> None:
        """Add one batch of this output."""
        if expected.shape != found.shape or expected.dtype != found.dtype:
            raise EngineError(
                f"output {self.output!r} is {expected.shape} {expected.dtype} on one side and "
                f"{found.shape} {found.dtype} on the other: these are not the same network"
            )
        a, b = (array.astype(np.float64).reshape(-1) for array in (expected, found))
        error = np.abs(a - b)
        self.max_abs = max(self.max_abs, _largest(error))
        self.scale = max(self.scale, _largest(a))
        self._sums += np.array([error.sum(), error.size, a @ b, a @ a, b @ b])
        if self.output == "logits" and expected.ndim == 2:
            self.agreement = self.agreement or Agreement()
            self.agreement.add(softmax(expected), softmax(found))

    @property
    def mean_abs(self) -> float:
        """Mean absolute error."""
        return float(self._sums[0] / max(self._sums[1], 1))

    @property
    def cosine(self) -> float:
        """Of the two outputs as one long vector each; 1 where both are all zero."""
        _, _, ab, aa, bb = self._sums
        return float(ab / np.sqrt(aa * bb)) if aa * bb else float(aa == bb)

    @property
    def passed(self) -> bool:
        """Whether every limit is kept; NaN never passes."""
        near = self.max_abs <= DIFFERENCE * max(1.0, self.scale) and self.cosine >= COSINE
        return self.agreement.passed if self.agreement is not None else near


@dataclass(frozen=True, slots=True)
class Comparison:
    """Errors of each output, and median seconds for all feeds."""

    gaps: tuple[OutputDifference, ...]
    a_s: float
    b_s: float

    @property
    def passed(self) -> bool:
        """Whether every output passed."""
        return all(gap.passed for gap in self.gaps)


def compare(a: Engine, b: Engine, feeds: Feeds, repeats: int) -> Comparison:
    """Run both on all `feeds`: once for the errors, then in turns, `repeats` times, for the time.

    Raises `EngineError` where the two do not have the same inputs and outputs.
    """
    for side, first, second in (("inputs", a.inputs, b.inputs), ("outputs", a.outputs, b.outputs)):
        if first.keys() != second.keys():
            raise EngineError(
                f"the two have different {side}: {sorted(first)} and {sorted(second)}; "
                "these are not the same network"
            )
    gaps = {name: OutputDifference(name) for name in a.outputs}
    for given in feeds:
        expected, found = a.run(given), b.run(given)
        for name, gap in gaps.items():
            gap.add(expected[name], found[name])
    walls: tuple[list[float], list[float]] = ([], [])
    for _ in range(repeats):
        for engine, wall in zip((a, b), walls, strict=True):
            started = time.perf_counter()
            for given in feeds:
                engine.run(given)
            wall.append(time.perf_counter() - started)
    return Comparison(tuple(gaps.values()), median(walls[0]), median(walls[1]))


def random_feeds(inputs: Mapping[str, TensorSpec], batches: int, seed: int) -> Feeds:
    """Made-up batches: any uint8, floats in [-1, 1], whole numbers from 0 to 255 (every tokenizer has
    as many pieces), masks that are mostly true."""
    dice = np.random.default_rng(seed)

    def array(spec: TensorSpec) -> Array:
        first, *others = (SIDE if isinstance(axis, str) else axis for axis in spec.shape)
        shape = (ROWS if isinstance(spec.shape[0], str) else first, *others)
        if spec.dtype == np.bool_:
            return dice.random(shape) < 0.8
        if np.issubdtype(spec.dtype, np.floating):
            return dice.uniform(-1, 1, shape).astype(spec.dtype)
        return dice.integers(0, 256, shape).astype(spec.dtype)

    return [{name: array(spec) for name, spec in inputs.items()} for _ in range(batches)]


def softmax(logits: Array) -> NDArray[np.float64]:
    """Probabilities (N, C) float64 of logits (N, C)."""
    scaled = logits.astype(np.float64)
    weights = np.exp(scaled - scaled.max(axis=1, keepdims=True))
    return np.asarray(weights / weights.sum(axis=1, keepdims=True))


def _largest(values: Array) -> float:
    """Largest absolute value, infinite where one is NaN; 0 for none."""
    if not values.size:
        return 0.0
    largest = float(np.abs(values).max())
    return float("inf") if np.isnan(largest) else largest
