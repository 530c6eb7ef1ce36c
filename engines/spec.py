"""The interface between the pipeline and a compiled graph."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Protocol, Self, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from affectstream.engines.errors import EngineError

Array = NDArray[Any]


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """One input or output. A free axis is a string such as ``"N"``, a fixed one a number."""

    name: str
    shape: tuple[int | str, ...]
    dtype: np.dtype[Any]

    def describe(self) -> str:
        """Such as ``pixels (N, 48, 48, 3) uint8``."""
        return f"{self.name} ({', '.join(map(str, self.shape))}) {self.dtype}"

    def admits(self, array: Array) -> bool:
        """Whether `array` has this dtype, this rank and every fixed axis."""
        return (
            array.dtype == self.dtype
            and array.ndim == len(self.shape)
            and all(
                isinstance(s, str) or s == n for s, n in zip(self.shape, array.shape, strict=True)
            )
        )


class Engine(Protocol):
    """A compiled graph, for use in a ``with`` statement. Several threads may call `run` at once.

    The arrays that `run` returns are new and belong to the caller.
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
        """The runtime and its device, such as ``onnxruntime 1.31.1 cpu``."""
        ...

    def run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """All outputs by name. Raises `EngineError` when `feeds` do not match `inputs`."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...


@dataclass(frozen=True, slots=True)
class Steps:
    """Seconds of the steps of one run on a GPU, by the host's clock; the GPU is idle between steps."""

    h2d_s: float
    """Copying the inputs to the GPU."""
    enqueue_s: float
    """Until the host has launched everything: a part of `compute_s`."""
    compute_s: float
    d2h_s: float
    """Copying the outputs to the host."""

    @property
    def latency_s(self) -> float:
        """All three steps."""
        return self.h2d_s + self.compute_s + self.d2h_s


@runtime_checkable
class TimedEngine(Protocol):
    """An engine that can time the steps of a run, for benchmarks."""

    def run_timed(self, feeds: Mapping[str, Array]) -> tuple[dict[str, Array], Steps]:
        """As `run`, with the times of its steps. Shapes that were not run before are run twice."""
        ...


def check_feeds(engine: str, inputs: Mapping[str, TensorSpec], feeds: Mapping[str, Array]) -> None:
    """Raise `EngineError` unless `feeds` has exactly `inputs`, each with its dtype and shape."""
    if feeds.keys() != inputs.keys():
        raise EngineError(
            f"{engine}: the inputs are {sorted(feeds)}, expected {sorted(inputs)}: give every input by name"
        )
    for name, spec in inputs.items():
        array = feeds[name]
        if not spec.admits(array):
            raise EngineError(
                f"{engine}: input {name!r} is {array.shape} {array.dtype}, expected {spec.describe()}"
            )
