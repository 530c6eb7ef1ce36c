"""The outputs of a bundle's head for coded hops, from all modalities and from each alone."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from affectstream.engines.bundle.bundle import Bundle
from affectstream.engines.graphs.batching import run_in_batches
from affectstream.engines.labels import MODALITIES, Modality
from affectstream.engines.spec import Array, Engine
from affectstream.train.teach.data.hops import Evidence, frame_weights, pooled

Feeds = dict[str, Array]
"""What a head takes, a row for each hop."""


def pooling(bundle: Bundle, modality: Modality) -> NDArray[np.float32]:
    """(T,) the weights of the steps of a modality when its embeddings are pooled: recent frames count more,
    steps of voice and words alike."""
    steps = int(bundle.engines["fusion"].inputs[modality].shape[1])
    if modality == "video":
        return frame_weights(steps, bundle.manifest.frame_hz)
    return np.ones(steps, np.float32)


def evidence_of(bundle: Bundle, feeds: Feeds, logits: Array) -> Evidence:
    """The evidence about n hops, from the `feeds` of the head of `bundle` and its `logits` (n, C)."""
    head = bundle.engines["fusion"]
    modalities = tuple(m for m in MODALITIES if m in head.inputs)
    present = {m: np.asarray(feeds[f"{m}_mask"].any(1), np.bool_) for m in modalities}
    return Evidence(
        logits=logits.astype(np.float64),
        alone={m: _alone(head, feeds, m, present[m]) for m in modalities},
        embeddings={
            m: pooled(feeds[m], feeds[f"{m}_mask"], pooling(bundle, m)) for m in modalities
        },
        present=present,
    )


def _alone(
    head: Engine, feeds: Feeds, modality: Modality, present: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """The logits (n, C) of a head from one modality alone; zeros where it is absent."""
    found = np.zeros((len(present), int(head.outputs["logits"].shape[-1])))
    count = int(present.sum())
    if count:
        hidden = {name for m in MODALITIES if m != modality for name in (m, f"{m}_mask")}
        masked = {
            name: np.zeros_like(array[present]) if name in hidden else array[present]
            for name, array in feeds.items()
        }
        found[present] = np.stack([row["logits"] for row in run_in_batches(head, masked, count)])
    return found
