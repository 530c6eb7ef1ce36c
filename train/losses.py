"""What the tasks are learned by: cross entropies with weights, smoothing and focus, over what is labelled.

Every loss here is a mean over the labelled rows, and zero (with gradients) where none is labelled.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor


@dataclass(frozen=True, slots=True)
class LossConfig:
    """How the samples of a classification count."""

    class_weights: bool = False
    """Every class alike, however many samples it has."""
    label_smoothing: float = 0.0
    """Share of the truth, in [0, 1), that is spread over all classes."""
    focal_gamma: float | None = None
    """Focal loss (Lin et al., 2017): what is already right counts by ``(1 - p) ** gamma``; None: no."""
    focal_alpha: float = 1.0
    """Factor of the focal loss."""


def cross_entropy(
    logits: Tensor, labels: Tensor, counts: tuple[int, ...], emphasis: LossConfig
) -> Tensor:
    """Scalar loss of `logits` (N, C) against class numbers `labels` (N,) int64, -1 where there is none.

    `counts` (C,) are the training samples of each class, for the weights: ``n / (C n_c)``. With weights
    the mean is weighted too.
    """
    known = labels >= 0
    if not known.any():
        return logits.sum() * 0.0
    logits, labels = logits[known], labels[known]
    weights = None
    if emphasis.class_weights:
        held = torch.tensor(counts, dtype=logits.dtype, device=logits.device)
        weights = held.sum() / (len(counts) * held.clamp(min=1.0))
    each = F.cross_entropy(
        logits, labels, weights, reduction="none", label_smoothing=emphasis.label_smoothing
    )
    if emphasis.focal_gamma is not None:
        right = F.softmax(logits, 1).gather(1, labels.unsqueeze(1)).squeeze(1)
        each = emphasis.focal_alpha * (1.0 - right) ** emphasis.focal_gamma * each
    return each.mean() if weights is None else each.sum() / weights[labels].sum()


def binary_cross_entropy(
    logits: Tensor, shares: Tensor, counts: tuple[int, ...], emphasis: LossConfig
) -> Tensor:
    """Scalar loss of `logits`, any shape, against `shares` in [0, 1] of the same, NaN where there is none.

    `counts` (2,) are the training samples without and with, for the weights; () leaves weights, smoothing
    and focus out: the shares are then amounts, not truths.
    """
    known = ~torch.isnan(shares)
    if not known.any():
        return logits.sum() * 0.0
    logits, shares = logits[known], shares[known].to(logits.dtype)
    if not counts:
        return F.binary_cross_entropy_with_logits(logits, shares)
    smooth = shares * (1.0 - emphasis.label_smoothing) + 0.5 * emphasis.label_smoothing
    each = F.binary_cross_entropy_with_logits(logits, smooth, reduction="none")
    if emphasis.focal_gamma is not None:
        right = torch.where(shares > 0.5, logits.sigmoid(), (-logits).sigmoid())
        each = emphasis.focal_alpha * (1.0 - right) ** emphasis.focal_gamma * each
    if not emphasis.class_weights:
        return each.mean()
    without, having = (max(1, count) for count in counts)
    total = without + having
    weights = torch.where(shares > 0.5, total / (2 * having), total / (2 * without))
    return (each * weights).sum() / weights.sum()


def squared_error(values: Tensor, truth: Tensor) -> Tensor:
    """Mean squared error of `values` (N,) against `truth` (N,), NaN where there is none."""
    known = ~torch.isnan(truth)
    if not known.any():
        return values.sum() * 0.0
    return F.mse_loss(values[known], truth[known].to(values.dtype))
