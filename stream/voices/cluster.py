"""Which embeddings are of one voice: clusters by average cosine distance, then turns without flicker.

Average-linkage clustering, cut at one distance, gives the voices. A Viterbi path over all embeddings gives
turns: they change only where another voice gains more than `SWITCH`. The three numbers were chosen on made-up
conversations of RAVDESS 1-10, four speakers of EMO-DB and three of nEMO.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from affectstream.engines.extras import install_hint
from affectstream.stream.errors import OptionError

SAME_VOICE = 0.43
"""Groups of embeddings whose mean cosine distance is smaller are one voice."""
MIN_EMBEDDINGS = 10
"""A voice with fewer, 5 s of speech, is a moment of another one. Where no voice has more, all are one."""
SWITCH = 0.1
"""Similarity that another voice must gain in all for a change of turn."""
_ROUNDS = 3
_MOST_CLUSTERED = 4000
"""Distances between all pairs of more embeddings take too much memory: every n-th is clustered."""


def cluster_voices(vectors: NDArray[np.float32], voices: int | None) -> NDArray[np.int64]:
    """The voice of each embedding (N, D) of length 1, numbered from 0 in the order of their first turn.

    `voices` is how many there are, if known; then each embedding belongs to one of at most so many.
    Raises `OptionError` without scipy.
    """
    if len(vectors) < 2:
        return np.zeros(len(vectors), np.int64)
    centers = _centers(vectors, voices)
    turns = _path(vectors @ centers.T)
    for _ in range(_ROUNDS):
        counts = np.bincount(turns, minlength=len(centers))
        needed = 1 if voices is not None else MIN_EMBEDDINGS
        kept = np.flatnonzero(counts >= min(needed, counts.max()))
        centers = _unit(np.stack([vectors[turns == voice].mean(axis=0) for voice in kept]))
        turns = _path(vectors @ centers.T)
    found, first = np.unique(turns, return_index=True)
    number = {int(voice): n for n, voice in enumerate(found[np.argsort(first)])}
    return np.asarray([number[int(voice)] for voice in turns], np.int64)


def _centers(vectors: NDArray[np.float32], voices: int | None) -> NDArray[np.float32]:
    try:
        from scipy.cluster.hierarchy import fcluster, linkage
    except ModuleNotFoundError as error:
        raise OptionError(f"--voices needs scipy: {install_hint('voices')}") from error
    sample = vectors[:: -(-len(vectors) // _MOST_CLUSTERED)]
    tree = linkage(sample, "average", metric="cosine")
    if voices is None:
        groups = fcluster(tree, SAME_VOICE, "distance")
    else:
        groups = fcluster(tree, voices, "maxclust")
    counts = np.bincount(groups)
    needed = 1 if voices is not None else min(MIN_EMBEDDINGS, counts.max())
    kept = np.flatnonzero(counts >= needed)
    return _unit(np.stack([sample[groups == group].mean(axis=0) for group in kept]))


def _unit(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.maximum(lengths, 1e-9), np.float32)


def _path(similarity: NDArray[np.float32]) -> NDArray[np.int64]:
    """The row of voices (N,) with the largest sum of `similarity` (N, K), less `SWITCH` for each change."""
    count, voices = similarity.shape
    best = similarity[0].astype(np.float64)
    came_from = np.empty((count, voices), np.int64)
    for n in range(1, count):
        other = int(best.argmax())
        stays = best >= best[other] - SWITCH
        came_from[n] = np.where(stays, np.arange(voices), other)
        best = np.maximum(best, best[other] - SWITCH) + similarity[n]
    path = np.empty(count, np.int64)
    path[-1] = best.argmax()
    for n in range(count - 1, 0, -1):
        path[n - 1] = came_from[n][path[n]]
    return path
