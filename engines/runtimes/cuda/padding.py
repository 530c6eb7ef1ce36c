"""Pads a batch to one of the shapes that a plan was built for.

A plan has one or more *profiles*, each with the smallest, usual and largest shape of every input. A free
first axis is the batch: it is padded up to one of `BATCH_SIZES` that the profile admits. Every other free
axis has to lie within the profile as it is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod

from affectstream.engines.errors import EngineError
from affectstream.engines.graphs.batching import BATCH_SIZES
from affectstream.engines.spec import TensorSpec

Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Bounds:
    """The shapes of one input that a profile admits."""

    low: Shape
    usual: Shape
    high: Shape

    def admit(self, shape: Shape) -> bool:
        """Whether every axis is within the bounds."""
        return all(lo <= n <= hi for lo, n, hi in zip(self.low, shape, self.high, strict=True))


BuiltProfile = Mapping[str, Bounds]
"""The bounds of every input by name."""


def batched(specs: Mapping[str, TensorSpec]) -> frozenset[str]:
    """The names of the tensors with a batch axis: their first axis is free."""
    return frozenset(n for n, s in specs.items() if s.shape and isinstance(s.shape[0], str))


@dataclass(frozen=True, slots=True)
class PaddedShapes:
    """A profile, and the shape of every input after padding."""

    profile: int
    """Index of the profile in the plan."""
    shapes: tuple[tuple[str, Shape], ...]
    batch: int | None
    """Rows after padding; None for a plan without a batch axis."""


class BatchPadder:
    """Chooses profiles and padded shapes for one plan."""

    def __init__(
        self, name: str, inputs: Mapping[str, TensorSpec], profiles: Sequence[BuiltProfile]
    ) -> None:
        self._name = name
        self._profiles = profiles
        self._batched = batched(inputs)
        # The tightest first: its kernels were chosen for the smallest shapes.
        self._order = sorted(
            range(len(profiles)), key=lambda i: sum(prod(b.high) for b in profiles[i].values())
        )

    def rows(self, shapes: Mapping[str, Shape]) -> int | None:
        """The number of rows of all inputs, or None for a plan without a batch axis.

        Raises `EngineError` when the inputs have different numbers of rows.
        """
        counts = {name: shapes[name][0] for name in self._batched}
        if len(set(counts.values())) > 1:
            raise EngineError(
                f"{self._name}: the inputs have different numbers of rows: {counts}; a batch has one"
            )
        return next(iter(counts.values()), None)

    def pad(self, shapes: Mapping[str, Shape]) -> PaddedShapes:
        """The padded shapes in the tightest profile that admits them.

        Raises `EngineError`, naming all bounds, when no profile does.
        """
        rows = self.rows(shapes)
        for index in self._order:
            profile = self._profiles[index]
            size = None if rows is None else self._padded_size(profile, rows)
            padded = {
                name: (size, *shape[1:]) if size is not None and name in self._batched else shape
                for name, shape in shapes.items()
            }
            if all(profile[name].admit(shape) for name, shape in padded.items()):
                return PaddedShapes(index, tuple(padded.items()), size)
        built = " or ".join(
            ", ".join(f"{name} {bounds.low} to {bounds.high}" for name, bounds in profile.items())
            for profile in self._profiles
        )
        raise EngineError(
            f"{self._name}: the inputs are {dict(shapes)}, but the plan was built for {built}: "
            "split the batch, or build the plan with a larger profile"
        )

    def usual(self) -> Iterator[PaddedShapes]:
        """Every padded batch size of every profile, with the usual size of all other axes."""
        yielded = set()
        for index in self._order:
            profile = self._profiles[index]
            low, high = self._batch_range(profile)
            for size in sorted({*(s for s in BATCH_SIZES if low <= s <= high), high}):
                shapes = self.pad(
                    {
                        name: (size, *bounds.usual[1:]) if name in self._batched else bounds.usual
                        for name, bounds in profile.items()
                    }
                )
                if shapes not in yielded:
                    yielded.add(shapes)
                    yield shapes

    def _padded_size(self, profile: BuiltProfile, rows: int) -> int:
        low, high = self._batch_range(profile)
        size = next((s for s in BATCH_SIZES if s >= max(rows, low)), high)
        # Between the last batch size and an odd upper bound, the bound itself; above it nothing fits.
        return min(size, high) if 1 <= rows <= high else rows

    def _batch_range(self, profile: BuiltProfile) -> tuple[int, int]:
        """The batch sizes that the bounds of every input admit; (1, 1) without a batch axis."""
        return (
            max((profile[name].low[0] for name in self._batched), default=1),
            min((profile[name].high[0] for name in self._batched), default=1),
        )
