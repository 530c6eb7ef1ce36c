"""`cnn`: three convolution blocks and a large linear layer, trained from scratch.

The "improved CNN" of the reports: 3-32-64-128 channels, 3x3, BatchNorm, ReLU, 2x2 pooling, 2-D dropout
.3 and .4 (ours: after the second and third block), average pooling to 7x7, dropout .7, linear 6272-256,
dropout .5, head. Nearly all of its parameters are in that one linear layer.

``blocks=4`` is the reports' first CNN: a fourth block of 256 channels and a global average instead of the 7x7
grid and the linear layer.
"""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn
from torchvision.ops import Conv2dNormActivation

from affectstream.train.networks.network import Network, NetworkSpec, VideoEncoder
from affectstream.train.networks.sequences import TEMPORAL, linear_head
from affectstream.train.networks.vision import normalize_pixels
from affectstream.train.recipe import FitConfig
from affectstream.train.recipes.net_recipe import NetRecipe

GRID = 7
DROPOUT = 0.5
BLOCKS_DROPOUT = (0.0, 0.3, 0.4, 0.4)


class CnnEncoder(VideoEncoder):
    """Pictures to embeddings; S is a multiple of 56."""

    def __init__(self, spec: NetworkSpec) -> None:
        super().__init__()
        self.size, self.grey = spec.size, spec.grey
        first, blocks, width = (int(spec.options[name]) for name in ("channels", "blocks", "width"))
        channels = (3, *(first << number for number in range(blocks)))
        layers: list[nn.Module] = []
        for (before, after), dropout in zip(pairwise(channels), BLOCKS_DROPOUT, strict=False):
            layers += [*Conv2dNormActivation(before, after, 3, inplace=False), nn.MaxPool2d(2)]
            layers += [nn.Dropout2d(dropout)] if dropout else []
        self.blocks = nn.Sequential(*layers)
        side = spec.size >> blocks
        # Equals an adaptive pool at this size, in an operator that every runtime has.
        if blocks > 3:
            self.width = channels[-1]
            self.embedding = nn.Sequential(nn.AvgPool2d(side), nn.Flatten())
        else:
            self.width = width
            self.embedding = nn.Sequential(
                nn.AvgPool2d(side // GRID),
                nn.Flatten(),
                nn.Dropout(0.7),
                nn.Linear(channels[-1] * GRID * GRID, width),
                nn.ReLU(),
            )

    def forward(self, pixels: Tensor) -> Tensor:
        """See `VideoEncoder`."""
        return self.embedding(self.blocks(normalize_pixels(pixels, grey=self.grey)))


def _build(spec: NetworkSpec) -> Network:
    video = CnnEncoder(spec)
    return Network(linear_head(spec, video.width, DROPOUT), video=video)


RECIPE = NetRecipe(
    name="cnn",
    summary="face encoder: three convolution blocks, from scratch",
    defaults=FitConfig(epochs=30, batch_size=64, learning_rate=1e-4, weight_decay=1e-2),
    build=_build,
    modalities=("video",),
    options={"blocks": 3, "channels": 32, "width": 256, "temporal": "mean"},
    choices={"temporal": TEMPORAL, "blocks": (3, 4)},
    tiny={"channels": 8, "width": 32},
    multiple=8 * GRID,
    one_frame=True,
)
