"""`face_resnet`: a squeeze-excite ResNet on small grey faces, from scratch.

Four stages of one block (32, 64, 128 and 256 channels at 24, 12, 6 and 3 pixels) after a stem that halves
48 pixels: 1.25 M parameters, 38 million multiplications a face. Most of both are in the last stages, where
they are cheap. Learns the distribution of the votes where people voted on a picture (Barsoum et al., 2016),
with mixup, erased rectangles, light, blur and noise.
"""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn
from torchvision.ops import Conv2dNormActivation

from affectstream.train.networks.network import Network, NetworkSpec, VideoEncoder
from affectstream.train.networks.sequences import linear_head
from affectstream.train.networks.vision import normalize_pixels
from affectstream.train.onnx.stored_weights import store_weights_as_half
from affectstream.train.recipe import FitConfig
from affectstream.train.recipes.net_recipe import NetRecipe

DROPOUT = 0.3
STEM = 16
STAGES = 4
SQUEEZE = 8


class SqueezeExcite(nn.Module):
    """Channel gates from the global average (Hu et al., 2018)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        inner = max(1, channels // SQUEEZE)
        self.squeeze, self.excite = nn.Conv2d(channels, inner, 1), nn.Conv2d(inner, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to the same shape."""
        gate = self.excite(F.relu(self.squeeze(x.mean((2, 3), keepdim=True))))
        return x * torch.sigmoid(gate)


class Block(nn.Module):
    """Two 3x3 convolutions with a squeeze-excite gate and a shortcut."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            Conv2dNormActivation(inputs, outputs, 3, stride),
            Conv2dNormActivation(outputs, outputs, 3, activation_layer=None),
            SqueezeExcite(outputs),
        )
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1:
            self.shortcut = nn.Sequential(
                nn.AvgPool2d(stride),
                Conv2dNormActivation(inputs, outputs, 1, activation_layer=None),
            )

    def forward(self, x: Tensor) -> Tensor:
        """(N, Cin, H, W) to (N, Cout, H / stride, W / stride)."""
        return F.relu(self.body(x) + self.shortcut(x))


class FaceResNet(VideoEncoder):
    """Pictures to embeddings."""

    last_layers = (f"stages.{STAGES - 1}.body.1", f"stages.{STAGES - 1}.body.2")

    def __init__(self, size: int, channels: int, *, grey: bool) -> None:
        """`channels` of the first stage; each of the others has twice as many as the one before."""
        super().__init__()
        self.size, self.grey = size, grey
        widths = [channels << stage for stage in range(STAGES)]
        self.width = widths[-1]
        self.stem = nn.Sequential(
            Conv2dNormActivation(1 if grey else 3, STEM, 3),
            Conv2dNormActivation(STEM, channels, 3, 2),
        )
        later = (Block(before, after, 2) for before, after in pairwise(widths))
        self.stages = nn.Sequential(Block(channels, channels, 1), *later)

    def forward(self, pixels: Tensor) -> Tensor:
        """See `VideoEncoder`."""
        return self.stages(self._stem(pixels)).mean((2, 3))

    def _stem(self, pixels: Tensor) -> Tensor:
        planes = normalize_pixels(pixels, grey=self.grey)
        return self.stem(planes[:, :1] if self.grey else planes)

    @property
    def last(self) -> Block:
        """The last block."""
        block = self.stages[-1]
        assert isinstance(block, Block)
        return block

    def features(self, pixels: Tensor) -> tuple[Tensor, ...]:
        """Inside the last block: after its first convolution, and its shortcut."""
        x = self.stages[:-1](self._stem(pixels))
        return self.last.body[0](x), self.last.shortcut(x)

    def finish(self, inside: Tensor, shortcut: Tensor) -> Tensor:
        """(N, D)."""
        return F.relu(self.last.body[1:](inside) + shortcut).mean((2, 3))


def _build(spec: NetworkSpec) -> Network:
    video = FaceResNet(spec.size, int(spec.options["channels"]), grey=spec.grey)
    return Network(linear_head(spec, video.width, DROPOUT), video=video)


RECIPE = NetRecipe(
    name="face_resnet",
    summary="face encoder: small squeeze-excite ResNet on 48 pixels, from scratch",
    defaults=FitConfig(
        epochs=28,
        batch_size=128,
        learning_rate=3e-3,
        weight_decay=5e-2,
        warmup_epochs=3.0,
        ema_decay=0.998,
        precision="bf16-mixed",
        mixup=0.4,
        erasing=0.4,
        degrading=0.3,
    ),
    build=_build,
    modalities=("video",),
    options={"channels": 32, "temporal": "mean"},
    choices={"temporal": ("mean",)},
    tiny={"channels": 8},
    side=48,
    multiple=16,
    one_frame=True,
    store_weights=store_weights_as_half,
)
