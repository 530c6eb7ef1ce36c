"""Texts of a data set as the tokens that a text encoder takes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from affectstream.train.data.dataset import Dataset
from affectstream.train.loader.speaker_features import rows_by_dialogue


def joined_texts(dataset: Dataset, context: int = 0) -> list[str | None]:
    """The text of every row, with `context` utterances of its dialogue before it; None without text.

    Joined by the code that serves, from rows of the same split only: nothing of the training set is read
    in validation.
    """
    own = [text or None for text in dataset.column("text").tolist()]
    if not context:
        return own
    from affectstream.stream.transcript.context import join_utterances

    speakers, splits = dataset.column("participant"), dataset.column("split")
    out = list(own)
    for rows in rows_by_dialogue(dataset).values():
        said = [row for row in rows if own[row] is not None]
        for place, row in enumerate(said):
            before = [r for r in said[max(0, place - context) : place] if splits[r] == splits[row]]
            out[row] = join_utterances([(speakers[r], str(own[r])) for r in [*before, row]])
    return out


def tokenize(
    text: str, lines: Sequence[str | None], tokens: int, *, joined: bool
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Token numbers (n, `tokens`) int64, zero where there is none, and which there are, bool.

    By the tokenizer whose ``tokenizer.json`` is `text`, and cut as a bundle cuts: what is longer loses
    its end, or its beginning where earlier utterances are `joined` to it.
    """
    tokenizer = Tokenizer.from_str(text)
    tokenizer.no_padding()
    tokenizer.enable_truncation(tokens, direction="left" if joined else "right")
    ids = np.zeros((len(lines), tokens), np.int64)
    mask = np.zeros((len(lines), tokens), np.bool_)
    there = [row for row, line in enumerate(lines) if line]
    for row, encoding in zip(
        there, tokenizer.encode_batch([str(lines[row]) for row in there]), strict=True
    ):
        numbers = encoding.ids
        ids[row, : len(numbers)], mask[row, : len(numbers)] = numbers, True
    return ids, mask
