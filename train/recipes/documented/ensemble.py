"""`ensemble`: CLIP, BERT and a mel network, fused early and late at once.

After the technical report (MELD). CLIP ViT-B/32 on each frame (frozen), mean over the frames, 512-256;
BERT-base (frozen), 768-256; `mel_cnn`'s encoder, 256. Early: the three together, 768-512-256-out with
BatchNorm, ReLU and dropout .4 and .3. Late: 256-128-out for each modality, averaged over those that are
present. Both are weighted by sigmoids of learned numbers: (early x w_e + late x w_l) / (w_e + w_l). An absent
modality is zeros in the early path.

Ours, where the report is silent: ReLU after the projections and dropout .3 in the late paths. Random weights
(``none``) are not frozen: they have to learn.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from affectstream.engines.labels import MODALITIES
from affectstream.train.networks import text_backbones
from affectstream.train.networks.network import (
    Head,
    LastLayer,
    Network,
    NetworkSpec,
    Value,
    VideoEncoder,
    masked_mean,
)
from affectstream.train.networks.pretrained import NONE, TransformersEncoder, build_backbone
from affectstream.train.networks.text_backbones import BertEncoder, tokenizer
from affectstream.train.networks.vision import Normalization, normalize_pixels
from affectstream.train.recipe import FitConfig
from affectstream.train.recipes.documented import mel_cnn
from affectstream.train.recipes.documented.mel_cnn import MelCnn
from affectstream.train.recipes.net_recipe import NetRecipe

CLIP_NORMALIZATION = Normalization(
    (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
)
"""Of CLIP's training pictures (Radford et al., ICML 2021)."""
CLIP: Mapping[str, Value] = {
    "clip_layers": 12,
    "clip_width": 768,
    "clip_heads": 12,
    "clip_patch": 32,
    "clip_out": 512,
}


class ClipEncoder(TransformersEncoder, VideoEncoder):
    """Pictures to CLIP's image embeddings (M, 512), not normalized."""

    def __init__(self, spec: NetworkSpec) -> None:
        from transformers.models.clip.modeling_clip import CLIPVisionModelWithProjection

        super().__init__()
        layers, width, heads, patch, self.width = (int(spec.options[name]) for name in CLIP)
        sizes = {
            "hidden_size": width,
            "intermediate_size": 4 * width,
            "projection_dim": self.width,
            "num_hidden_layers": layers,
            "num_attention_heads": heads,
            "image_size": spec.size,
            "patch_size": patch,
            "hidden_act": "quick_gelu",
        }
        pretrained = spec.weights["video"] != NONE
        clip = build_backbone(spec, "video", CLIPVisionModelWithProjection, sizes, {})
        self.set_backbone(clip, frozen=pretrained)
        self.normalization = CLIP_NORMALIZATION if pretrained else None
        self.size, self.grey = spec.size, spec.grey

    def forward(self, pixels: Tensor) -> Tensor:
        """See `VideoEncoder`."""
        x = normalize_pixels(pixels, grey=self.grey, normalization=self.normalization)
        return self.backbone(pixel_values=x).image_embeds


class EnsembleHead(Head):
    """See the module. `widths` are those of the video and text embeddings."""

    takes = MODALITIES

    def __init__(self, widths: Mapping[str, int], spec: NetworkSpec) -> None:
        super().__init__()
        width, first, late = (int(spec.options[n]) for n in ("mel_width", "early", "late"))
        projections = {n: nn.Sequential(nn.Linear(widths[n], width), nn.ReLU()) for n in widths}
        self.project = nn.ModuleDict(projections)
        self.early = nn.Sequential(
            *_layer(len(MODALITIES) * width, first, 0.4),
            *_layer(first, first // 2, 0.3),
            LastLayer(first // 2, spec.outputs),
        )
        self.late = nn.ModuleDict()
        for name in MODALITIES:
            out = nn.Linear(width, late), nn.ReLU(), nn.Dropout(0.3), LastLayer(late, spec.outputs)
            self.late[name] = nn.Sequential(*out)
        self.weigh = nn.Parameter(torch.zeros(2))
        """Early, late; one half each before training."""

    def forward(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """See `Head`. A row without any modality gets the early path's output for zeros."""
        parts, logits, present = [], [], []
        for name in MODALITIES:
            mask = inputs[f"{name}_mask"]
            part = masked_mean(inputs[name], mask)
            if name in self.project:
                part = self.project[name](part)
            is_present = mask.any(1, keepdim=True).to(part.dtype)
            parts.append(part * is_present)
            logits.append(self.late[name](part) * is_present)
            present.append(is_present)
        early = self.early(torch.cat(parts, 1))
        count = torch.cat(present, 1).sum(1, keepdim=True)
        late = torch.stack(logits).sum(0) / count.clamp(min=1.0)
        early_weight, late_weight = self.weigh.sigmoid().unbind()
        # Without any modality the late path has no output.
        late_weight = late_weight * (count > 0).to(late.dtype)
        return (early * early_weight + late * late_weight) / (early_weight + late_weight)


def _layer(inputs: int, outputs: int, dropout: float) -> list[nn.Module]:
    return [nn.Linear(inputs, outputs), nn.BatchNorm1d(outputs), nn.ReLU(), nn.Dropout(dropout)]


def _build(spec: NetworkSpec) -> Network:
    video, voice = ClipEncoder(spec), MelCnn(spec)
    text = BertEncoder(spec, pooled=True, frozen=True)
    head = EnsembleHead({"video": video.width, "text": text.width}, spec)
    return Network(head, video=video, voice=voice, text=text)


RECIPE = NetRecipe(
    name="ensemble",
    summary="face, voice and words: frozen CLIP and BERT, mel network, early and late fusion",
    defaults=FitConfig(epochs=15, batch_size=32, learning_rate=1e-4, weight_decay=1e-5),
    build=_build,
    modalities=MODALITIES,
    options={
        **CLIP,
        **mel_cnn.OPTIONS,
        **text_backbones.BASE,
        "early": 512,
        "late": 128,
        "context": 0,
    },
    unaugmented=mel_cnn.UNAUGMENTED,
    tiny={
        **{"clip_layers": 1, "clip_width": 32, "clip_heads": 2, "clip_patch": 8, "clip_out": 24},
        **mel_cnn.TINY,
        **text_backbones.TINY,
        "early": 32,
        "late": 16,
    },
    backbones={"video": "openai/clip-vit-base-patch32", "text": "bert-base-uncased"},
    tokenizer=tokenizer,
    multiple=32,
    frame_hz=4,
)
