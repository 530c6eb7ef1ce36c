"""Pooling of a sequence under attention: one vector of means and deviations over time."""

from __future__ import annotations

import torch
from torch import Tensor, nn

WEIGHTINGS = 2


class AttentiveStatistics(nn.Sequential):
    """Attention weightings over time, each of which pools mean and deviation (after Okabe et al., 2018)."""

    def __init__(self, width: int, hidden: int = 48) -> None:
        super().__init__(nn.Conv1d(width, hidden, 1), nn.Tanh(), nn.Conv1d(hidden, WEIGHTINGS, 1))
        self.width = 2 * WEIGHTINGS * width
        """Of what `forward` gives."""

    def forward(self, x: Tensor) -> Tensor:
        """(N, D, T) to (N, `width`)."""
        weights = super().forward(x).softmax(2)  # type: ignore[no-untyped-call]
        mean, square = _weighted(x, weights), _weighted(x * x, weights)
        spread = (square - mean * mean).clamp(min=1e-4).sqrt()
        return torch.cat([mean, spread], 1).flatten(1)


def _weighted(x: Tensor, weights: Tensor) -> Tensor:
    """Means (N, D, K) of (N, D, T) under each of the weights (N, K, T).

    Not a matrix product: the deviation stays in FP32, and Turing has no such product in FP32.
    """
    return (x.unsqueeze(2) * weights.unsqueeze(1)).sum(3)
