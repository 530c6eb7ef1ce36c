"""Losses of the tasks, over labeled rows only.

Every loss is a mean over the labeled rows, and zero (with gradients) if no row is labeled.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor


@dataclass(frozen=True, slots=True)
class LossConfig:
    """How the samples of a classification are weighted."""

    class_weights: bool = False
    """Every class counts the same, however many samples it has."""
    label_smoothing: float = 0.0
    """Share of the target, in [0, 1), that is spread over all classes."""
    focal_gamma: float | None = None
    """Focal loss (Lin et al., 2017): each sample is weighted by ``(1 - p) ** gamma``; None turns it off."""
    focal_alpha: float = 1.0
    """Factor of the focal loss."""


def cross_entropy(
    logits: Tensor, labels: Tensor, counts: tuple[int, ...], config: LossConfig
) -> Tensor:
    """Scalar loss of `logits` (N, C) against class numbers `labels` (N,) int64, -1 where unlabeled.

    `counts` (C,) are the training samples of each class. Class weights are ``n / (C n_c)``; with them the
    mean is weighted too.
    """
    known = labels >= 0
    if not known.any():
        return logits.sum() * 0.0
    logits, labels = logits[known], labels[known]
    weights = None
    if config.class_weights:
        samples = torch.tensor(counts, dtype=logits.dtype, device=logits.device)
        weights = samples.sum() / (len(counts) * samples.clamp(min=1.0))
    losses = F.cross_entropy(
        logits, labels, weights, reduction="none", label_smoothing=config.label_smoothing
    )
    if config.focal_gamma is not None:
        correct = F.softmax(logits, 1).gather(1, labels.unsqueeze(1)).squeeze(1)
        losses = config.focal_alpha * (1.0 - correct) ** config.focal_gamma * losses
    return losses.mean() if weights is None else losses.sum() / weights[labels].sum()


def binary_cross_entropy(
    logits: Tensor, targets: Tensor, counts: tuple[int, ...], config: LossConfig
) -> Tensor:
    """Scalar loss of `logits`, any shape, against `targets` in [0, 1] of the same shape, NaN where unlabeled.

    `counts` are the training samples of class 0 and 1, for the class weights. If `counts` is empty, the
    targets are intensities and not classes, and `config` is ignored.
    """
    known = ~torch.isnan(targets)
    if not known.any():
        return logits.sum() * 0.0
    logits, targets = logits[known], targets[known].to(logits.dtype)
    if not counts:
        return F.binary_cross_entropy_with_logits(logits, targets)
    smooth = targets * (1.0 - config.label_smoothing) + 0.5 * config.label_smoothing
    losses = F.binary_cross_entropy_with_logits(logits, smooth, reduction="none")
    if config.focal_gamma is not None:
        correct = torch.where(targets > 0.5, logits.sigmoid(), (-logits).sigmoid())
        losses = config.focal_alpha * (1.0 - correct) ** config.focal_gamma * losses
    if not config.class_weights:
        return losses.mean()
    negative, positive = (max(1, count) for count in counts)
    total = negative + positive
    weights = torch.where(targets > 0.5, total / (2 * positive), total / (2 * negative))
    return (losses * weights).sum() / weights.sum()


def squared_error(values: Tensor, targets: Tensor) -> Tensor:
    """Mean squared error of `values` (N,) against `targets` (N,), NaN where unlabeled."""
    known = ~torch.isnan(targets)
    if not known.any():
        return values.sum() * 0.0
    return F.mse_loss(values[known], targets[known].to(values.dtype))
