"""`resnet50`: torchvision's ResNet-50 on each frame, ImageNet weights, two phases.

Head: dropout .3, 2048-512, ReLU, dropout .2, 512-out, on the mean of the frames. The head learns
alone first; then the stages of the backbone join, last to first, at a tenth of the rate.

He et al., Deep Residual Learning for Image Recognition, CVPR 2016; the weights and their training are
torchvision's (IMAGENET1K_V2).
"""

from __future__ import annotations

from torch import Tensor, nn

from affectstream.stream.errors import OptionError
from affectstream.train.networks.network import Network, NetworkSpec, Phase
from affectstream.train.networks.sequences import TEMPORAL, FramesHead, mlp_head, temporal_pool
from affectstream.train.networks.vision import SLOT, VisionEncoder, load_vision_weights
from affectstream.train.recipe import FitConfig
from affectstream.train.recipes.net_recipe import NetRecipe

HIDDEN = 512


class ResNetEncoder(VisionEncoder):
    """Pictures to the averaged map (M, 2048) of a ResNet of bottleneck blocks."""

    def __init__(self, spec: NetworkSpec) -> None:
        """Raises `OptionError` for ``blocks`` that are not four whole numbers."""
        from torchvision.models.resnet import Bottleneck, ResNet

        blocks, inner = _blocks(str(spec.options["blocks"])), int(spec.options["inner"])
        super().__init__(spec, 512 * Bottleneck.expansion)
        self.backbone = ResNet(Bottleneck, blocks, width_per_group=inner)
        self.backbone.fc = nn.Identity()
        if spec.options["stem"] == "small":
            # The tensors stay the same, so ImageNet weights still fit.
            self.backbone.maxpool = nn.Identity()
        load_vision_weights(self.backbone, spec, "ResNet50_Weights")

    def forward(self, pixels: Tensor) -> Tensor:
        """See `VideoEncoder`."""
        return self.backbone.avgpool(self.resnet_map(pixels)).flatten(1)


def _blocks(option: str) -> list[int]:
    parts = option.split("-")
    if len(parts) != 4 or not all(part.isdecimal() and int(part) > 0 for part in parts):
        raise OptionError(
            f"--set blocks={option}: expected the blocks of the four stages, such as 3-4-6-3"
        )
    return [int(part) for part in parts]


def _build(spec: NetworkSpec) -> Network:
    video = ResNetEncoder(spec)
    pool = temporal_pool(spec, video.width)
    return Network(FramesHead(pool, mlp_head(pool.width, HIDDEN, spec.outputs)), video=video)


def _unfrozen(*stages: str) -> Phase:
    """Five epochs in which the head and these stages of the backbone learn."""
    every = ("conv1", "bn1", "layer1", "layer2", "layer3", "layer4")
    frozen = tuple(f"video.backbone.{name}" for name in every if name not in stages)
    return Phase(5, frozen=frozen, rates={"video": 0.1})


RECIPE = NetRecipe(
    name="resnet50",
    summary="face encoder: ResNet-50 with ImageNet weights, the head first, then all of it",
    defaults=FitConfig(epochs=30, batch_size=48, learning_rate=1e-4, weight_decay=1e-2),
    build=_build,
    modalities=("video",),
    options={"stem": "imagenet", "blocks": "3-4-6-3", "inner": 64, "temporal": "mean"},
    choices={"temporal": TEMPORAL, "stem": ("imagenet", "small")},
    tiny={"stem": "small", "blocks": "1-1-1-1", "inner": 8},
    backbones={SLOT: "ResNet50_Weights.IMAGENET1K_V2"},
    phases=(
        Phase(5, frozen=("video",)),
        _unfrozen("layer4"),
        _unfrozen("layer4", "layer3"),
        Phase(None, rates={"video": 0.1}),
    ),
    multiple=16,
    one_frame=True,
)
