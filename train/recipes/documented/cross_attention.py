"""`cross_attention`: attention from the frames of a face to the waveform of the voice.

ViT-B/16 on each frame (as in `vit_b16`), a WaveNet over three seconds of sound, and attention of width
768 with 8 heads, video as queries and audio as keys; mean over the frames; dropout .3, 768-256, ReLU,
dropout .2, 256-out. The technical documentation gives the attention and the kinds of both encoders.
Ours: a residual connection (else the face would only select sound), and a learned query if no face is
visible.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from affectstream.train.networks.network import (
    Head,
    Network,
    NetworkSpec,
    frozen_first,
    masked_mean,
)
from affectstream.train.networks.sequences import CrossAttentionBlock, mlp_head
from affectstream.train.networks.vision import SLOT
from affectstream.train.networks.wave_backbones import WAVENET, WaveNetEncoder
from affectstream.train.recipe import FitConfig
from affectstream.train.recipes.documented import vit_b16
from affectstream.train.recipes.net_recipe import NetRecipe


class CrossAttentionHead(Head):
    """See the module."""

    takes = ("video", "voice")

    def __init__(self, width: int, heads: int, outputs: int) -> None:
        super().__init__()
        self.ask = CrossAttentionBlock(width, heads)
        self.out = mlp_head(width, vit_b16.HIDDEN, outputs)

    def forward(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """See `Head`."""
        attended, mask = self.ask(
            inputs["video"], inputs["video_mask"], inputs["voice"], inputs["voice_mask"]
        )
        return self.out(masked_mean(attended, mask))


def _build(spec: NetworkSpec) -> Network:
    video = vit_b16.VitEncoder(spec)
    voice = WaveNetEncoder(spec, video.width)
    head = CrossAttentionHead(video.width, int(spec.options["cross_heads"]), spec.outputs)
    return Network(head, video=video, voice=voice)


RECIPE = NetRecipe(
    name="cross_attention",
    summary="face and voice: attention from ViT-B/16 frames to a WaveNet's steps",
    defaults=FitConfig(epochs=30, batch_size=8, learning_rate=1e-4, weight_decay=1e-2),
    build=_build,
    modalities=("video", "voice"),
    options={**vit_b16.OPTIONS, **WAVENET, "cross_heads": 8},
    tiny={**vit_b16.TINY, "voice_channels": 8, "cross_heads": 4},
    backbones={SLOT: "ViT_B_16_Weights.IMAGENET1K_V1"},
    # The voice encoder, the attention and the head start from random weights: the face backbone waits
    # for them.
    phases=frozen_first(10, "video.backbone"),
    multiple=16,
    frame_hz=4,
)
