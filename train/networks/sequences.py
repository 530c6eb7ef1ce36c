"""Parts over sequences of embeddings under masks: pools over the frames of a window, attention between two
sequences, and heads. All in operators that every runtime has.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from affectstream.train.networks.network import Head, LastLayer, NetworkSpec, masked_mean

MASKED_SCORE = -1e4
"""Added to attention scores that are masked. Not -inf: a row without any frame would become NaN, and FP16
has nothing lower than -65504."""

LAYERS, HEADS, INNER = 2, 8, 2048
"""Of a transformer over the frames. The report gives the first two; the inner width is torch's default."""
GRU = 256
"""States of a GRU over the frames, in each direction."""
SMALL_HEADS = 4
"""Attention heads over the frames, in recipes that learn from scratch."""
TEMPORAL = ("mean", "transformer", "gru")
"""Values of a face recipe's option ``temporal``: how a window's frames become one embedding."""


class MeanHead(Head):
    """`out` on the mean of one modality's steps."""

    def __init__(self, modality: str, out: nn.Module) -> None:
        super().__init__()
        self.takes, self.out = (modality,), out

    def forward(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """See `Head`."""
        (name,) = self.takes
        return self.out(masked_mean(inputs[name], inputs[f"{name}_mask"]))


class Pool(nn.Module):
    """Frames (N, T, D) float32 and their mask (N, T) bool to (N, `width`), zeros without any frame."""

    width: int


class FramesHead(Head):
    """A pool over the frames, dropout, then `out`."""

    takes = ("video",)

    def __init__(self, pool: Pool, out: nn.Module, dropout: float = 0.0) -> None:
        super().__init__()
        self.pool, self.dropout, self.out = pool, nn.Dropout(dropout), out

    def forward(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """See `Head`."""
        return self.out(self.dropout(self.pool(inputs["video"], inputs["video_mask"])))


class MeanPool(Pool):
    """The mean of the frames that are present. All count the same, unless `half_life` is set: then the weight
    of a frame halves with every `half_life` frames between it and the newest, down to a thousandth."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width
        self.half_life: float | None = None

    def forward(self, video: Tensor, mask: Tensor) -> Tensor:
        """See `Pool`."""
        if self.half_life is None:
            return masked_mean(video, mask)
        age = torch.arange(mask.shape[1] - 1, -1, -1, device=video.device)
        recency = (0.5 ** (age / self.half_life)).clamp(min=1e-3)
        weights = (mask.to(video.dtype) * recency).unsqueeze(2)
        return (video * weights).sum(1) / weights.sum(1).clamp(min=1e-3)


def set_half_life(head: nn.Module, frames: float) -> bool:
    """Set the half-life of the means over the frames in `head`; False if it takes none."""
    pools = [module for module in head.modules() if isinstance(module, MeanPool)]
    for pool in pools:
        pool.half_life = frames
    return bool(pools)


def half_life_of(head: nn.Module) -> float | None:
    """The half-life, in frames, of the means over the frames in `head`; None without one."""
    pools = (module for module in head.modules() if isinstance(module, MeanPool))
    return next((pool.half_life for pool in pools if pool.half_life is not None), None)


class GruPool(Pool):
    """A bidirectional GRU over the frames, then the mean of its states at the frames that are present."""

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__()
        self.width = 2 * hidden
        self.recurrent = nn.GRU(inputs, hidden, batch_first=True, bidirectional=True)

    def forward(self, video: Tensor, mask: Tensor) -> Tensor:
        """See `Pool`. The GRU reads zeros for an absent frame."""
        states, _ = self.recurrent(video * mask.unsqueeze(2))
        return masked_mean(states, mask)


class TransformerPool(Pool):
    """Learned positions, a pre-norm transformer over the frames, then their mean."""

    def __init__(self, width: int, frames: int, *, heads: int = HEADS, inner: int = INNER) -> None:
        super().__init__()
        self.width = width
        self.positions = nn.Parameter(torch.zeros(1, frames, width))
        nn.init.trunc_normal_(self.positions, std=0.02)
        self.layers = nn.ModuleList(TemporalLayer(width, heads, inner) for _ in range(LAYERS))
        self.norm = nn.LayerNorm(width)

    def forward(self, video: Tensor, mask: Tensor) -> Tensor:
        """See `Pool`."""
        x = video + self.positions
        scores = (~mask).to(x.dtype) * MASKED_SCORE
        for layer in self.layers:
            x = layer(x, scores)
        return masked_mean(self.norm(x), mask)


class TemporalLayer(nn.Module):
    """Self-attention, then a two-layer perceptron, each with a residual connection."""

    def __init__(self, width: int, heads: int, inner: int, dropout: float = 0.1) -> None:
        super().__init__()
        self.before_attention, self.before_mlp = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = nn.MultiheadAttention(width, heads, dropout, batch_first=True)
        self.mlp = nn.Sequential(
            nn.Linear(width, inner), nn.GELU(), nn.Dropout(dropout), nn.Linear(inner, width)
        )
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, scores: Tensor) -> Tensor:
        """(N, T, D) to the same; `scores` (N, T) are added to the attention scores of each step."""
        y = self.before_attention(x)
        y, _ = self.attention(y, y, y, key_padding_mask=scores, need_weights=False)
        x = x + self.dropout(y)
        return x + self.dropout(self.mlp(self.before_mlp(x)))


def temporal_pool(
    spec: NetworkSpec, width: int, *, heads: int = HEADS, inner: int = INNER, states: int = GRU
) -> Pool:
    """The pool that the option ``temporal`` names, over embeddings of `width`."""
    if spec.options["temporal"] == "transformer":
        return TransformerPool(width, spec.frames, heads=heads, inner=inner)
    return GruPool(width, states) if spec.options["temporal"] == "gru" else MeanPool(width)


def linear_head(spec: NetworkSpec, width: int, dropout: float) -> FramesHead:
    """A small pool over embeddings of `width`, dropout, one linear layer: for recipes that learn from
    scratch."""
    pool = temporal_pool(spec, width, heads=SMALL_HEADS, inner=2 * width, states=width // 2)
    return FramesHead(pool, LastLayer(pool.width, spec.outputs), dropout)


def mlp_head(width: int, hidden: int, outputs: int, second_dropout: float = 0.2) -> nn.Sequential:
    """Embeddings (N, `width`) to (N, `outputs`): dropout .3, `hidden` with ReLU, dropout."""
    first, second = nn.Linear(width, hidden), LastLayer(hidden, outputs)
    return nn.Sequential(nn.Dropout(0.3), first, nn.ReLU(), nn.Dropout(second_dropout), second)


class CrossAttention(nn.Module):
    """Multi-head attention from the steps of one sequence (queries) to those of another (keys, values).

    Its four linear layers are those of torch's `MultiheadAttention`. If all keys are masked, the output
    is zeros.
    """

    def __init__(self, width: int, heads: int) -> None:
        """Raises `ValueError` if the heads do not divide the width."""
        super().__init__()
        if width % heads:
            raise ValueError(f"{heads} heads do not divide a width of {width}")
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
    """Cross-attention with a residual connection, and layer normalization of each step. If the queries of a
    row are absent, one learned step stands in for them, so that the other sequence still counts."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.stand_in = nn.Parameter(torch.randn(width) * 0.02)
        self.attention = CrossAttention(width, heads)
        self.norm = nn.LayerNorm(width)

    def forward(
        self, queries: Tensor, query_mask: Tensor, keys: Tensor, key_mask: Tensor
    ) -> tuple[Tensor, Tensor]:
        """(N, T, D) and its mask (N, T), (N, S, D) and its mask (N, S), to (N, T, D) and its mask. Masked
        steps of the output are zeros."""
        absent = ~query_mask.any(1, keepdim=True)
        # The first step stands in: lengths are fixed, so none can be added.
        stands_in = torch.cat([absent, torch.zeros_like(query_mask[:, 1:])], 1)
        query_mask = query_mask | stands_in
        queries = queries * (~stands_in).unsqueeze(2) + self.stand_in * stands_in.unsqueeze(2)
        out = self.norm(queries + self.attention(queries, keys, key_mask))
        return out * query_mask.unsqueeze(2), query_mask
