"""A small sketch of the samples that trained a network, which tells whether others are among them.

A fingerprint of a sample is 6 bytes of a hash of its pictures and sound, or of its words and its own name,
so that it is the same in every data set that holds the sample, whatever this was joined with and however it
was split. The sketch keeps the `KEPT` lowest fingerprints. Those of another data set up to its highest one
either are in it or did not train, and they are a random part of that data set (bottom-k sketch, Cohen and
Kaplan, "Summarizing data using bottom-k sketches", PODC 2007).
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from affectstream.train.data.dataset import Dataset
from affectstream.train.data.sample import content_of, decode_crop

KEPT = 1000
_BYTES = 6


Fingerprints = Mapping[str, set[str]]
"""By what they are of: ``content`` (pictures and sound, or what there is of them), ``pictures`` and ``sound``
where a sample has both, and ``words``. In another data set one may stand without the others."""


def fingerprints(data: Path, rows: NDArray[np.int64]) -> Fingerprints:
    """Those of the samples `rows` of the data set in `data`, in hexadecimal."""
    dataset = Dataset(data)
    columns = (dataset.column(name)[rows].tolist() for name in ("content", "text", "id"))
    found: dict[str, set[str]] = defaultdict(set)
    has_both = dataset.info.modalities["video"] and dataset.info.modalities["audio"]
    for row, content, text, name in zip(rows.tolist(), *columns, strict=True):
        if content:
            found["content"].add(str(content)[: 2 * _BYTES])
        if content and has_both:
            for part, own in _parts(dataset, row):
                found[part].add(own)
        if text:  # a name's folders are those of the sets that were joined
            said = f"{name.rpartition('/')[2]}\n{text}".encode()
            found["words"].add(hashlib.blake2b(said, digest_size=_BYTES).hexdigest())
    return found


def _parts(dataset: Dataset, row: int) -> Iterator[tuple[str, str]]:
    """What `content` begins with in a sample that has nothing but these pictures, or this sound."""
    stored = dataset.row(row)
    if stored["crops"] and stored["audio"]:
        crops = np.stack([decode_crop(blob) for blob in stored["crops"]])
        parts = {"pictures": content_of(crops, None), "sound": content_of(None, stored["audio"])}
        yield from ((name, own[: 2 * _BYTES]) for name, own in parts.items() if own is not None)


def sketch(found: Fingerprints) -> str:
    """The lowest of the fingerprints, in order and without a gap."""
    return "".join(sorted(set[str]().union(*found.values()))[:KEPT])


def share_in(sketched: str, found: Fingerprints) -> float:
    """Share of the samples with the fingerprints `found` that are among those of a sketch, from 0 to 1: an
    estimate if there were more than it keeps. 0 where nothing can be compared."""
    known = {sketched[at : at + 2 * _BYTES] for at in range(0, len(sketched), 2 * _BYTES)}
    highest = max(known, default="") if len(known) >= KEPT else "g"  # above all hexadecimal digits
    compared = [{one for one in prints if one <= highest} for prints in found.values()]
    return max((len(prints & known) / len(prints) for prints in compared if prints), default=0.0)
