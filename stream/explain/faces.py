"""Occlusion of the face (Zeiler and Fergus, 2014): the score with a part of every crop of the window hidden.

A face is aligned in its crop, so a patch hides the same part of it in all frames. Hidden pixels get the mean
color of their own crop.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from affectstream.engines.graphs.batching import run_in_batches
from affectstream.stream.explain.model import Given, HopModel, without
from affectstream.stream.explain.patches import Patch, patches, spread
from affectstream.stream.explain.pictures import SeenPictures


@dataclass(frozen=True, slots=True, eq=False)
class FaceEffect:
    """The effect of the parts of a face (or of a person, or of the picture), and of each frame."""

    seen: SeenPictures
    grid: NDArray[np.float64]
    """(patches down, patches across): how far the explained number falls without each patch."""
    map: NDArray[np.float64]
    """(size, size): the same for each pixel, the mean of the patches over it."""
    regions: dict[str, float]
    """How far it falls without a named part of the face; empty for other crops than faces."""
    frames: NDArray[np.float64]
    """(n,): how far it falls without each frame."""


def face_effect(model: HopModel, seen: SeenPictures, per_side: int) -> FaceEffect:
    """The effect of `per_side` x `per_side` patches of what was `seen`."""
    size = seen.encoder.crop.size
    found = patches(size, size, per_side, per_side)
    changes = model.changes([_hidden(model.given, seen, [patch]) for patch in found])
    regions = {
        name: float(model.changes([_hidden(model.given, seen, [patch])])[0])
        for name, patch in face_regions(seen).items()
    }
    return FaceEffect(
        seen,
        changes.reshape(per_side, per_side),
        spread(found, changes, size, size),
        regions,
        _frames(model, seen),
    )


def face_regions(seen: SeenPictures) -> dict[str, Patch]:
    """Named bands of an aligned face, from the places of its landmarks in the crop."""
    crop = seen.encoder.crop
    if crop.kind != "face" or not crop.template:
        return {}
    (_, right), (_, left), (_, nose), (_, mouth), (_, other) = crop.template
    eyes, mouth, size = (right + left) / 2, (mouth + other) / 2, crop.size
    brow = max(1, round(eyes - (nose - eyes) * 0.75))
    below = round((eyes + nose) / 2)
    above = round((nose + mouth) / 2)
    rows = {
        "forehead": (0, brow),
        "eyes and brows": (brow, below),
        "nose and cheeks": (below, above),
        "mouth and chin": (above, size),
    }
    return {name: Patch(span, (0, size)) for name, span in rows.items() if span[0] < span[1]}


def _hidden(given: Given, seen: SeenPictures, parts: list[Patch]) -> Given:
    """`given` with `parts` of every crop hidden."""
    crops = seen.crops.copy()
    mean = crops.mean(axis=(1, 2), keepdims=True)
    for patch in parts:
        crops[:, slice(*patch.rows), slice(*patch.columns)] = mean.round().astype(np.uint8)
    rows = run_in_batches(seen.encoder.encoder, {"pixels": crops}, len(crops))
    embeddings = np.stack([row["embedding"] for row in rows])
    return _replaced(given, seen, embeddings)


def _replaced(given: Given, seen: SeenPictures, embeddings: NDArray[np.float32]) -> Given:
    changed = list(given)
    for member, places in seen.places.items():
        feeds = given[member]
        assert feeds is not None
        video = feeds["video"].copy()
        for n, place in enumerate(places):
            if place >= 0:
                video[place] = embeddings[n]
        changed[member] = {**feeds, "video": video}
    return tuple(changed)


def _frames(model: HopModel, seen: SeenPictures) -> NDArray[np.float64]:
    """How far the explained number falls without each frame; 0 for an only one, which cannot be spared."""
    changes = np.zeros(len(seen.points))
    for n in range(len(seen.points)):
        changed = list(model.given)
        for member, places in seen.places.items():
            feeds = model.given[member]
            assert feeds is not None
            if places[n] >= 0:
                mask, video = feeds["video_mask"].copy(), feeds["video"].copy()
                mask[places[n]], video[places[n]] = False, 0.0
                changed[member] = {**feeds, "video": video, "video_mask": mask}
        left = without(tuple(changed), ())
        if left is not None and len(seen.points) > 1:
            changes[n] = model.changes([left])[0]
    return changes
