"""`tiny_vit`: a small vision transformer, trained from scratch.

Patches of 16 pixels, 192 dimensions, 3 heads, MLP ratio 4, dropout .1, 4 layers, a class token and learned
positions; pre-norm layers, as in ViT (Dosovitskiy et al., 2021). ``layers=6`` is the larger one of the
reports.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from affectstream.train.networks.network import Network, NetworkSpec, VideoEncoder
from affectstream.train.networks.sequences import TEMPORAL, linear_head
from affectstream.train.networks.vision import normalize_pixels
from affectstream.train.recipe import FitConfig
from affectstream.train.recipes.net_recipe import NetRecipe

PATCH = 16
DROPOUT = 0.1


class Layer(nn.Module):
    """Self-attention, then a two-layer perceptron, each with a residual connection."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.before_attention, self.before_mlp = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(
            nn.Linear(width, 4 * width), nn.GELU(), nn.Dropout(DROPOUT), nn.Linear(4 * width, width)
        )
        self.dropout = nn.Dropout(DROPOUT)

    def forward(self, x: Tensor) -> Tensor:
        """(N, T, D) to the same shape."""
        x = x + self.dropout(self._attend(self.before_attention(x)))
        return x + self.dropout(self.mlp(self.before_mlp(x)))

    def _attend(self, x: Tensor) -> Tensor:
        rows, steps, width = x.shape
        each = (rows, steps, self.heads, width // self.heads)
        query, key, value = (p.reshape(each).transpose(1, 2) for p in self.qkv(x).chunk(3, -1))
        weights = F.softmax(query @ key.transpose(2, 3) * (width // self.heads) ** -0.5, dim=-1)
        mixed = F.dropout(weights, DROPOUT, self.training) @ value
        return self.out(mixed.transpose(1, 2).reshape(rows, steps, width))


class TinyVitEncoder(VideoEncoder):
    """Pictures to class tokens; S is a multiple of 16."""

    def __init__(self, spec: NetworkSpec) -> None:
        """Raises `ValueError` if the heads do not divide the width."""
        super().__init__()
        layers, width, heads = (int(spec.options[name]) for name in ("layers", "width", "heads"))
        if width % heads:
            raise ValueError(f"{heads} heads do not divide a width of {width}")
        self.size, self.width, self.grey = spec.size, width, spec.grey
        self.patches = nn.Conv2d(3, width, PATCH, PATCH)
        self.token = nn.Parameter(torch.zeros(1, 1, width))
        self.positions = nn.Parameter(torch.zeros(1, (spec.size // PATCH) ** 2 + 1, width))
        self.dropout = nn.Dropout(DROPOUT)
        self.layers = nn.Sequential(*(Layer(width, heads) for _ in range(layers)))
        self.norm = nn.LayerNorm(width)
        for parameter in (self.token, self.positions):
            nn.init.trunc_normal_(parameter, std=0.02)

    def forward(self, pixels: Tensor) -> Tensor:
        """See `VideoEncoder`."""
        patches = self.patches(normalize_pixels(pixels, grey=self.grey)).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.token.expand(patches.shape[0], -1, -1), patches], 1)
        return self.norm(self.layers(self.dropout(tokens + self.positions))[:, 0])


def _build(spec: NetworkSpec) -> Network:
    video = TinyVitEncoder(spec)
    return Network(linear_head(spec, video.width, DROPOUT), video=video)


RECIPE = NetRecipe(
    name="tiny_vit",
    summary="face encoder: four transformer layers on 16-pixel patches, from scratch",
    defaults=FitConfig(epochs=30, batch_size=32, learning_rate=1e-4, weight_decay=1e-2),
    build=_build,
    modalities=("video",),
    options={"layers": 4, "width": 192, "heads": 3, "temporal": "mean"},
    choices={"temporal": TEMPORAL},
    tiny={"layers": 2, "width": 48},
    multiple=PATCH,
    one_frame=True,
)
