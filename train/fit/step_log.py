"""Losses and gradient norms of an epoch, read from the device now and then.

Reading a number makes the CPU wait until the GPU has computed it, and a GPU without orders idles.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

READ_EVERY = 64
"""Numbers of a GPU that are read at once: a loss and perhaps a norm a batch."""
MAX_SKIPPED = 32
"""Consecutive steps that a loss scale (FP16) may skip. Each halves the scale: after these it is 2^-32 of
what it was, so the gradients are not finite for another reason."""


class NotFinite(Exception):
    """A loss or gradient is not finite."""

    def __init__(self, problem: str, index: int, *, scaled: bool = False) -> None:
        """`index` of the batch; `scaled` where lower loss scales did not help either."""
        super().__init__(problem)
        self.problem, self.index, self.scaled = problem, index, scaled


@dataclass
class StepLog:
    """The losses of an epoch's batches and the gradient norms of its steps."""

    limit: int
    """Consecutive steps that a loss scale may skip; 0 without a loss scale: then no norm may be infinite."""
    every: int
    """Numbers that are read at once."""
    skipped: int = 0
    """Consecutive steps so far whose gradient is not finite, over all epochs."""
    total: float = 0.0
    """Sum of the losses of this epoch that were read."""
    newest: float = math.nan
    """The newest loss that was read."""
    _waiting: list[tuple[str, int, Tensor]] = field(default_factory=list)

    def start_epoch(self) -> None:
        """Forget the losses and what waits."""
        self.total, self.newest, self._waiting = 0.0, math.nan, []

    def push(self, kind: Literal["loss", "norm"], index: int, value: Tensor) -> None:
        """Take the loss of batch `index`, or the gradient norm of the step that began with it. Raises
        `NotFinite`, on a GPU later than on the CPU."""
        self._waiting.append((kind, index, value))
        if len(self._waiting) >= self.every:
            self.read()

    def read(self) -> None:
        """Read everything that is waiting. Raises `NotFinite` for the first number that is not."""
        if not self._waiting:
            return
        numbers = torch.stack([value.detach().float() for *_, value in self._waiting]).tolist()
        waiting, self._waiting = self._waiting, []
        for (kind, index, _), number in zip(waiting, numbers, strict=True):
            finite = math.isfinite(number)
            if kind == "norm":
                self.skipped = 0 if finite else self.skipped + 1
                if self.skipped > self.limit:
                    raise self._bad_gradient(number, index)
            elif not finite:
                raise NotFinite(f"the loss is {number}", index)
            else:
                self.total, self.newest = self.total + number, number

    def _bad_gradient(self, norm: float, index: int) -> NotFinite:
        if not self.limit:
            return NotFinite(f"the gradient is {norm}", index)
        problem = f"the gradient is {norm} at every loss scale, in {self.skipped} steps in a row,"
        return NotFinite(problem, index, scaled=True)
