"""Losses and gradient norms of an epoch, read from the device now and then.

Reading a number makes the CPU wait until the GPU has computed it, and a GPU without orders idles.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor

READ_EVERY = 32
"""Batches between two readings of a GPU's numbers."""
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
    """Batches between two readings."""
    skipped: int = 0
    """Consecutive steps so far whose gradient is not finite, over all epochs."""
    total: float = 0.0
    """Sum of the losses of this epoch that were read."""
    newest: float = math.nan
    """The newest loss that was read."""
    _waiting: list[tuple[int, str, Tensor]] = field(default_factory=list)
    _batches: int = 0

    def start_epoch(self) -> None:
        """Forget the losses and what waits."""
        self.total, self.newest, self._waiting, self._batches = 0.0, math.nan, [], 0

    def loss(self, index: int, value: Tensor) -> None:
        """Take the loss of batch `index`. Raises `NotFinite`, on a GPU later than on the CPU."""
        self._waiting.append((index, "loss", value))
        self._batches += 1
        if self._batches >= self.every:
            self.read()

    def norm(self, index: int, value: Tensor) -> None:
        """Take the gradient norm of the step that began with batch `index`. Raises as `loss`."""
        self._waiting.append((index, "norm", value))
        if self.every == 1:
            self.read()

    def read(self) -> None:
        """Read everything that is waiting. Raises `NotFinite` for the first number that is not."""
        if not self._waiting:
            return
        numbers = torch.stack([value.detach().float() for *_, value in self._waiting]).tolist()
        waiting, self._waiting, self._batches = self._waiting, [], 0
        for (index, kind, _), number in zip(waiting, numbers, strict=True):
            finite = math.isfinite(number)
            if kind == "loss" and not finite:
                raise NotFinite(f"the loss is {number}", index)
            if kind == "loss":
                self.total, self.newest = self.total + number, number
            else:
                self.skipped = 0 if finite else self.skipped + 1
            if self.skipped > self.limit:
                scaled = f" at every loss scale, in {self.skipped} steps in a row," * bool(
                    self.limit
                )
                raise NotFinite(f"the gradient is {number}{scaled}", index, scaled=bool(scaled))
