"""Drawing training samples so that corpora, classes and speakers count the same."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from affectstream.train.data.dataset import Dataset
from affectstream.train.errors import DataError


def balanced_weights(dataset: Dataset, rows: NDArray[np.int64]) -> Tensor:
    """The probability (n,) float64 of each of `rows`, so that each level of the nest has equal shares.

    The levels are the corpus (in joined data sets what precedes the first ``/`` of an id), the emotion, and
    the participant. So every corpus is drawn equally often, within it every emotion, within that every
    speaker, and of a speaker every sample. Raises `DataError` where a row has no emotion.
    """
    corpora = [corpus_of(str(name)) for name in dataset.column("id")[rows]]
    emotions, people = (dataset.column(name)[rows] for name in ("emotion", "participant"))
    if any(emotion is None for emotion in emotions):
        raise DataError(
            f"data set {dataset.info.name!r} has training samples without an emotion: expected one for each "
            "with --balance"
        )
    return nested_weights(list(zip(corpora, emotions, people, strict=True)))


def nested_weights(keys: Sequence[tuple[Hashable, ...]]) -> Tensor:
    """The probability (n,) float64 of each sample, by its `keys` from the outermost level inwards."""
    children: defaultdict[tuple[Hashable, ...], set[Hashable]] = defaultdict(set)
    counts: defaultdict[tuple[Hashable, ...], int] = defaultdict(int)
    for key in keys:
        counts[key] += 1
        for depth in range(len(key)):
            children[key[:depth]].add(key[depth])
    return torch.tensor(
        [
            1.0 / (counts[key] * np.prod([len(children[key[:depth]]) for depth in range(len(key))]))
            for key in keys
        ],
        dtype=torch.float64,
    )


def corpus_of(name: str) -> str:
    """Where the sample `name` of a joined data set comes from; empty for a set that is not joined."""
    corpus, found, _ = name.partition("/")
    return corpus if found else ""
