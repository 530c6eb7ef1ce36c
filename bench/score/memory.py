"""Whether memory stays flat over a long recording.

The recording is the demo's clip repeated (packets copied). Resident memory is read once a minute of media;
growth is the largest value after the first minute minus the first one, and later growth the largest after
ten minutes minus the largest until then. With several `--workers`, which perceive ranges of the recording, it
is that of all processes together: each holds the index of the file and the pictures of its decoder while it
reads a range, and at the end of the first minute they wait for each other. The hash of the events says
whether they are those of one process.

    affectstream bench memory --hours 2
    affectstream bench memory --hours 2 --workers 8
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from affectstream.bench.machine import describe
from affectstream.bench.recordings import write_demo_recording
from affectstream.engines.cache.digest import sha256
from affectstream.stream.offline.output import OutputFolder
from affectstream.stream.offline.session import Session
from affectstream.stream.options import SourceOptions
from affectstream.stream.ranges.opening import RangeOptions
from affectstream.stream.recognizer import Recognizer
from affectstream.stream.results.scored import EVENTS
from affectstream.stream.sinks import FORMATS

GROWTH_LIMIT_MB = 30.0
_WARM_MIN = 10
"""By then each process has read more than one range."""
_SHOWN = 12
"""About so many values are printed."""


@dataclass(frozen=True, slots=True)
class Measured:
    """One run over a long recording."""

    media_s: float
    wall_s: float
    memory_mb: list[float]
    """Resident memory of all processes at the end of each minute of media."""
    bundle: str
    events_sha256: str


def main(hours: float, bundle: str, threads: int | None, workers: int = 1) -> None:
    """Measure and print."""
    with TemporaryDirectory() as scratch:
        run = measure(hours, bundle, threads, Path(scratch), workers)
    first, peak, memory_mb = run.memory_mb[0], max(run.memory_mb), run.memory_mb
    print(f"{run.media_s / 3600:.2f} h of media: {first:.0f} MB after the first minute,")
    print(
        f"  at most {peak:.0f} MB later: growth {peak - first:.1f} MB (at most {GROWTH_LIMIT_MB:g})"
    )
    later = growth_later(memory_mb)
    if later is not None:
        print(f"  after {_WARM_MIN} minutes {later:.1f} MB more than the most until then")
    step = max(1, len(memory_mb) // _SHOWN)
    print("  " + " ".join(f"{value:.0f}" for value in memory_mb[::step]))
    print(
        json.dumps(
            {
                "bench": "memory",
                "bundle": run.bundle,
                "workers": workers,
                "media_s": round(run.media_s, 1),
                "wall_s": round(run.wall_s, 1),
                "events_sha256": run.events_sha256,
                "first_minute_mb": round(first, 1),
                "peak_mb": round(peak, 1),
                "growth_mb": round(peak - first, 1),
                "growth_after_10_min_mb": None if later is None else round(later, 1),
                "machine": describe(),
            }
        )
    )


def growth_later(memory_mb: Sequence[float]) -> float | None:
    """How much more memory was used after ten minutes than until then; None of a shorter recording."""
    before, after = memory_mb[:_WARM_MIN], memory_mb[_WARM_MIN:]
    return max(after) - max(before) if after else None


def measure(
    hours: float, bundle: str, threads: int | None, scratch: Path, workers: int = 1
) -> Measured:
    """Score a recording of so many hours with `workers` processes for its ranges; 1: without ranges."""
    import psutil
    import pyarrow as pa

    pa.array([0])  # imports pandas where it is installed, 39 MB, which is no growth of ours
    process = psutil.Process()

    def resident_mb() -> float:
        every = (process, *process.children(recursive=True))
        return float(sum(one.memory_info().rss for one in every) / 1e6)

    memory_mb: list[float] = []
    path = write_demo_recording(hours * 3600, scratch)
    with (
        Recognizer.open(bundle, threads=threads) as recognizer,
        Session(
            recognizer.bundle,
            path,
            SourceOptions(),
            recognizer.threads,
            ranges=RangeOptions(workers, recognizer.choice.device),
        ) as session,
        OutputFolder(scratch / "out", FORMATS, recognizer, session.name) as folder,
    ):
        began_s = time.monotonic()
        for hop in session:
            folder.push(hop, session.results_end_us)
            if hop.readings and hop.readings[0][0].end_us >= (len(memory_mb) + 1) * 60_000_000:
                memory_mb.append(resident_mb())
        assert session.ended is not None
        folder.commit(path, session.ended)
        manifest = recognizer.bundle.manifest
        return Measured(
            session.end_us / 1e6,
            time.monotonic() - began_s,
            memory_mb,
            f"{manifest.name} {manifest.version}",
            sha256(scratch / "out" / EVENTS),
        )
