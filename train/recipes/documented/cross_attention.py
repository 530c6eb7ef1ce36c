"""`cross_attention`: frames of a face ask the waveform of the voice.

ViT-B/16 on each frame (as in `vit_b16`), a WaveNet over three seconds of sound, and attention of 768 and
8 heads in which the video asks the audio; mean over the frames; dropout .3, 768-256, ReLU, dropout .2,
256-out. The technical documentation gives the attention and the kinds of both encoders. Ours: what is
heard is added to what is seen (else the face would only choose what is heard), and where no face is seen
a learned step asks in its place.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from affectstream.stream.errors import OptionError
from affectstream.train.networks.attention import CrossAttentionBlock
from affectstream.train.networks.frames import mlp_head
from affectstream.train.networks.network import Head, Network, NetworkSpec, Phase, masked_mean
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
        answers, there = self.ask(
            inputs["video"], inputs["video_mask"], inputs["voice"], inputs["voice_mask"]
        )
        return self.out(masked_mean(answers, there))


def _build(spec: NetworkSpec) -> Network:
    video, heads = vit_b16.VitEncoder(spec), int(spec.options["cross_heads"])
    if video.width % heads:
        raise OptionError(
            f"--set width={video.width} --set cross_heads={heads}: no whole share for each head"
        )
    voice = WaveNetEncoder(spec, video.width)
    head = CrossAttentionHead(video.width, heads, spec.outputs)
    return Network(head, video=video, voice=voice)


BACKBONE = "video.backbone"

RECIPE = NetRecipe(
    name="cross_attention",
    summary="face and voice: ViT-B/16 frames ask a WaveNet's steps through attention",
    defaults=FitConfig(epochs=30, batch_size=8, learning_rate=1e-4, weight_decay=1e-2),
    build=_build,
    modalities=("video", "voice"),
    options={**vit_b16.OPTIONS, **WAVENET, "cross_heads": 8},
    tiny={**vit_b16.TINY, "voice_channels": 8, "cross_heads": 4},
    backbones={vit_b16.SLOT: "ViT_B_16_Weights.IMAGENET1K_V1"},
    # The voice, the attention and the head start from random weights: the face waits for them.
    phases=(Phase(10, frozen=(BACKBONE,)), Phase(None, rates={BACKBONE: 0.1})),
    multiple=16,
    frame_hz=4,
)
