"""Heads of the face recipes that learn from scratch: one linear layer on what the frames come to.

Option ``temporal``: ``mean``, for which the order of the frames does not count, ``transformer`` or ``gru``.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from affectstream.train.models.frames import FAR_BELOW, TemporalLayer
from affectstream.train.nets.net import Head, Plan, masked_mean

TEMPORAL = ("mean", "transformer", "gru")
HEADS = 4
LAYERS = 2


class MeanLinear(Head):
    """The mean of the frames that are there, dropout, one linear layer."""

    takes = ("video",)

    def __init__(self, width: int, outputs: int, dropout: float) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.out = nn.Linear(width, outputs)

    def forward(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """See `Head`."""
        return self.out(self.dropout(masked_mean(inputs["video"], inputs["video_mask"])))


class OverTime(Head):
    """Frames see each other, through a transformer with learned positions or a bidirectional GRU; then as
    `MeanLinear`."""

    takes = ("video",)

    def __init__(self, kind: str, frames: int, width: int, outputs: int, dropout: float) -> None:
        super().__init__()
        self.positions: nn.Parameter | None = None
        self.layers, self.gru = nn.ModuleList(), None
        if kind == "transformer":
            self.positions = nn.Parameter(torch.zeros(1, frames, width))
            nn.init.trunc_normal_(self.positions, std=0.02)
            self.layers.extend(TemporalLayer(width, HEADS, 2 * width) for _ in range(LAYERS))
        else:
            self.gru = nn.GRU(width, width // 2, batch_first=True, bidirectional=True)
        self.norm = nn.LayerNorm(width)
        self.mean = MeanLinear(width, outputs, dropout)

    def forward(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """See `Head`; the window has as many frames as there are positions."""
        x, mask = inputs["video"], inputs["video_mask"]
        if self.gru is not None:
            x = x + self.gru(x)[0]
        if self.positions is not None:
            x = x + self.positions
            scores = (~mask).to(x.dtype) * FAR_BELOW
            for layer in self.layers:
                x = layer(x, scores)
        return self.mean({"video": self.norm(x), "video_mask": mask})


def face_head(plan: Plan, width: int, dropout: float) -> Head:
    """The head that option ``temporal`` names."""
    kind = str(plan.options["temporal"])
    if kind == "mean":
        return MeanLinear(width, plan.outputs, dropout)
    return OverTime(kind, plan.frames, width, plan.outputs, dropout)
