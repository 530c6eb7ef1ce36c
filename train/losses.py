"""Losses of the tasks, over labeled rows only.

Every loss is a sum over the labeled rows, divided by ``rows * labeled_share``, the labeled rows of an
average batch. That number is the same for all batches, so a sample counts the same however small they are.
Without a labeled row a loss is zero, with gradients.
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
    prior_power: float = 0.0
    """Logit adjustment (Menon et al., 2021): the network's logits are compared with the labels after this
    multiple, in [0, 1], of the log of the training set's prior is added to them."""
    evenly_drawn: bool = False
    """The samples are drawn so that the classes are equally frequent (`FitConfig.balance`): they need no
    weights."""

    @property
    def balanced(self) -> float:
        """The power of the training set's prior that the network's logits lack, in [0, 1]."""
        return 1.0 if self.class_weights or self.evenly_drawn else self.prior_power


def cross_entropy(
    logits: Tensor,
    labels: Tensor,
    counts: tuple[int, ...],
    config: LossConfig,
    labeled_share: float = 1.0,
) -> Tensor:
    """Scalar loss of `logits` (N, C) against class numbers `labels` (N,) int64, -1 where unlabeled.

    `counts` (C,) are the training samples of each class; the weight of a sample of class c is then
    ``n / (C n_c)``, with a mean of 1 over the training samples. `labeled_share` is the share of the training
    samples that have a label.
    """
    logits = add_prior(logits, counts, config.prior_power)
    known, labels = labels >= 0, labels.clamp(min=0)
    losses = F.cross_entropy(
        logits, labels, reduction="none", label_smoothing=config.label_smoothing
    )
    if config.focal_gamma is not None:
        correct = F.softmax(logits, 1).gather(1, labels.unsqueeze(1)).squeeze(1)
        losses = config.focal_alpha * (1.0 - correct) ** config.focal_gamma * losses
    if config.class_weights and not config.evenly_drawn:
        losses = losses * _class_weights(counts, logits)[labels]
    return _divide(losses, known, labeled_share)


def distribution_cross_entropy(
    logits: Tensor,
    shares: Tensor,
    counts: tuple[int, ...],
    config: LossConfig,
    labeled_share: float = 1.0,
) -> Tensor:
    """As `cross_entropy`, against the share of each class (N, C) float32, rows of NaN where unlabeled."""
    logits = add_prior(logits, counts, config.prior_power)
    known = ~torch.isnan(shares[:, 0])
    shares = shares.nan_to_num().to(logits.dtype)
    shares = torch.lerp(shares, torch.ones_like(shares) / shares.shape[1], config.label_smoothing)
    log_probabilities = F.log_softmax(logits, 1)
    if config.focal_gamma is not None:
        others = 1.0 - log_probabilities.exp()
        shares = config.focal_alpha * others**config.focal_gamma * shares
    if config.class_weights and not config.evenly_drawn:
        shares = shares * _class_weights(counts, logits)
    return _divide(-(shares * log_probabilities).sum(1), known, labeled_share)


def binary_cross_entropy(
    logits: Tensor,
    targets: Tensor,
    counts: tuple[int, ...],
    config: LossConfig,
    labeled_share: float = 1.0,
) -> Tensor:
    """Scalar loss of `logits`, any shape, against `targets` in [0, 1] of the same shape, NaN where unlabeled.

    `counts` are the training samples of class 0 and 1, for the class weights. If `counts` is empty, the
    targets are intensities and not classes, and `config` is ignored. `labeled_share` as in `cross_entropy`.
    """
    known, targets = ~torch.isnan(targets), targets.nan_to_num().to(logits.dtype)
    if not counts:
        losses = F.binary_cross_entropy_with_logits(logits, targets, reduction="none")
        return _divide(losses, known, labeled_share)
    smooth = targets * (1.0 - config.label_smoothing) + 0.5 * config.label_smoothing
    losses = F.binary_cross_entropy_with_logits(logits, smooth, reduction="none")
    if config.focal_gamma is not None:
        correct = torch.where(targets > 0.5, logits.sigmoid(), (-logits).sigmoid())
        losses = config.focal_alpha * (1.0 - correct) ** config.focal_gamma * losses
    if config.class_weights and not config.evenly_drawn:
        losses = losses * _class_weights(counts, logits)[(targets > 0.5).long()]
    return _divide(losses, known, labeled_share)


def squared_error(values: Tensor, targets: Tensor, labeled_share: float = 1.0) -> Tensor:
    """Squared error of `values` (N,) against `targets` (N,), NaN where unlabeled; see `cross_entropy`."""
    known, targets = ~torch.isnan(targets), targets.nan_to_num().to(values.dtype)
    return _divide(F.mse_loss(values, targets, reduction="none"), known, labeled_share)


def add_prior(logits: Tensor, counts: tuple[int, ...], power: float) -> Tensor:
    """Logits (N, C) plus `power` times the log of the prior; a class without samples counts as one."""
    if not power:
        return logits
    samples = torch.tensor(counts, dtype=logits.dtype, device=logits.device).clamp(min=1.0)
    return logits + power * (samples / samples.sum()).log()


def _class_weights(counts: tuple[int, ...], like: Tensor) -> Tensor:
    """``n / (C n_c)`` (C,) of each class; a class without samples counts as one sample."""
    samples = torch.tensor(counts, dtype=like.dtype, device=like.device)
    return samples.sum() / (len(counts) * samples.clamp(min=1.0))


def _divide(losses: Tensor, known: Tensor, labeled_share: float) -> Tensor:
    """The sum of the `losses` of `known` cells by the labeled cells that such a batch has on average."""
    # Picking the known cells would make the CPU wait for the GPU.
    total = torch.where(known, losses, torch.zeros_like(losses)).sum()
    return total / (known.numel() * labeled_share or 1.0)
