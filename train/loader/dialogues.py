"""What a sample takes from its dialogue: words with those before them, age and gender of the speakers."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from affectstream.engines.manifest import SPEAKER_FEATURES, SpeakerFeature
from affectstream.train.data.dataset import Dataset
from affectstream.train.data.sample import GENDERS


def speaker_features(
    dataset: Dataset, names: Sequence[SpeakerFeature] = SPEAKER_FEATURES
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """The features `names` of every row (n, D) float32, and which of them are known (n, D) bool. The listener
    is the other participant of the dialogue who spoke last before the row."""
    columns = (dataset.column(name).tolist() for name in ("age", "gender"))
    people = [
        (age / 100.0, *(math.nan if gender is None else float(gender == g) for g in GENDERS))
        for age, gender in zip(*columns, strict=True)
    ]
    nobody = (math.nan,) * (1 + len(GENDERS))
    table = np.asarray([*people, nobody], np.float32)
    listeners = [-1 if row is None else row for row in find_listeners(dataset)]
    numbers = np.hstack([table[:-1], table[listeners]])
    picked = numbers[:, [SPEAKER_FEATURES.index(name) for name in names]]
    known = ~np.isnan(picked)
    return np.where(known, picked, 0.0).astype(np.float32), known


def find_listeners(dataset: Dataset) -> list[int | None]:
    """For every row the last row before it in its dialogue that another participant speaks, if any."""
    speakers = dataset.column("participant")
    listeners: list[int | None] = [None] * len(speakers)
    for rows in rows_by_dialogue(dataset).values():
        last: dict[str, int] = {}  # the last row of each participant; who spoke last is at the end
        for row in rows:
            speaker = speakers[row]
            if speaker is not None:
                others = (last[name] for name in reversed(last) if name != speaker)
                listeners[row] = next(others, None)
                last.pop(speaker, None)
                last[speaker] = row
    return listeners


def rows_by_dialogue(dataset: Dataset) -> dict[str, list[int]]:
    """The rows of each dialogue in the order of their turns."""
    found: dict[str, list[int]] = defaultdict(list)
    order = dataset.column("turn")
    for row, dialogue in enumerate(dataset.column("dialogue")):
        if dialogue is not None and order[row] is not None:
            found[dialogue].append(row)
    for rows in found.values():
        rows.sort(key=lambda row: order[row])
    return dict(found)


def joined_texts(dataset: Dataset, context: int = 0) -> list[str | None]:
    """The text of every row after `context` earlier ones of its dialogue and split, as in serving."""
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

    `tokenizer_json` is the content of that file. As in a bundle, a line that is too long loses its end, or
    its beginning if earlier utterances are `joined` to it.
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
