"""Learning rate schedules, which are functions of the step, and early stopping, which counts epochs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from affectstream.train.config import Schedule

FIRST_RESTART = 10.0
"""Epochs of the first cosine of ``restarts``; each one is `STRETCH` times as long as the one before."""
STRETCH = 2
LOWEST = 1e-6
"""Learning rate at the end of each cosine of ``restarts``."""


def learning_rate(
    schedule: Schedule,
    step: int,
    *,
    steps: int,
    steps_per_epoch: int,
    warmup_epochs: float,
    peak: float,
) -> float:
    """The learning rate of step `step` of `steps`, in (0, `peak`].

    It rises linearly to `peak` over `warmup_epochs` (at most half of all steps), then:

    - ``cosine``: half a cosine down to zero at `steps`;
    - ``restarts``: cosines down to `LOWEST` that start again after 10, 20, 40, ... epochs (SGDR: Loshchilov
      and Hutter, 2017);
    - ``constant`` and ``plateau``: `peak`; the loop multiplies the latter by `Plateau.scale`.
    """
    warmup = int(min(warmup_epochs * steps_per_epoch, steps / 2))
    if step < warmup:
        return peak * (step + 1) / warmup
    after = step - warmup
    bottom = 0.0
    if schedule == "cosine":
        progress = min(1.0, after / max(1, steps - warmup))
    elif schedule == "restarts":
        epochs, length, bottom = after / steps_per_epoch, FIRST_RESTART, min(LOWEST, peak)
        while epochs >= length:
            epochs, length = epochs - length, length * STRETCH
        progress = epochs / length
    else:
        return peak
    return bottom + 0.5 * (peak - bottom) * (1.0 + math.cos(math.pi * progress))


@dataclass
class Patience:
    """Early stopping: `spent` after `epochs` epochs without a gain of more than `min_delta`. Higher metrics
    are better. With 0 epochs it is never spent."""

    epochs: int
    min_delta: float = 0.0
    best: float = -math.inf
    waited: int = 0

    def push(self, metric: float) -> None:
        """Take the metric of an epoch."""
        if metric > self.best + self.min_delta:
            self.best, self.waited = metric, 0
        else:
            self.waited += 1

    @property
    def spent(self) -> bool:
        """Whether it is time to stop."""
        return 0 < self.epochs <= self.waited

    def state(self) -> dict[str, float]:
        """What `restore` takes."""
        return {k: v for k, v in vars(self).items() if k not in ("epochs", "min_delta")}

    def restore(self, state: Mapping[str, float]) -> None:
        """Continue from `state`."""
        for name in self.state():
            setattr(self, name, state[name])


@dataclass
class Plateau(Patience):
    """Halves `scale`, which is in (0, 1], whenever its patience is spent."""

    epochs: int = 4
    scale: float = 1.0

    def push(self, metric: float) -> None:
        """Take the metric of an epoch."""
        super().push(metric)
        if self.spent:
            self.scale, self.waited = self.scale / 2, 0
