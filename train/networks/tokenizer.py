"""A byte-pair tokenizer that is trained on the lines of a data set.

Text is lower-cased, and curly apostrophes become straight ones, so that ``don't`` is one word however it was
typed. Runs of punctuation (``!``, ``?!``, ``...``) are pieces of their own, because they tell much about
emotion. Unknown bytes become single-byte pieces: no text is refused. All of this is in ``tokenizer.json``.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence

import torch
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers
from torch import Tensor

PAD = "[pad]"
MAX_TOKENS = 64


def train_tokenizer(texts: Iterable[str], size: int, special: Sequence[str] = (PAD,)) -> Tokenizer:
    """Train at most `size` pieces, the first of them `special`. The same texts give the same tokenizer.

    Encoding cuts at `MAX_TOKENS` and does not pad; number 0 is for padding, so `PAD` comes first.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.Sequence(
        [
            normalizers.NFKC(),
            normalizers.Replace(Regex("[\u2018\u2019\u00b4`\u0092]"), "'"),
            normalizers.Lowercase(),
        ]
    )
    words = Regex(r"'[a-z]+|[^\W_]+|[^\w\s']+")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.WhitespaceSplit(),
            pre_tokenizers.Split(words, "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        min_frequency=2,
        special_tokens=list(special),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.enable_truncation(MAX_TOKENS)
    return tokenizer


def encode(tokenizer: Tokenizer, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
    """Token numbers (N, `MAX_TOKENS`) int64, padded with zeros, and their mask, bool."""
    ids = torch.zeros(len(texts), MAX_TOKENS, dtype=torch.int64)
    mask = torch.zeros(len(texts), MAX_TOKENS, dtype=torch.bool)
    for row, encoding in enumerate(tokenizer.encode_batch(list(texts))):
        ids[row, : len(encoding.ids)] = torch.tensor(encoding.ids, dtype=torch.int64)
        mask[row, : len(encoding.ids)] = True
    return ids, mask


def parents(tokenizer: Tokenizer) -> dict[int, tuple[int, int]]:
    """The two pieces that each merged piece consists of, by number."""
    model = json.loads(tokenizer.to_str())["model"]
    number = model["vocab"]
    return {number[a + b]: (number[a], number[b]) for a, b in model["merges"]}


def split_pieces(
    ids: Tensor,
    mask: Tensor,
    parents: Mapping[int, tuple[int, int]],
    chance: float,
    generator: torch.Generator,
) -> tuple[Tensor, Tensor]:
    """Undo the last merge of each piece with probability `chance`, and once more of its parts; same shapes.

    After BPE-dropout (Provilkov et al., 2020); that of the tokenizers library cannot be seeded.
    """
    out, there = torch.zeros_like(ids), torch.zeros_like(mask)
    dice = torch.rand(2, *ids.shape, generator=generator).tolist()
    for row, (pieces, count) in enumerate(zip(ids.tolist(), mask.sum(1).tolist(), strict=True)):
        line = pieces[:count]
        for throw in dice:
            parts = [
                parents.get(p, (p,)) if t < chance else (p,)
                for p, t in zip(line, throw[row] + [1.0] * len(line), strict=False)
            ]
            line = [p for part in parts for p in part]
        line = line[: ids.shape[1]]
        out[row, : len(line)] = torch.tensor(line, dtype=ids.dtype)
        there[row, : len(line)] = True
    return out, there
