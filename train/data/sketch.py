"""A small sketch of the samples that trained a network, which tells whether others are among them.

A fingerprint of a sample is 6 bytes of a hash of its pictures and sound, or of its words and its own name,
so that it is the same in every data set that holds the sample, whatever this was joined with and however it
was split. The sketch keeps the `KEPT` lowest fingerprints. Those of another data set up to its highest one
either are in it or did not train, and they are a random part of that data set (bottom-k sketch, Cohen and
Kaplan, "Summarizing data using bottom-k sketches", PODC 2007).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from affectstream.train.data.dataset import Dataset
from affectstream.train.data.sample import content_of, decode_crop

KEPT = 1000
_BYTES = 6


def fingerprints(data: Path, rows: NDArray[np.int64]) -> set[str]:
    """Those of the samples `rows` of the data set in `data`, in hexadecimal.

    A sample with pictures and sound has one for each and one for both, and words have one of their own: in
    another data set one may stand without the others.
    """
    dataset = Dataset(data)
    columns = (dataset.column(name)[rows].tolist() for name in ("content", "text", "id"))
    found = set[str]()
    has_both = dataset.info.modalities["video"] and dataset.info.modalities["audio"]
    for row, content, text, name in zip(rows.tolist(), *columns, strict=True):
        if content:
            found.add(str(content)[: 2 * _BYTES])
        if content and has_both:
            found.update(_parts(dataset, row))
        if text:  # a name's folders are those of the sets that were joined
            said = f"{name.rpartition('/')[2]}\n{text}".encode()
            found.add(hashlib.blake2b(said, digest_size=_BYTES).hexdigest())
    return found


def _parts(dataset: Dataset, row: int) -> Iterator[str]:
    """What `content` begins with in a sample that has nothing but these pictures, or this sound."""
    stored = dataset.row(row)
    crops = stored["crops"] and np.stack([decode_crop(blob) for blob in stored["crops"]])
    for content in (content_of(crops, None), content_of(None, stored["audio"])):
        if content is not None:
            yield content[: 2 * _BYTES]


def sketch(found: set[str]) -> str:
    """The lowest of the fingerprints, in order and without a gap."""
    return "".join(sorted(found)[:KEPT])


def share_in(sketched: str, found: set[str]) -> float:
    """Share of the samples with the fingerprints `found` that are among those of a sketch, from 0 to 1: an
    estimate if there were more than it keeps. 0 where nothing can be compared."""
    known = {sketched[at : at + 2 * _BYTES] for at in range(0, len(sketched), 2 * _BYTES)}
    whole = len(known) < KEPT
    compared = found if whole else {one for one in found if one <= max(known)}
    return len(compared & known) / max(len(compared), 1)
