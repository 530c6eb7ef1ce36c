"""`mimamo`: regions of a face over eight frames, words, and features of speaker and listener.

Each frame's 512x7x7 map of ResNet-18 is pooled by a softmax attention over its 49 cells; the attention
is a second output of the encoder, for explanations. A bidirectional GRU of 256 runs over the frames;
BERT's sentence embedding is projected from 768 to 256; the features of speaker and listener are
concatenated. Absent inputs are zeros.

The methodology report gives the parts but not their sizes: these are ours. The published MIMAMO Net
(Deng et al., AAAI 2020) is another network: it takes phase differences between frames and regresses
valence and arousal, without words.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from affectstream.train.networks import text_backbones
from affectstream.train.networks.network import (
    Head,
    Network,
    NetworkSpec,
    frozen_first,
    masked_mean,
)
from affectstream.train.networks.sequences import GruPool, mlp_head
from affectstream.train.networks.text_backbones import BertEncoder
from affectstream.train.networks.vision import SLOT, VisionEncoder, load_vision_weights
from affectstream.train.recipe import FitConfig
from affectstream.train.recipes.net_recipe import NetRecipe

MAP, CELLS = 512, 32
"""Channels of ResNet-18's last map, and the side of one of its cells in pixels."""


class RegionEncoder(VisionEncoder):
    """Pictures to embeddings (M, 512) and ``attention`` (M, S / 32, S / 32), which adds up to 1."""

    extra_outputs = ("attention",)

    def __init__(self, spec: NetworkSpec) -> None:
        from torchvision.models.resnet import BasicBlock, ResNet

        super().__init__(spec, MAP)
        self.backbone = ResNet(BasicBlock, [int(spec.options["depth"])] * 4)
        # The map is pooled by attention instead.
        self.backbone.avgpool, self.backbone.fc = nn.Identity(), nn.Identity()
        load_vision_weights(self.backbone, spec, "ResNet18_Weights")
        self.attend = nn.Conv2d(MAP, 1, 1, bias=False)  # softmax cancels a bias

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """See the class."""
        x = self.resnet_map(pixels)
        attention = self.attend(x).flatten(1).softmax(1)
        side = self.size // CELLS
        embedding = (x.flatten(2) * attention.unsqueeze(1)).sum(2)
        return embedding, attention.unflatten(1, (side, side))


class MimamoHead(Head):
    """A GRU over the frames, concatenated with words and metadata, then a two-layer perceptron."""

    takes = ("video", "text", "metadata")

    def __init__(self, video: int, text: int, spec: NetworkSpec) -> None:
        super().__init__()
        hidden, words = int(spec.options["hidden"]), int(spec.options["words"])
        self.frames = GruPool(video, hidden)
        self.words = nn.Sequential(nn.Linear(text, words), nn.ReLU())
        width = self.frames.width + words + 2 * spec.metadata
        self.out = mlp_head(width, words, spec.outputs, 0.3)

    def forward(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """See `Head`. Metadata is concatenated with its mask, since 0 may be a value."""
        frames = self.frames(inputs["video"], inputs["video_mask"])
        words = masked_mean(self.words(inputs["text"]), inputs["text_mask"])
        known = inputs["metadata_mask"].to(frames.dtype)
        return self.out(torch.cat((frames, words, inputs["metadata"] * known, known), 1))


def _build(spec: NetworkSpec) -> Network:
    video, text = RegionEncoder(spec), BertEncoder(spec, pooled=True, frozen=False)
    return Network(MimamoHead(video.width, text.width, spec), video=video, text=text)


RECIPE = NetRecipe(
    name="mimamo",
    summary="face and words: ResNet-18 regions under attention, a GRU over eight frames, BERT, metadata",
    defaults=FitConfig(
        epochs=100, batch_size=4, accumulate=4, learning_rate=1e-4, weight_decay=1e-4, patience=10
    ),
    build=_build,
    modalities=("video", "text"),
    options={"context": 0, "depth": 2, "hidden": 256, "words": 256, **text_backbones.BASE},
    tiny={"depth": 1, "hidden": 16, "words": 16, **text_backbones.TINY},
    backbones={SLOT: "ResNet18_Weights.IMAGENET1K_V1", "text": "bert-base-uncased"},
    phases=frozen_first(5, "video.backbone", "text.backbone"),
    tokenizer=text_backbones.tokenizer,
    multiple=CELLS,
    window_us=2_000_000,
    frame_hz=4,
    metadata=True,
)
