"""`vit_b16`: torchvision's ViT-B/16 on each frame, ImageNet weights, two phases.

Head: dropout .3, 768-256, ReLU, dropout .2, 256-out, on the mean of the frames' class tokens. The head
learns alone for twenty epochs; then the backbone learns at a tenth of the rate (1e-5 beside 1e-4), its first
eight blocks last.

Dosovitskiy et al., An Image is Worth 16x16 Words, ICLR 2021; the weights and their training are
torchvision's (IMAGENET1K_V1).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from affectstream.stream.errors import OptionError
from affectstream.train.networks.network import Network, NetworkSpec, Phase, Value
from affectstream.train.networks.sequences import TEMPORAL, FramesHead, mlp_head, temporal_pool
from affectstream.train.networks.vision import SLOT, States, VisionEncoder, load_vision_weights
from affectstream.train.recipe import FitConfig
from affectstream.train.recipes.net_recipe import NetRecipe

HIDDEN = 256
OPTIONS: dict[str, Value] = {"layers": 12, "width": 768, "heads": 12, "patch": 16}
TINY: dict[str, Value] = {"layers": 2, "width": 48, "heads": 4}
FROZEN_BLOCKS = 8
"""Of the twelve, those that stay frozen when the backbone begins to learn."""


class VitEncoder(VisionEncoder):
    """Pictures to class tokens (M, 768). Pretrained positions are interpolated to the side of the
    pictures."""

    def __init__(self, spec: NetworkSpec) -> None:
        """Raises `OptionError` for patches that do not divide the side."""
        from torchvision.models import VisionTransformer

        layers, width, heads, patch = (int(spec.options[name]) for name in OPTIONS)
        if spec.size % patch:
            raise OptionError(
                f"--set patch={patch}: patches do not divide a side of {spec.size} pixels"
            )
        super().__init__(spec, width)
        self.backbone = VisionTransformer(spec.size, patch, layers, heads, width, 4 * width)
        self.backbone.heads = nn.Identity()
        load_vision_weights(self.backbone, spec, "ViT_B_16_Weights", resize=self._resize)

    def forward(self, pixels: Tensor) -> Tensor:
        """See `VideoEncoder`."""
        net = self.backbone
        x = net.conv_proj(self.normalize(pixels)).flatten(2).transpose(1, 2)
        x = torch.cat([net.class_token.expand(x.shape[0], -1, -1), x], 1)
        x = net.encoder.dropout(x + net.encoder.pos_embedding)
        # The norm is of each token alone, so only the class token needs it.
        return net.encoder.ln(self.run_blocks(net.encoder.layers, x)[:, 0])

    def _resize(self, states: States) -> States:
        from torchvision.models.vision_transformer import interpolate_embeddings

        positions = states.get("encoder.pos_embedding")
        patches = 0 if positions is None or positions.ndim != 3 else positions.shape[1] - 1
        if not patches or round(patches**0.5) ** 2 != patches:
            return states  # another network's: the comparison of all tensors says so
        return dict(interpolate_embeddings(self.size, self.backbone.patch_size, states))


def _build(spec: NetworkSpec) -> Network:
    video = VitEncoder(spec)
    pool = temporal_pool(spec, video.width)
    return Network(FramesHead(pool, mlp_head(pool.width, HIDDEN, spec.outputs)), video=video)


_ENCODER = "video.backbone.encoder.layers.encoder_layer_"
PHASES = (
    Phase(20, frozen=("video",)),
    Phase(
        10,
        frozen=(
            *("video.backbone.conv_proj", "video.backbone.class_token"),
            "video.backbone.encoder.pos_embedding",
            *(f"{_ENCODER}{block}" for block in range(FROZEN_BLOCKS)),
        ),
        rates={"video": 0.1},
    ),
    Phase(None, rates={"video": 0.1}),
)

RECIPE = NetRecipe(
    name="vit_b16",
    summary="face encoder: ViT-B/16 with ImageNet weights, the head first, then all of it",
    defaults=FitConfig(epochs=50, batch_size=24, learning_rate=1e-4, weight_decay=1e-2),
    build=_build,
    modalities=("video",),
    options={**OPTIONS, "temporal": "mean"},
    choices={"temporal": TEMPORAL},
    tiny=TINY,
    backbones={SLOT: "ViT_B_16_Weights.IMAGENET1K_V1"},
    phases=PHASES,
    multiple=16,
    one_frame=True,
)
