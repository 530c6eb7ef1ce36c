"""Attention from one sequence to another, under masks, in operators that every runtime has."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from affectstream.train.networks.frames import MASKED_SCORE


class CrossAttention(nn.Module):
    """Multi-head attention from the steps of one sequence (queries) to those of another (keys, values).

    Its four linear layers are those of torch's `MultiheadAttention`. If all keys are masked, the output
    is zeros.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value, self.out = (nn.Linear(width, width) for _ in range(4))

    def forward(self, queries: Tensor, keys: Tensor, mask: Tensor) -> Tensor:
        """Queries (N, T, D), keys (N, S, D) and which keys are present, (N, S) bool, to (N, T, D)."""
        query, key, value = (
            layer(x).unflatten(2, (self.heads, -1)).transpose(1, 2)
            for layer, x in ((self.query, queries), (self.key, keys), (self.value, keys))
        )
        scores = query @ key.transpose(2, 3) * query.shape[-1] ** -0.5
        scores = scores + ((~mask).to(scores.dtype) * MASKED_SCORE)[:, None, None]
        attended = self.out((scores.softmax(3) @ value).transpose(1, 2).flatten(2))
        return attended * mask.any(1).to(attended.dtype)[:, None, None]


class CrossAttentionBlock(nn.Module):
    """Cross-attention with a residual connection, and layer normalization of each step.

    If the queries of a row are absent, one learned step stands in for them, so that the other sequence still
    counts.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.stand_in = nn.Parameter(torch.randn(width) * 0.02)
        self.attention = CrossAttention(width, heads)
        self.norm = nn.LayerNorm(width)

    def forward(
        self, queries: Tensor, query_mask: Tensor, keys: Tensor, key_mask: Tensor
    ) -> tuple[Tensor, Tensor]:
        """(N, T, D) and its mask (N, T), (N, S, D) and its mask (N, S), to (N, T, D) and its mask.

        Masked steps of the output are zeros.
        """
        absent = ~query_mask.any(1, keepdim=True)
        # The first step stands in: lengths are fixed, so none can be added.
        stands_in = torch.cat([absent, torch.zeros_like(query_mask[:, 1:])], 1)
        query_mask = query_mask | stands_in
        queries = queries * (~stands_in).unsqueeze(2) + self.stand_in * stands_in.unsqueeze(2)
        out = self.norm(queries + self.attention(queries, keys, key_mask))
        return out * query_mask.unsqueeze(2), query_mask
