"""An engine around another one, which it runs: to batch, time or record what goes through."""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType
from typing import Self

from affectstream.engines.spec import Array, Engine, TensorSpec


class EngineWrapper:
    """Has the specs of `inner` and closes it. Subclasses override `run`."""

    def __init__(self, inner: Engine) -> None:
        self.inner = inner

    @property
    def inputs(self) -> Mapping[str, TensorSpec]:
        """As of the inner engine."""
        return self.inner.inputs

    @property
    def outputs(self) -> Mapping[str, TensorSpec]:
        """As of the inner engine."""
        return self.inner.outputs

    @property
    def runtime(self) -> str:
        """As of the inner engine."""
        return self.inner.runtime

    def run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """All outputs by name. Raises `EngineError`."""
        return self.inner.run(feeds)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.inner.__exit__(kind, error, trace)
