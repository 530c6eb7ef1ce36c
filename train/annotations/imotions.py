"""Annotations in an iMotions export, on the clock of its time column."""

from __future__ import annotations

import math
from itertools import pairwise
from pathlib import Path
from statistics import median

from affectstream.train.annotations.annotations import Annotations, Coding, Stretch, rating
from affectstream.train.data.imotions_export import find_layout, read_annotations


def read_imotions(path: Path, recording: str) -> Annotations:
    """Read the face sensor. A row without a face is no verdict. Raises `DataError` or `DataMissing`."""
    layout = find_layout(path)
    rows = read_annotations(layout)
    times = [row.time_us / 1e6 for row in rows]
    # The last row has no end of its own; a row of a sensor that paused does not last for the pause.
    steps = [after - before for before, after in pairwise(times)]
    longest = 2 * (median(steps) if steps else 0.04) + 1e-6
    stretches: list[Stretch] = []
    for row, start, end in zip(rows, times, [*times[1:], times[-1] + longest / 2], strict=True):
        name, stop = row.emotion, min(end, start + longest)
        if name is None or stop <= start:
            continue
        if stretches and stretches[-1].label == name and start - stretches[-1].end < 1e-6:
            stretches[-1] = Stretch(stretches[-1].start, stop, name)
        else:
            stretches.append(Stretch(start, stop, name))
    who = layout.respondent
    codings = (Coding.of(who, "emotion", stretches, path),) if stretches else ()
    ratings = [
        rating(who, kind, times, [math.nan if v is None else v for v in values])
        for kind, values in (
            ("valence", [row.valence for row in rows]),
            ("engagement", [row.engagement for row in rows]),
            ("attention score", [row.attention for row in rows]),
        )
        if any(v is not None for v in values)
    ]
    return Annotations(path, recording, codings, tuple(ratings))
