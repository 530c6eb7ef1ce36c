"""Texts of a data set, with their context, as the tokens that a text encoder takes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from affectstream.train.data.dataset import Dataset
from affectstream.train.loader.speaker_features import rows_by_dialogue


def joined_texts(dataset: Dataset, context: int = 0) -> list[str | None]:
    """The text of every row, with `context` utterances of its dialogue before it; None without text.

    Utterances are joined as in serving. Only utterances of the same split are used: validation must not
    read the training set.
    """
    own = [text or None for text in dataset.column("text").tolist()]
    if not context:
        return own
    from affectstream.stream.transcript.context import join_utterances

    speakers, splits = dataset.column("participant"), dataset.column("split")
    texts = list(own)
    for rows in rows_by_dialogue(dataset).values():
        spoken = [row for row in rows if own[row] is not None]
        for place, row in enumerate(spoken):
            before = spoken[max(0, place - context) : place]
            before = [other for other in before if splits[other] == splits[row]]
            texts[row] = join_utterances([(speakers[r], str(own[r])) for r in [*before, row]])
    return texts


def tokenize(
    tokenizer_json: str, lines: Sequence[str | None], tokens: int, *, joined: bool
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Token numbers (n, `tokens`) int64 with zeros after them, and their mask (n, `tokens`) bool.

    `tokenizer_json` is the content of that file. As in a bundle, a line that is too long loses its end,
    or its beginning if earlier utterances are `joined` to it.
    """
    tokenizer = Tokenizer.from_str(tokenizer_json)
    tokenizer.no_padding()
    tokenizer.enable_truncation(tokens, direction="left" if joined else "right")
    ids = np.zeros((len(lines), tokens), np.int64)
    mask = np.zeros((len(lines), tokens), np.bool_)
    for row, encoding in enumerate(tokenizer.encode_batch([line or "" for line in lines])):
        if lines[row]:
            count = len(encoding.ids)
            ids[row, :count], mask[row, :count] = encoding.ids, True
    return ids, mask
