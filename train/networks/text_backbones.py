"""BERT as a text encoder, and its tokenizer.

The sizes come from options, so that a network is the same with pretrained weights, random ones or those of a
checkpoint; weights of other sizes are refused.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from tokenizers import Tokenizer, processors
from torch import Tensor

from affectstream.stream.errors import OptionError
from affectstream.train.networks.network import NetworkSpec, TextEncoder, Value
from affectstream.train.networks.pretrained import (
    CONFIG,
    NONE,
    TOKENIZER,
    TransformersEncoder,
    build_backbone,
    folder_of,
    is_exporting,
)
from affectstream.train.networks.sequences import MASKED_SCORE
from affectstream.train.networks.tokenizer import PAD, train_tokenizer
from affectstream.train.networks.word_pieces import straight_apostrophes

BASE: Mapping[str, Value] = {"text_layers": 12, "text_width": 768, "text_heads": 12}
"""BERT-base, as options."""
TINY: Mapping[str, Value] = {"text_layers": 1, "text_width": 32, "text_heads": 2}
POSITIONS = 512
"""Most tokens of a line: BERT has no more positions."""
PIECES = 4_000
"""Vocabulary of a tokenizer that is trained on the data set's own lines."""

_FIRST, _LAST = "[cls]", "[sep]"


class BertEncoder(TransformersEncoder, TextEncoder):
    """Tokens to one embedding of the line (`pooled`), or to one for each token.

    The pooled embedding is BERT's own: that of the first token, through a linear layer and tanh. `frozen`
    has an effect on pretrained weights only; random ones (``none``) always learn.
    """

    def __init__(self, spec: NetworkSpec, *, pooled: bool, frozen: bool) -> None:
        from transformers.models.bert.modeling_bert import BertModel

        super().__init__()
        if spec.tokens > POSITIONS:
            raise OptionError(f"{spec.tokens} tokens a line: BERT has {POSITIONS} positions")
        layers, self.width, heads = (int(spec.options[name]) for name in BASE)
        sizes = {
            "vocab_size": spec.vocabulary,
            "hidden_size": self.width,
            "num_hidden_layers": layers,
            "num_attention_heads": heads,
            "intermediate_size": 4 * self.width,
            "max_position_embeddings": POSITIONS,
            "hidden_act": "gelu",
        }
        bert = build_backbone(spec, "text", BertModel, sizes, {}, add_pooling_layer=pooled)
        self.set_backbone(bert, frozen=frozen and spec.weights["text"] != NONE)
        self.pooled, self.tokens = pooled, spec.tokens
        self.steps = 1 if pooled else spec.tokens

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        """See `TextEncoder`."""
        if is_exporting():
            return self.encode(ids, mask)
        found = self.encode(*without_padding(ids, mask))
        short = 0 if self.steps == 1 else self.tokens - found.shape[1]
        return torch.nn.functional.pad(found, (0, 0, 0, short))

    def encode(self, ids: Tensor, mask: Tensor) -> Tensor:
        """As `forward`, for any number L of tokens: (N, 1 or L, `width`)."""
        # BERT adds a mask of four axes to the scores. A line without tokens attends to all positions equally
        # and stays finite.
        added = (1.0 - mask.to(torch.float32))[:, None, None, :] * MASKED_SCORE
        found = self.backbone(input_ids=ids, attention_mask=added)
        line: Tensor = found.pooler_output.unsqueeze(1) if self.pooled else found.last_hidden_state
        return line


def without_padding(ids: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Both (N, T) up to the last token of any line, at least one: most lines are short."""
    used = 1 + int((mask.any(0) * torch.arange(mask.shape[1], device=mask.device)).max())
    return ids[:, :used], mask[:, :used]


def tokenizer(weights: Mapping[str, str], lines: Iterable[str], tokens: int) -> Tokenizer:
    """The tokenizer of the backbone ``text``, or one trained on `lines` if its weights are ``none``.

    Encoding gives `tokens` tokens at most, special ones included, and does not pad. Longer lines lose their
    beginning: the current utterance comes last, after its context.
    """
    source = weights["text"]
    if source == NONE:
        found = train_tokenizer(lines, PIECES, (PAD, _FIRST, _LAST))
        numbers = [(piece, found.token_to_id(piece)) for piece in (_FIRST, _LAST)]
        found.post_processor = processors.TemplateProcessing(
            single=f"{_FIRST} $A {_LAST}", special_tokens=numbers
        )
    else:
        folder = folder_of("text", source, (TOKENIZER, CONFIG))
        found = straight_apostrophes(Tokenizer.from_file(str(folder / TOKENIZER[0])))
        found.no_padding()
    found.enable_truncation(tokens, direction="left")
    return found
