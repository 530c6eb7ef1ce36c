"""Learning rate schedules, and the small state machines that watch a run.

The learning rate is a function of the step, so a resumed run needs to remember nothing; `Plateau`,
`Patience` and `SkippedSteps` count.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

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
    if schedule == "cosine":
        return _cosine(after / max(1, steps - warmup), peak, 0.0)
    if schedule == "restarts":
        return _cosine(_restart_progress(after / steps_per_epoch), peak, min(LOWEST, peak))
    return peak


def _cosine(progress: float, top: float, bottom: float) -> float:
    return bottom + 0.5 * (top - bottom) * (1.0 + math.cos(math.pi * min(1.0, progress)))


def _restart_progress(epochs: float) -> float:
    """Fraction of the current cosine that has passed, in [0, 1)."""
    length = FIRST_RESTART
    while epochs >= length:
        epochs, length = epochs - length, length * STRETCH
    return epochs / length


class _Watch:
    """Counts the epochs since a metric (higher is better) last improved by more than `min_delta`."""

    def __init__(self, min_delta: float) -> None:
        self.min_delta = min_delta
        self._best, self._waited = -math.inf, 0

    def push(self, metric: float) -> None:
        """Take the metric of an epoch."""
        if metric > self._best + self.min_delta:
            self._best, self._waited = metric, 0
        else:
            self._waited += 1

    def state(self) -> dict[str, float]:
        """What `restore` takes."""
        return {"best": self._best, "waited": self._waited}

    def restore(self, state: Mapping[str, float]) -> None:
        """Continue from `state`."""
        self._best, self._waited = state["best"], int(state["waited"])


class Plateau(_Watch):
    """Multiplies `scale` by `factor` after more than `patience` epochs without improvement."""

    def __init__(self, *, factor: float = 0.5, patience: int = 3, min_delta: float = 0.0) -> None:
        super().__init__(min_delta)
        self.factor, self.patience, self.scale = factor, patience, 1.0

    def push(self, metric: float) -> None:
        """Take the metric of an epoch; `scale` is then in (0, 1]."""
        super().push(metric)
        if self._waited > self.patience:
            self.scale, self._waited = self.scale * self.factor, 0

    def state(self) -> dict[str, float]:
        """What `restore` takes."""
        return {"scale": self.scale, **super().state()}

    def restore(self, state: Mapping[str, float]) -> None:
        """Continue from `state`."""
        super().restore(state)
        self.scale = state["scale"]


class Patience(_Watch):
    """Early stopping: `spent` after `epochs` epochs without improvement; 0 never stops."""

    def __init__(self, epochs: int, min_delta: float) -> None:
        super().__init__(min_delta)
        self.epochs = epochs

    @property
    def spent(self) -> bool:
        """Whether it is time to stop."""
        return 0 < self.epochs <= self._waited


class SkippedSteps:
    """Counts consecutive steps whose gradient is not finite."""

    def __init__(self, limit: int) -> None:
        """`limit` is 0 without a loss scale: then no step may be skipped."""
        self.limit, self.count = limit, 0

    def push(self, norm: float) -> bool:
        """Take the gradient norm of a step; True where the run has to end."""
        self.count = 0 if math.isfinite(norm) else self.count + 1
        return self.count > self.limit
