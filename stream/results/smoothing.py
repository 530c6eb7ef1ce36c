"""Smoothing of emotion probabilities over time."""

from __future__ import annotations

import math
from collections.abc import Sequence


class Smoother:
    """Averages probabilities over time, and finds the label that leads by a margin.

    The average is exponential with time constant `tau_us`. Another label takes over only when it leads
    the present one by `margin`.
    """

    def __init__(
        self, labels: Sequence[str], *, tau_us: int = 1_000_000, margin: float = 0.05
    ) -> None:
        self._labels = tuple(labels)
        self._tau_us = tau_us
        self._margin = margin
        self._mean: list[float] | None = None
        self._lead: int | None = None

    def push(self, scores: Sequence[float] | None, hop_us: int) -> tuple[str | None, float]:
        """The label and its averaged probability after one hop. A hop without scores (None) resets the
        average, and gives (None, 0.0)."""
        if scores is None:
            self._mean = self._lead = None
            return None, 0.0
        if self._mean is None:
            self._mean = list(scores)
        else:
            keep = math.exp(-hop_us / self._tau_us)
            self._mean = [
                keep * m + (1 - keep) * s for m, s in zip(self._mean, scores, strict=True)
            ]
        best = max(range(len(self._mean)), key=self._mean.__getitem__)
        if self._lead is None or self._mean[best] >= self._mean[self._lead] + self._margin:
            self._lead = best
        return self._labels[self._lead], self._mean[self._lead]
