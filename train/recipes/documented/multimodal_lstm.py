"""`multimodal_lstm`: attention from the words to the voice, then a recurrent network.

After the methodology report: BERT-base's states of the tokens and wav2vec2-base's of the sound, 768 each;
attention of 8 heads, text as queries and audio as keys; two bidirectional LSTM layers of 256 over the
tokens; mean over the tokens that are present; features of speaker and listener as auxiliary input;
fusion dropout .3.

Ours, where the report is silent: a residual connection and layer normalization; a learned query if a row
has no words, so that the voice alone counts; a hidden layer of 256 over tokens and metadata, each number
of which is concatenated with its mask.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from affectstream.train.networks import text_backbones, wave_backbones
from affectstream.train.networks.network import (
    Head,
    Network,
    NetworkSpec,
    frozen_first,
    masked_mean,
)
from affectstream.train.networks.sequences import CrossAttentionBlock, mlp_head
from affectstream.train.networks.text_backbones import BertEncoder, tokenizer
from affectstream.train.networks.wave_backbones import Wav2Vec2Encoder
from affectstream.train.recipe import FitConfig
from affectstream.train.recipes.net_recipe import NetRecipe

LAYERS = 2


class LstmHead(Head):
    """See the module."""

    takes = ("voice", "text", "metadata")

    def __init__(self, spec: NetworkSpec, width: int) -> None:
        super().__init__()
        hidden = int(spec.options["hidden"])
        self.ask = CrossAttentionBlock(width, int(spec.options["cross_heads"]))
        self.dropout = nn.Dropout(0.3)
        self.recurrent = nn.LSTM(width, hidden, LAYERS, batch_first=True, bidirectional=True)
        self.out = mlp_head(2 * hidden + 2 * spec.metadata, hidden, spec.outputs, 0.3)

    def forward(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """See `Head`."""
        attended, mask = self.ask(
            inputs["text"], inputs["text_mask"], inputs["voice"], inputs["voice_mask"]
        )
        states, _ = self.recurrent(self.dropout(attended))
        known = inputs["metadata_mask"].to(states.dtype)
        parts = (masked_mean(states, mask), inputs["metadata"] * known, known)
        return self.out(torch.cat(parts, 1))


def _build(spec: NetworkSpec) -> Network:
    frozen = spec.options["encoders"] == "frozen"
    text = BertEncoder(spec, pooled=False, frozen=frozen)
    voice = Wav2Vec2Encoder(spec, frozen=frozen)
    if text.width != voice.width:
        raise ValueError(f"expected equal widths of text ({text.width}) and voice ({voice.width})")
    return Network(LstmHead(spec, text.width), voice=voice, text=text)


RECIPE = NetRecipe(
    name="multimodal_lstm",
    summary="voice and words: attention from BERT to wav2vec 2.0, bidirectional LSTM, metadata",
    defaults=FitConfig(
        epochs=100, batch_size=4, accumulate=4, learning_rate=1e-4, weight_decay=1e-4, patience=10
    ),
    build=_build,
    modalities=("voice", "text"),
    options={
        **text_backbones.BASE,
        **wave_backbones.BASE,
        "encoders": "tuned",
        "cross_heads": 8,
        "hidden": 256,
        "context": 0,
    },
    choices={"encoders": ("frozen", "tuned")},
    tiny={**text_backbones.TINY, **wave_backbones.TINY, "cross_heads": 4, "hidden": 16},
    backbones={"text": "bert-base-uncased", "voice": "facebook/wav2vec2-base"},
    phases=frozen_first(5, "text.backbone", "voice.backbone"),
    tokenizer=tokenizer,
    metadata=True,
)
