"""Which of the shapes that a plan was built for a batch is run at.

A plan has one or more *profiles*, each with the smallest, usual and largest shape of every input. A free
first axis is the batch: it is padded up to one of `SLOTS` that the profile admits. Any other free axis has
to lie within the profile as it is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod

from affectstream.engines.errors import EngineError
from affectstream.engines.spec import SLOTS, TensorSpec

Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Bounds:
    """What one profile admits for one input."""

    low: Shape
    usual: Shape
    high: Shape

    def admit(self, shape: Shape) -> bool:
        """Whether every axis is within the bounds."""
        return all(lo <= n <= hi for lo, n, hi in zip(self.low, shape, self.high, strict=True))


BuiltProfile = Mapping[str, Bounds]


def batched(specs: Mapping[str, TensorSpec]) -> frozenset[str]:
    """The names of those whose first axis is free: the batch."""
    return frozenset(n for n, s in specs.items() if s.shape and isinstance(s.shape[0], str))


@dataclass(frozen=True, slots=True)
class Fit:
    """A profile and the shape of every input, padded: all that a slot depends on."""

    profile: int
    shapes: tuple[tuple[str, Shape], ...]
    batch: int | None
    """Rows after padding; None for a plan whose first axes are all fixed."""


class Fitter:
    """The inputs and profiles of one plan."""

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
        """The rows that the inputs agree on, None where there is no batch axis. Raises `EngineError`."""
        counts = {name: shapes[name][0] for name in self._batched}
        if len(set(counts.values())) > 1:
            raise EngineError(
                f"{self._name}: the inputs have different numbers of rows: {counts}; a batch has one"
            )
        return next(iter(counts.values()), None)

    def fit(self, shapes: Mapping[str, Shape]) -> Fit:
        """The first profile that has room. Raises `EngineError` with the bounds when none has."""
        rows = self.rows(shapes)
        for index in self._order:
            profile = self._profiles[index]
            size = None if rows is None else self._padded(profile, rows)
            fitted = {
                name: (size, *shape[1:]) if size is not None and name in self._batched else shape
                for name, shape in shapes.items()
            }
            if all(profile[name].admit(shape) for name, shape in fitted.items()):
                return Fit(index, tuple(fitted.items()), size)
        built = " or ".join(
            ", ".join(f"{name} {bounds.low} to {bounds.high}" for name, bounds in profile.items())
            for profile in self._profiles
        )
        raise EngineError(
            f"{self._name}: fed {dict(shapes)}, but the plan was built for {built}: "
            "split the batch, or build the plan with a profile that has room"
        )

    def usual(self) -> Iterator[Fit]:
        """Every padded batch size of every profile, at the usual length of all other axes."""
        seen = set()
        for index in self._order:
            profile = self._profiles[index]
            low, high = self._range(profile)
            for size in sorted({*(s for s in SLOTS if low <= s <= high), high}):
                found = self.fit(
                    {
                        name: (size, *bounds.usual[1:]) if name in self._batched else bounds.usual
                        for name, bounds in profile.items()
                    }
                )
                if found not in seen:
                    seen.add(found)
                    yield found

    def _padded(self, profile: BuiltProfile, rows: int) -> int:
        low, high = self._range(profile)
        wanted = max(rows, low)
        size = next((s for s in SLOTS if s >= wanted), high)
        # Between the last slot and an odd upper bound, the bound itself; above it nothing fits.
        return min(size, high) if 1 <= rows <= high else rows

    def _range(self, profile: BuiltProfile) -> tuple[int, int]:
        """Batch sizes that every input's bounds admit; one that does not matter without a batch axis."""
        return (
            max((profile[name].low[0] for name in self._batched), default=1),
            min((profile[name].high[0] for name in self._batched), default=1),
        )
