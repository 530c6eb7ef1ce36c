"""A still face must be still: one picture for some seconds, with the noise of a camera and a codec."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np

from affectstream.bench.behaviour import intervals
from affectstream.bench.behaviour.material.media import Picture, write_video
from affectstream.bench.behaviour.material.portraits import portraits
from affectstream.bench.behaviour.report import Measure, Promise, Report
from affectstream.bench.behaviour.workbench import Row, Workbench, largest_faces

_SECONDS, _RATE, _NOISE = 8, 8, 2.0
_CRF = 23  # as a webcam's recorder compresses


def measure(bench: Workbench) -> Report:
    """Standard deviation of the head's angles over the hops, and changes of the label."""
    rows = []
    for portrait in portraits(bench):
        path = bench.folder / f"still_{portrait.name}.mp4"
        write_video(path, _still(portrait.picture), _RATE, crf=_CRF)
        found = list(largest_faces(bench.rows(path, ("video",))))
        if found:
            rows.append((portrait.name, found))
    measures = [_spread(name, [found for _, found in rows]) for name in ("yaw", "pitch", "roll")]
    flips = [_label_changes(found) for _, found in rows]
    seconds = [len(found) * bench.hop_s for _, found in rows]
    pairs = list(zip(flips, seconds, strict=True))

    def rate(drawn: Sequence[tuple[int, float]]) -> float:
        return sum(f for f, _ in drawn) / sum(s for _, s in drawn)

    measures.append(
        Measure(
            "label changes",
            rate(pairs) if pairs else None,
            len(pairs),
            "a second",
            intervals.bootstrap(rate, pairs),
            Promise(at_most=0.1),
        )
    )
    people = [len({row["track"] for row in found}) for _, found in rows]
    measures.append(
        Measure(
            "numbers for a face",
            float(np.mean(people)) if people else None,
            len(people),
            promise=Promise(at_most=1.0),
        )
    )
    return Report(tuple(measures))


def _still(picture: Picture) -> Iterator[Picture]:
    random = np.random.default_rng(0)
    for _ in range(_SECONDS * _RATE):
        noise = random.normal(0, _NOISE, picture.shape).astype(np.float32)
        yield np.clip(picture + noise, 0, 255).astype(np.uint8)


def _spread(name: str, faces: list[list[Row]]) -> Measure:
    spreads = []
    for found in faces:
        values = [row[name] for row in found if row[name] is not None]
        if len(values) > 2:
            spreads.append(float(np.std(values)))
    return Measure(
        f"{name}, standard deviation (median of faces)",
        float(np.median(spreads)) if spreads else None,
        len(spreads),
        "degrees",
        intervals.bootstrap(lambda drawn: float(np.median(drawn)), spreads),
        Promise(at_most=0.5),
    )


def _label_changes(rows: list[Row]) -> int:
    """Hops whose label differs from that of the hop before; no label is a label of its own."""
    return sum(a["label"] != b["label"] for a, b in pairwise(rows))
