"""The one seam between the pipeline and a compiled graph."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from affectstream.engines.errors import EngineError

Array = NDArray[Any]


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """One input or output: free axes are strings (``"N"``), fixed ones numbers."""

    name: str
    shape: tuple[int | str, ...]
    dtype: np.dtype[Any]

    def describe(self) -> str:
        """Such as ``pixels (N, 48, 48, 3) uint8``."""
        return f"{self.name} ({', '.join(map(str, self.shape))}) {self.dtype}"

    def admits(self, array: Array) -> bool:
        """Whether `array` has this dtype, rank and every fixed axis."""
        return (
            array.dtype == self.dtype
            and array.ndim == len(self.shape)
            and all(
                isinstance(s, str) or s == n for s, n in zip(self.shape, array.shape, strict=True)
            )
        )


class Engine(Protocol):
    """A compiled graph. Opened with ``with``; `run` may be called from several threads at once.

    The arrays that `run` returns are fresh: they belong to the caller.
    """

    @property
    def inputs(self) -> Mapping[str, TensorSpec]:
        """Inputs by name, in the graph's order."""
        ...

    @property
    def outputs(self) -> Mapping[str, TensorSpec]:
        """Outputs by name, in the graph's order."""
        ...

    @property
    def runtime(self) -> str:
        """What computes, such as ``onnxruntime 1.31.1 cpu``."""
        ...

    def run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """All outputs by name. Raises `EngineError` for feeds that `inputs` does not admit."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...


def check_feeds(engine: str, inputs: Mapping[str, TensorSpec], feeds: Mapping[str, Array]) -> None:
    """Raise `EngineError` unless `feeds` has exactly the inputs, each of an admitted shape."""
    if feeds.keys() != inputs.keys():
        raise EngineError(
            f"{engine}: fed {sorted(feeds)}, expected {sorted(inputs)}: feed every input by its name"
        )
    for name, spec in inputs.items():
        array = feeds[name]
        if not spec.admits(array):
            raise EngineError(
                f"{engine}: input {name!r} is {array.shape} {array.dtype}, expected {spec.describe()}"
            )


def padded(array: Array, size: int) -> Array:
    """`array` with its first axis filled up with zeros to `size` rows (itself when already so)."""
    if len(array) == size:
        return array
    out = np.zeros((size, *array.shape[1:]), array.dtype)
    out[: len(array)] = array
    return out


SLOTS = (1, 2, 4, 8, 16, 32, 64)
"""Batch sizes that engines are run at; anything between is padded up, so that the same input always
meets the same kernel and scores do not depend on what else was in the batch."""


def slot(count: int) -> int:
    """The smallest of `SLOTS` that holds `count` rows (1 to 64)."""
    for size in SLOTS:
        if count <= size:
            return size
    raise ValueError(f"a batch holds at most {SLOTS[-1]} rows, found {count}: split it")
