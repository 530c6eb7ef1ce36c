"""`temporal_vit`: a transformer over the class tokens of ViT-B/16 on ten frames.

Two layers of 768 and 8 heads over T = 10 frames (2.5 s at 4 Hz), mean over time, head as in `vit_b16`.
Ours, where the report is silent: an inner width of 2048 (torch's default) and learned positions of the
frames.
"""

from __future__ import annotations

from affectstream.train.networks.network import Network, NetworkSpec
from affectstream.train.networks.sequences import FramesHead, TransformerPool, mlp_head
from affectstream.train.networks.vision import SLOT
from affectstream.train.recipe import FitConfig
from affectstream.train.recipes.documented import vit_b16
from affectstream.train.recipes.net_recipe import NetRecipe


def _build(spec: NetworkSpec) -> Network:
    video = vit_b16.VitEncoder(spec)
    pool = TransformerPool(video.width, spec.frames)
    head = FramesHead(pool, mlp_head(pool.width, vit_b16.HIDDEN, spec.outputs))
    return Network(head, video=video)


RECIPE = NetRecipe(
    name="temporal_vit",
    summary="face encoder and time: ViT-B/16 on each of ten frames, a transformer over the frames",
    defaults=FitConfig(epochs=50, batch_size=8, learning_rate=1e-4, weight_decay=1e-2),
    build=_build,
    modalities=("video",),
    options=vit_b16.OPTIONS,
    tiny=vit_b16.TINY,
    backbones={SLOT: "ViT_B_16_Weights.IMAGENET1K_V1"},
    phases=vit_b16.PHASES,
    multiple=16,
    window_us=2_500_000,
    frame_hz=4,
)
