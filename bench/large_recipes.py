"""The large networks that a bundle may name, at random weights: what matters here is their operators.

Shapes are those of the published base models. Weights are drawn with a fixed seed; nothing is fetched.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import torch
from torch import Tensor, nn

LABELS = 7
WIDTH = 768
_ROWS = 2


@dataclass(frozen=True, slots=True)
class Recipe:
    """One network and how it is exported."""

    name: str
    make: Callable[[], nn.Module]
    inputs: dict[str, Tensor]
    """Examples, of two rows."""
    rewritten: str = ""
    """What had to be made otherwise than by default, and why."""


class Only(nn.Module):
    """One of the many outputs of a model of transformers."""

    def __init__(self, model: Any, output: str) -> None:
        super().__init__()
        self.model = model
        self.output = output

    def forward(self, *inputs: Tensor) -> Tensor:
        """That output alone."""
        found: Tensor = getattr(self.model(*inputs), self.output)
        return found


class BiLstm(nn.Module):
    """Features (N, T, 768) through two bidirectional layers to logits (N, 7)."""

    def __init__(self) -> None:
        super().__init__()
        self.recurrent = nn.LSTM(WIDTH, 256, 2, batch_first=True, bidirectional=True)
        self.head = nn.Linear(512, LABELS)

    def forward(self, features: Tensor) -> Tensor:
        """Logits of the mean over time."""
        steps, _ = self.recurrent(features)
        logits: Tensor = self.head(steps.mean(1))
        return logits


class Average(nn.Module):
    """Late fusion by a weighted mean of each modality's probabilities."""

    def __init__(self) -> None:
        super().__init__()
        self.heads = nn.ModuleList(nn.Linear(WIDTH, LABELS) for _ in range(3))
        self.weight = nn.Parameter(torch.ones(3))

    def forward(self, video: Tensor, voice: Tensor, text: Tensor) -> Tensor:
        """Probabilities (N, 7) of embeddings (N, 768)."""
        each = [
            head(x).softmax(-1) for head, x in zip(self.heads, (video, voice, text), strict=True)
        ]
        share = self.weight.softmax(0)
        return torch.stack(each, -1) @ share


class Gated(nn.Module):
    """Late fusion by gates: how much each modality counts follows from all of them."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = nn.Linear(3 * WIDTH, 3)
        self.head = nn.Sequential(nn.LayerNorm(WIDTH), nn.Linear(WIDTH, 256), nn.GELU())
        self.out = nn.Linear(256, LABELS)

    def forward(self, video: Tensor, voice: Tensor, text: Tensor) -> Tensor:
        """Logits (N, 7) of embeddings (N, 768)."""
        gates = self.gate(torch.cat((video, voice, text), -1)).sigmoid()
        mixed = (torch.stack((video, voice, text), -1) * gates.unsqueeze(1)).sum(-1)
        logits: Tensor = self.out(self.head(mixed))
        return logits


class Attentive(nn.Module):
    """Late fusion by attention over the three embeddings, with a mask for those that are absent."""

    def __init__(self) -> None:
        super().__init__()
        self.query = nn.Parameter(torch.randn(1, 1, WIDTH))
        self.key = nn.Linear(WIDTH, WIDTH)
        self.value = nn.Linear(WIDTH, WIDTH)
        self.out = nn.Linear(WIDTH, LABELS)

    def forward(self, embeddings: Tensor, mask: Tensor) -> Tensor:
        """Logits (N, 7) of embeddings (N, 3, 768) with a mask (N, 3) bool."""
        scores = (self.query @ self.key(embeddings).transpose(1, 2)) * WIDTH**-0.5
        # -1e4 and not -inf: FP16 has nothing lower than -65504.
        scores = scores.masked_fill(~mask.unsqueeze(1), -1e4)
        logits: Tensor = self.out((scores.softmax(-1) @ self.value(embeddings)).squeeze(1))
        return logits


def heads() -> list[Recipe]:
    """What comes behind encoders: a recurrent head, and late fusion in three ways."""
    three = {name: torch.rand(_ROWS, WIDTH) for name in ("video", "voice", "text")}
    return [
        Recipe("bilstm", BiLstm, {"features": torch.rand(_ROWS, 100, WIDTH)}),
        Recipe("fusion_average", Average, three),
        Recipe("fusion_gated", Gated, three),
        Recipe(
            "fusion_attention",
            Attentive,
            {"embeddings": torch.rand(_ROWS, 3, WIDTH), "mask": torch.ones(_ROWS, 3) > 0},
        ),
    ]


def encoders() -> list[Recipe]:
    """The published encoders. Raises `ModuleNotFoundError` without transformers."""
    hf: Any = import_module("transformers")  # parts of it have types, parts have none
    hf.utils.logging.set_verbosity_error()
    picture = {"pixels": torch.rand(_ROWS, 3, 224, 224)}
    words = {
        "ids": torch.randint(0, 256, (_ROWS, 64)),
        "mask": torch.ones(_ROWS, 64) > 0,
    }
    hidden = "last_hidden_state"
    return [
        Recipe("vit_b16", lambda: Only(_vit(hf), hidden), picture),
        Recipe(
            "resnet50", lambda: Only(hf.ResNetModel(hf.ResNetConfig()), "pooler_output"), picture
        ),
        Recipe(
            "clip_image",
            lambda: Only(hf.CLIPVisionModelWithProjection(hf.CLIPVisionConfig()), "image_embeds"),
            picture,
        ),
        Recipe(
            "clip_text",
            lambda: Only(hf.CLIPTextModelWithProjection(hf.CLIPTextConfig()), "text_embeds"),
            {"ids": torch.randint(0, 256, (_ROWS, 77))},
        ),
        Recipe(
            "wav2vec2_base",
            lambda: Only(hf.Wav2Vec2Model(hf.Wav2Vec2Config()), hidden),
            {"samples": torch.rand(_ROWS, 48_000) - 0.5},
        ),
        Recipe("bert_base_default", lambda: _bert(hf, "sdpa"), words),
        Recipe(
            "bert_base",
            lambda: _bert(hf, "eager"),
            words,
            "attention exported as 'eager': torch's own (sdpa) puts IsNaN and Where behind a masked "
            "Softmax, over which the FP16 attention fusion stumbles",
        ),
    ]


def _vit(hf: Any) -> Any:
    return hf.ViTModel(hf.ViTConfig(), add_pooling_layer=False)


def _bert(hf: Any, attention: str) -> nn.Module:
    return Only(hf.BertModel(hf.BertConfig(attn_implementation=attention)), "pooler_output")
