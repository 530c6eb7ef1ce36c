"""Attention from one sequence to another, under masks, in operators that every runtime has."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from affectstream.train.networks.frames import MASKED_SCORE


class CrossAttention(nn.Module):
    """Multi-head attention: each step of one sequence asks all steps of another.

    The four linear layers are those of torch's `MultiheadAttention`. Where there is nothing to ask, the
    answer is zeros.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value, self.out = (nn.Linear(width, width) for _ in range(4))

    def forward(self, asking: Tensor, asked: Tensor, mask: Tensor) -> Tensor:
        """(N, T, D) asks (N, S, D), of which `mask` (N, S) bool is there: (N, T, D)."""
        query, key, value = (
            layer(x).unflatten(2, (self.heads, -1)).transpose(1, 2)
            for layer, x in ((self.query, asking), (self.key, asked), (self.value, asked))
        )
        scores = query @ key.transpose(2, 3) * query.shape[-1] ** -0.5
        scores = scores + ((~mask).to(scores.dtype) * MASKED_SCORE)[:, None, None]
        answer = self.out((scores.softmax(3) @ value).transpose(1, 2).flatten(2))
        return answer * mask.any(1).to(answer.dtype)[:, None, None]


class CrossAttentionBlock(nn.Module):
    """One sequence asks another, which is added to it, and each step is normalised.

    A row whose asking sequence is absent has one step that is learned in its place, so that the other
    sequence is still heard.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.stand_in = nn.Parameter(torch.randn(width) * 0.02)
        self.attention = CrossAttention(width, heads)
        self.norm = nn.LayerNorm(width)

    def forward(
        self, asking: Tensor, there: Tensor, asked: Tensor, mask: Tensor
    ) -> tuple[Tensor, Tensor]:
        """(N, T, D) with its mask (N, T), and (N, S, D) with its own, to (N, T, D) and its mask.

        Steps that are masked are zeros.
        """
        absent = ~there.any(1, keepdim=True)
        # The first step stands in: lengths are fixed, so none can be added.
        stands = torch.cat([absent, torch.zeros_like(there[:, 1:])], 1)
        there = there | stands
        asking = asking * (~stands).unsqueeze(2) + self.stand_in * stands.unsqueeze(2)
        answer = self.norm(asking + self.attention(asking, asked, mask))
        return answer * there.unsqueeze(2), there
