"""Optimization profiles: how large the free axes of a graph may be, and the size it is tuned for.

1            always one row           1-8        one to eight rows, tuned for eight
1-4-64       tuned for four           1-8,T=50-100-300      a range for the axis named T too
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from msgspec import Struct

from affectstream.engines.errors import BuildError, UsageError

BATCH = "N"
"""The name of the first axis in profiles, whatever the graph calls it; a range without a name is for it."""
Shape = tuple[int, ...]


class AxisRange(Struct, frozen=True):
    """The sizes of one free axis. Raises `BuildError` unless 1 <= low <= best <= high."""

    axis: str
    low: int
    best: int
    high: int

    def __post_init__(self) -> None:
        if not 1 <= self.low <= self.best <= self.high:
            raise BuildError(
                f"profile {self.axis}={self.low}-{self.best}-{self.high}: expected rising sizes of 1 or "
                "more, min-max or min-opt-max"
            )

    def __str__(self) -> str:
        sizes = [self.low]
        if self.best > self.low or self.high > self.best:
            sizes += [self.best] * (self.best < self.high) + [self.high]
        text = "-".join(map(str, sizes))
        return text if self.axis == BATCH else f"{self.axis}={text}"


class Profile(Struct, frozen=True):
    """Ranges for every free axis of a graph."""

    ranges: tuple[AxisRange, ...]

    def __str__(self) -> str:
        return ",".join(map(str, self.ranges))

    def holds(self, other: Profile) -> bool:
        """Whether this profile admits every size that `other` admits."""
        mine = {given.axis: given for given in self.ranges}
        return all(
            (wide := mine.get(given.axis)) is not None
            and wide.low <= given.low
            and given.high <= wide.high
            for given in other.ranges
        )

    def with_defaults(self, defaults: Iterable[AxisRange]) -> Profile:
        """This profile, with `defaults` for axes that it does not name."""
        named = {given.axis for given in self.ranges}
        return Profile((*self.ranges, *(given for given in defaults if given.axis not in named)))


def parse_profile(text: str) -> Profile:
    """Read such as ``1-8`` or ``1-4-64,T=50-300``. Raises `UsageError`."""
    ranges: dict[str, AxisRange] = {}
    for part in text.split(","):
        match = re.fullmatch(r"(?:([^=,]+)=)?(\d+)(?:-(\d+))?(?:-(\d+))?", part.strip())
        if match is None:
            raise UsageError(
                f"profile {text!r}: {part.strip()!r} is not a range: expected such as 1, 1-8, 1-4-64 "
                "or T=50-300"
            )
        axis, sizes = match[1] or BATCH, [int(size) for size in match.groups()[1:] if size]
        if axis in ranges:
            raise UsageError(f"profile {text!r}: axis {axis} is given twice")
        try:
            ranges[axis] = AxisRange(axis, sizes[0], sizes[len(sizes) // 2], sizes[-1])
        except BuildError as error:
            raise UsageError(str(error)) from error
    return Profile(tuple(ranges.values()))


def free_axes(inputs: Mapping[str, tuple[int | str, ...]]) -> list[str]:
    """The names that profiles use for the free axes of `inputs`, sorted."""
    return sorted({_axis(spec, i) for spec in inputs.values() for i in _free(spec)})


def shapes_for(
    graph: str, inputs: Mapping[str, tuple[int | str, ...]], profile: Profile
) -> dict[str, tuple[Shape, Shape, Shape]]:
    """The smallest, best and largest shape of every input with free axes, which are strings in `inputs`.

    Raises `BuildError`, naming the graph, when an axis has no range or a range has no axis.
    """
    free = free_axes(inputs)
    ranges = {given.axis: given for given in profile.ranges}
    if missing := [axis for axis in free if axis not in ranges]:
        raise BuildError(
            f"{graph}: profile {profile} gives no range for axis {', '.join(missing)}: "
            f"add it, such as --profile {profile},{missing[0]}=1-8"
        )
    if unknown := sorted(ranges.keys() - {*free, BATCH}):
        raise BuildError(
            f"{graph}: profile {profile} gives a range for axis {', '.join(unknown)}, but its free "
            f"axes are {', '.join(free) or 'none'}: leave it out, or build one engine by --role"
        )
    shapes = {}
    for name, spec in inputs.items():
        if _free(spec):
            sizes = [
                ranges[_axis(spec, i)] if isinstance(s, str) else s for i, s in enumerate(spec)
            ]
            low, best, high = (
                tuple(size if isinstance(size, int) else getattr(size, end) for size in sizes)
                for end in ("low", "best", "high")
            )
            shapes[name] = (low, best, high)
    return shapes


def _free(spec: tuple[int | str, ...]) -> list[int]:
    return [i for i, size in enumerate(spec) if isinstance(size, str)]


def _axis(spec: tuple[int | str, ...], i: int) -> str:
    """The name that profiles use for free axis `i`: its number if the graph does not name it."""
    return BATCH if i == 0 else str(spec[i] or i)
