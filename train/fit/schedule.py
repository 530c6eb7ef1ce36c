"""How fast to learn at each step: warm-up, then one of four courses.

Three are functions of the step alone, so that a resumed run needs to remember nothing; `Plateau` is a
plain state machine, fed one figure an epoch.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

FIRST_RESTART = 10.0
"""Epochs of the first cosine of ``restarts``; each one is `STRETCH` times as long as the one before."""
STRETCH = 2
LOWEST = 1e-6
"""What each cosine of ``restarts`` ends at."""


def learning_rate(
    schedule: str,
    step: int,
    *,
    steps: int,
    steps_per_epoch: int,
    warmup_epochs: float,
    peak: float,
) -> float:
    """The learning rate of step `step` of `steps`, in (0, `peak`].

    A line up to `peak` over `warmup_epochs` (half of all steps at the most), then:

    - ``cosine``: half a cosine down to zero at `steps`;
    - ``restarts``: cosines to `LOWEST`, begun again after 10, 20, 40, ... epochs (SGDR: Loshchilov and
      Hutter, 2017);
    - ``constant`` and ``plateau``: `peak`, the latter times `Plateau.scale`.
    """
    warmup = int(min(warmup_epochs * steps_per_epoch, steps / 2))
    if step < warmup:
        return peak * (step + 1) / warmup
    after = step - warmup
    if schedule == "cosine":
        return _cosine(after / max(1, steps - warmup), peak, 0.0)
    if schedule == "restarts":
        return _cosine(_of_restart(after / steps_per_epoch), peak, min(LOWEST, peak))
    return peak


def _cosine(progress: float, top: float, bottom: float) -> float:
    return bottom + 0.5 * (top - bottom) * (1.0 + math.cos(math.pi * min(1.0, progress)))


def _of_restart(epochs: float) -> float:
    """Which share of the current cosine has passed, in [0, 1)."""
    length = FIRST_RESTART
    while epochs >= length:
        epochs, length = epochs - length, length * STRETCH
    return epochs / length


class Plateau:
    """Halves `scale` when the figure has not got better for more than `patience` epochs."""

    def __init__(self, *, factor: float = 0.5, patience: int = 3, min_delta: float = 0.0) -> None:
        self.factor, self.patience, self.min_delta = factor, patience, min_delta
        self.scale, self._best, self._waited = 1.0, -math.inf, 0

    def push(self, figure: float) -> float:
        """Take an epoch's figure (higher is better) and return `scale`, in (0, 1]."""
        if figure > self._best + self.min_delta:
            self._best, self._waited = figure, 0
        else:
            self._waited += 1
        if self._waited > self.patience:
            self.scale, self._waited = self.scale * self.factor, 0
        return self.scale

    def state(self) -> dict[str, float]:
        """What `restore` takes."""
        return {"scale": self.scale, "best": self._best, "waited": self._waited}

    def restore(self, state: Mapping[str, float]) -> None:
        """Go on as the state machine that `state` came from."""
        self.scale, self._best = state["scale"], state["best"]
        self._waited = int(state["waited"])


class Patience:
    """Says when a run has waited long enough for a better figure."""

    def __init__(self, epochs: int, min_delta: float) -> None:
        """`epochs` without one better by more than `min_delta`; 0 waits for ever."""
        self.epochs, self.min_delta = epochs, min_delta
        self._best, self._waited = -math.inf, 0

    @property
    def spent(self) -> bool:
        """Whether it is time to stop."""
        return 0 < self.epochs <= self._waited

    def push(self, figure: float) -> None:
        """Take an epoch's figure (higher is better)."""
        if figure > self._best + self.min_delta:
            self._best, self._waited = figure, 0
        else:
            self._waited += 1

    def state(self) -> dict[str, float]:
        """What `restore` takes."""
        return {"best": self._best, "waited": self._waited}

    def restore(self, state: Mapping[str, float]) -> None:
        """Go on as the one that `state` came from."""
        self._best, self._waited = state["best"], int(state["waited"])
