"""What the video recipes share: heads over the frames of a window, and backbones that save memory."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from affectstream.stream.errors import OptionError
from affectstream.train.networks.network import Head, LastLayer, NetworkSpec, masked_mean

MASKED_SCORE = -1e4
"""Added to the scores of what is masked. Not -inf: a row without any frame would give no numbers, and
FP16 has nothing lower than -65504."""


LAYERS, HEADS, INNER = 2, 8, 2048
"""Of a transformer over the frames. The report gives the first two; the inner width is torch's default."""
GRU = 256
"""States of a GRU over the frames, in each direction."""
SMALL_HEADS = 4
"""Of the transformer of recipes that learn from scratch."""
TEMPORAL = ("mean", "transformer", "gru")
"""What the option ``temporal`` of a face recipe may be: how a window's frames become one embedding."""


class FramesHead(Head):
    """The frames of a window brought to one embedding by `pool`, and that, under `dropout`, to numbers by
    `out`."""

    takes = ("video",)

    def __init__(self, pool: Pool, out: nn.Module, dropout: float = 0.0) -> None:
        super().__init__()
        self.pool, self.dropout, self.out = pool, nn.Dropout(dropout), out

    def forward(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """See `Head`."""
        return self.out(self.dropout(self.pool(inputs["video"], inputs["video_mask"])))


class Pool(nn.Module):
    """Frames (N, T, D) float32 and their mask (N, T) bool to (N, `width`), zeros where no frame is."""

    width: int


class MeanPool(Pool):
    """The mean of the frames that are there, in whatever order they came."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width

    def forward(self, video: Tensor, mask: Tensor) -> Tensor:
        """See `Pool`."""
        return masked_mean(video, mask)


class GruPool(Pool):
    """A bidirectional GRU over the frames, then the mean of its states where a frame is."""

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__()
        self.width = 2 * hidden
        self.recurrent = nn.GRU(inputs, hidden, batch_first=True, bidirectional=True)

    def forward(self, video: Tensor, mask: Tensor) -> Tensor:
        """See `Pool`. A frame that is not there is zeros to the GRU, whatever stands in its place."""
        states, _ = self.recurrent(video * mask.unsqueeze(2))
        return masked_mean(states, mask)


class TransformerPool(Pool):
    """Frames told apart by learned positions, a transformer over them, then their mean.

    Layers are normalised before, as in ViT.
    """

    def __init__(self, width: int, frames: int, *, heads: int = HEADS, inner: int = INNER) -> None:
        """Raises `OptionError` where `heads` do not divide `width`."""
        super().__init__()
        if width % heads:
            raise OptionError(
                f"a transformer over the frames has {heads} heads: embeddings of {width} have no whole "
                "share for each"
            )
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
    """Self-attention, then a two-layer perceptron, each added to what came in."""

    def __init__(self, width: int, heads: int, inner: int, dropout: float = 0.1) -> None:
        super().__init__()
        self.before_attention, self.before_mlp = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = nn.MultiheadAttention(width, heads, dropout, batch_first=True)
        self.mlp = nn.Sequential(
            nn.Linear(width, inner), nn.GELU(), nn.Dropout(dropout), nn.Linear(inner, width)
        )
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, scores: Tensor) -> Tensor:
        """(N, T, D) to the same; `scores` (N, T) are added to what each step is attended with."""
        y = self.before_attention(x)
        y, _ = self.attention(y, y, y, key_padding_mask=scores, need_weights=False)
        x = x + self.dropout(y)
        return x + self.dropout(self.mlp(self.before_mlp(x)))


def run_blocks(blocks: Iterable[nn.Module], x: Tensor, *, checkpointing: bool) -> Tensor:
    """`x` through all of `blocks`. With `checkpointing`, what they compute is not kept for the gradients
    but computed again, which takes a third more time and a fraction of the memory."""
    for block in blocks:
        x = checkpoint(block, x, use_reentrant=False) if checkpointing else block(x)
    return x


def temporal_pool(
    spec: NetworkSpec, width: int, *, heads: int = HEADS, inner: int = INNER, states: int = GRU
) -> Pool:
    """The pool that the option ``temporal`` asks for, over embeddings of `width`."""
    if spec.options["temporal"] == "transformer":
        return TransformerPool(width, spec.frames, heads=heads, inner=inner)
    return GruPool(width, states) if spec.options["temporal"] == "gru" else MeanPool(width)


def linear_head(spec: NetworkSpec, width: int, dropout: float) -> FramesHead:
    """The head of recipes that learn from scratch: a small pool over embeddings of `width`, dropout, one
    linear layer."""
    pool = temporal_pool(spec, width, heads=SMALL_HEADS, inner=2 * width, states=width // 2)
    return FramesHead(pool, LastLayer(pool.width, spec.outputs), dropout)


def mlp_head(width: int, hidden: int, outputs: int) -> nn.Sequential:
    """Embeddings (N, `width`) to (N, `outputs`): dropout .3, `hidden` with ReLU, dropout .2."""
    return nn.Sequential(
        nn.Dropout(0.3),
        nn.Linear(width, hidden),
        nn.ReLU(),
        nn.Dropout(0.2),
        LastLayer(hidden, outputs),
    )
