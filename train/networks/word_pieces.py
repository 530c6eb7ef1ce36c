"""Some of the word pieces of a pretrained text encoder, and their embeddings in fewer numbers.

Embeddings of words that were learned from a billion sentences know of words that no line of a small data set
has. A table of 30,522 rows of 384 numbers is 47 MB; the pieces that matter, in the directions in which they
differ most, take one.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Regex, Tokenizer, normalizers
from torch import Tensor

from affectstream.train.networks.pretrained import CONFIG, TOKENIZER, WEIGHTS, folder_of

PAD, UNKNOWN = "[PAD]", "[UNK]"
APOSTROPHES = "[\u2018\u2019\u00b4`\u0092]"
"""What stands for an apostrophe in transcripts. BERT's tokenizers drop some, and read *dont*."""


def straight_apostrophes(tokenizer: Tokenizer) -> Tokenizer:
    """`tokenizer`, which reads every kind of apostrophe as ``'`` from now on."""
    first = normalizers.Replace(Regex(APOSTROPHES), "'")
    own = [] if tokenizer.normalizer is None else [tokenizer.normalizer]
    tokenizer.normalizer = normalizers.Sequence([first, *own])
    return tokenizer


def reduced_tokenizer(slot: str, source: str, lines: Iterable[str], size: int) -> Tokenizer:
    """The WordPiece tokenizer of `source` with `size` of its pieces and without special tokens around a line.

    Kept are single characters, then the pieces that occur in `lines` more than once, then those of the
    smallest numbers, which are the most frequent ones in BERT's vocabularies. Number 0 is for padding. Raises
    `WeightsMissing`.
    """
    folder = folder_of(slot, source, (TOKENIZER,))
    whole = json.loads((folder / TOKENIZER[0]).read_text(encoding="utf-8"))
    vocabulary: dict[str, int] = whole["model"]["vocab"]
    full = straight_apostrophes(Tokenizer.from_str(json.dumps(whole)))
    full.no_padding()
    full.no_truncation()
    counts = Counter(
        piece for line in lines for piece in full.encode(line, add_special_tokens=False).tokens
    )

    def rank(piece: str) -> tuple[int, int]:
        bare = piece.removeprefix("##")
        basic = piece in (PAD, UNKNOWN) or (len(bare) == 1 and bare.isascii())
        return (0 if basic else 1 if counts[piece] > 1 else 2, vocabulary[piece])

    special = {token["content"] for token in whole["added_tokens"]} - {PAD, UNKNOWN}
    usable = [piece for piece in vocabulary if piece not in special and "[unused" not in piece]
    kept = sorted(sorted(usable, key=rank)[:size], key=vocabulary.__getitem__)  # [PAD] is number 0
    whole["model"]["vocab"] = {piece: number for number, piece in enumerate(kept)}
    whole["post_processor"] = whole["padding"] = whole["truncation"] = None
    whole["added_tokens"] = [
        {**token, "id": kept.index(token["content"])}
        for token in whole["added_tokens"]
        if token["content"] in (PAD, UNKNOWN)
    ]
    return straight_apostrophes(Tokenizer.from_str(json.dumps(whole)))


def reduced_embeddings(slot: str, source: str, tokenizer: Tokenizer, width: int) -> Tensor:
    """The embeddings in `source` of the pieces of `tokenizer`, (V, `width`) float32, deviation 0.1. Principal
    components (mean taken off). Raises `WeightsMissing`."""
    folder = folder_of(slot, source, (WEIGHTS, TOKENIZER, CONFIG))
    numbers = json.loads((folder / TOKENIZER[0]).read_text(encoding="utf-8"))["model"]["vocab"]
    table = _word_embeddings(folder)
    pieces = sorted(tokenizer.get_vocab().items(), key=lambda item: item[1])
    rows = table[[numbers[piece] for piece, _ in pieces]]
    rows = rows - rows.mean(0)
    _, _, directions = np.linalg.svd(rows, full_matrices=False)
    reduced = rows @ directions[:width].T
    return torch.from_numpy(np.asarray(0.1 * reduced / reduced.std(), np.float32))


def _word_embeddings(folder: Path) -> NDArray[np.float32]:
    """The table of word embeddings (V, D) of the model in `folder`."""
    from safetensors import safe_open

    with safe_open(folder / WEIGHTS[0], framework="pt") as file:
        name = next(key for key in file.keys() if key.endswith("word_embeddings.weight"))  # noqa: SIM118
        return np.asarray(file.get_tensor(name).float().numpy(), np.float32)
