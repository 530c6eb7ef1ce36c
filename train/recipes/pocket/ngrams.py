"""Logistic regression over TF-IDF weights of pieces and pairs of pieces, as two table look-ups.

On ten thousand short lines this old model (Joachims, 1998) is stronger than a network from scratch, so
`pocket_text` contains it and trains a network on its errors only.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from numpy.typing import NDArray
from scipy.sparse import csr_matrix  # type: ignore[import-untyped]
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold
from torch import Tensor, nn

SLOTS = 2**17
"""Hash values of a pair of pieces."""


class NGrams(nn.Module):
    """The regression; before `fit_ngrams` it knows no pair and all its logits are zero.

    `pieces` is the tokenizer's size, `rows` the most pieces and pairs in the table, `labels` the number of
    labels. Row 0 of `table` is "unknown"; rows 1 to `pieces` - 1 are the single pieces.
    """

    left: Tensor
    right: Tensor
    row_of_slot: Tensor
    table: Tensor
    bias: Tensor

    def __init__(self, pieces: int, rows: int, labels: int) -> None:
        super().__init__()
        self.pieces = pieces
        # The sum of two random numbers hashes a pair by look-ups alone.
        generator = torch.Generator().manual_seed(pieces)
        half = torch.randint(SLOTS // 2, (2, pieces), generator=generator)
        self.register_buffer("left", half[0])
        self.register_buffer("right", half[1])
        self.register_buffer("row_of_slot", torch.zeros(SLOTS, dtype=torch.int32))
        # Columns: inverse document frequency times each label's coefficient, then its square.
        self.register_buffer("table", torch.zeros(rows, labels + 1))
        self.register_buffer("bias", torch.zeros(labels))

    def slots(self, ids: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Slots of the neighbouring pairs (N, T + 1) int64, both ends of the text included."""
        ids = ids * mask
        there = mask.to(torch.int32)
        slot = self.left[F.pad(ids, (1, 0))] + self.right[F.pad(ids, (0, 1))]
        return slot, (F.pad(there, (1, 0)) + F.pad(there, (0, 1))) > 0

    def rows(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Table rows (N, 2 T + 1) int64 of all pieces and pairs; 0 where unknown or masked."""
        slot, valid = self.slots(ids, mask)
        return torch.cat([ids * mask, self.row_of_slot[slot].to(torch.int64) * valid], 1)

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Tokens (N, T) int64 and their mask, bool, to logits (N, labels) float32."""
        total = self.table[self.rows(ids, mask)].sum(1)
        return total[:, :-1] / (total[:, -1:] + 1e-6).sqrt() + self.bias


def fit_ngrams(
    model: NGrams,
    tokens: tuple[Tensor, Tensor],
    labels: NDArray[np.int64],
    weights: NDArray[np.float64],
    groups: NDArray[np.int64],
    *,
    strength: float = 2.0,
    folds: int = 5,
) -> Tensor:
    """Fit `model` to all texts, and return the logits (N, labels) float32 of each text from a fit without it.

    `tokens` are numbers (N, T) int64 and their mask (N, T) bool, `weights` (N,) the weights of the texts.

    The returned logits come from `folds` further fits; texts of one group (a dialogue) stay together.
    `strength` is scikit-learn's ``C``. Raises `ValueError` for fewer than three labels (two would be a
    single column).
    """
    count = model.table.shape[1] - 1
    if count < 3 or set(labels.tolist()) != set(range(count)):
        found = sorted(set(labels.tolist()))
        raise ValueError(
            f"expected texts of each of {max(3, count)} (three labels or more), found {found}"
        )
    ids, mask = tokens
    weights = weights / weights.mean()
    frequency = _choose_rows(model, ids, mask)
    idf = np.log((1 + len(ids)) / (1 + frequency)) + 1.0
    idf[0] = 0.0
    features = features_of(model.rows(ids, mask).numpy(), idf)
    unseen = np.zeros((len(ids), count), np.float32)
    for train, held in GroupKFold(folds).split(features, labels, groups):
        fold = LogisticRegression(C=strength, max_iter=150)
        fold.fit(features[train], labels[train], weights[train])
        unseen[held] = fold.decision_function(features[held])
    whole = LogisticRegression(C=strength, max_iter=150).fit(features, labels, weights)
    table = np.column_stack([whole.coef_.T * idf[:, None], idf**2])
    model.table.copy_(torch.from_numpy(table))
    model.bias.copy_(torch.from_numpy(whole.intercept_))
    return torch.from_numpy(unseen)


def _choose_rows(model: NGrams, ids: Tensor, mask: Tensor) -> NDArray[np.int64]:
    """Give a row to every pair in two or more texts, the most frequent first; return how many texts have
    each row."""
    slot, valid = model.slots(ids, mask)
    per_text = [np.unique(s[v].numpy()) for s, v in zip(slot, valid, strict=True)]
    found, counts = np.unique(np.concatenate(per_text), return_counts=True)
    capacity = len(model.table) - model.pieces
    order = np.argsort(-counts, kind="stable")[:capacity]
    order = order[counts[order] >= 2]
    row_of_slot = np.zeros(SLOTS, np.int32)
    row_of_slot[found[order]] = model.pieces + np.arange(len(order))
    model.row_of_slot.copy_(torch.from_numpy(row_of_slot))
    frequency = np.zeros(len(model.table), np.int64)
    for rows in model.rows(ids, mask).numpy():
        frequency[np.unique(rows)] += 1
    return frequency


def features_of(rows: NDArray[np.int64], idf: NDArray[np.float64]) -> csr_matrix:
    """The sparse matrix (N, rows of the table) that `NGrams.forward` multiplies by its table."""
    weight = idf[rows]
    norm = np.sqrt((weight**2).sum(1, keepdims=True) + 1e-6)
    ends = np.arange(0, rows.size + 1, rows.shape[1])
    matrix = csr_matrix(((weight / norm).ravel(), rows.ravel(), ends), (len(rows), len(idf)))
    matrix.sum_duplicates()
    matrix.eliminate_zeros()
    return matrix
