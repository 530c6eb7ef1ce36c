"""One row for each recording: time, faces, events, label changes, peak memory.

Each recording is scored in a process of its own, so that peak memory is its own.

    affectstream bench clips videos/*.mp4
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from itertools import pairwise
from multiprocessing import get_context
from pathlib import Path

from affectstream.bench.machine import describe, peak_memory_mb
from affectstream.engines.errors import AffectstreamError
from affectstream.stream.errors import SourceError
from affectstream.stream.events import Emotion
from affectstream.stream.recognizer import Recognizer


@dataclass(frozen=True, slots=True)
class Row:
    """Results and cost of one recording. `flips_per_s` counts label changes of all tracks, a second."""

    name: str
    media_s: float
    wall_s: float
    faces: int
    events: int
    flips_per_s: float
    peak_mb: float
    note: str = ""

    @property
    def ratio(self) -> float:
        """Seconds of media for each second of wall time."""
        return self.media_s / self.wall_s


def main(files: Sequence[Path], bundle: str, threads: int | None) -> None:
    """Measure and print. Raises `SourceError` if none of `files` could be scored."""
    rows = []
    print("| recording | media s | wall s | ratio | faces | events | flips/s | peak MB |")
    print("|---|---|---|---|---|---|---|---|")
    for path in files:
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            try:
                row = pool.submit(measure, path, bundle, threads).result()
            except AffectstreamError as error:
                print(f"| {path.name} | {error} |")
                continue
        rows.append(row)
        print(
            f"| {row.name} | {row.media_s:.2f} | {row.wall_s:.2f} | {row.ratio:.1f} | {row.faces} "
            f"| {row.events} | {row.flips_per_s:.2f} | {row.peak_mb:.0f} |"
        )
    if not rows:
        raise SourceError("none of the recordings could be scored")
    print(json.dumps({"bench": "clips", "rows": [asdict(r) for r in rows], "machine": describe()}))


def measure(path: Path, bundle: str, threads: int | None) -> Row:
    """Score `path` once; opening the bundle does not count."""
    with Recognizer.open(bundle, threads=threads) as recognizer:
        started = time.perf_counter()
        result = recognizer.score(path)
        wall_s = time.perf_counter() - started
    labels: dict[int | None, list[str]] = {}
    for event in result.events:
        if isinstance(event, Emotion) and event.label is not None:
            labels.setdefault(event.track, []).append(event.label)
    flips = sum(a != b for run in labels.values() for a, b in pairwise(run))
    media_s = result.events[-1].t_end
    return Row(
        name=path.name,
        media_s=media_s,
        wall_s=wall_s,
        faces=len({event.track for event in result.events if event.track is not None}),
        events=len(result.events),
        flips_per_s=flips / media_s if media_s else 0.0,
        peak_mb=peak_memory_mb(),
        note=result.detail or "",
    )
