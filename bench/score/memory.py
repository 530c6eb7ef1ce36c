"""Whether memory stays flat over a long recording.

The recording is the demo's clip repeated (packets copied). Resident memory is read once a minute of media;
growth is the largest value after the first minute minus the first one.

    affectstream bench memory --hours 2
"""

from __future__ import annotations

import json
from pathlib import Path
from tempfile import TemporaryDirectory

from affectstream.bench.machine import describe
from affectstream.bench.recordings import write_demo_recording
from affectstream.stream.offline.output import OutputFolder
from affectstream.stream.recognizer import Recognizer
from affectstream.stream.sinks import FORMATS

GROWTH_LIMIT_MB = 30.0
_SHOWN = 12
"""About so many values are printed."""


def main(hours: float, bundle: str, threads: int | None) -> None:
    """Measure and print."""
    with TemporaryDirectory() as scratch:
        media_s, memory_mb, version = measure(hours, bundle, threads, Path(scratch))
    first, peak = memory_mb[0], max(memory_mb)
    print(f"{media_s / 3600:.2f} h of media: {first:.0f} MB after the first minute,")
    print(
        f"  at most {peak:.0f} MB later: growth {peak - first:.1f} MB (at most {GROWTH_LIMIT_MB:g})"
    )
    step = max(1, len(memory_mb) // _SHOWN)
    print("  " + " ".join(f"{value:.0f}" for value in memory_mb[::step]))
    print(
        json.dumps(
            {
                "bench": "memory",
                "bundle": version,
                "media_s": round(media_s, 1),
                "first_minute_mb": round(first, 1),
                "peak_mb": round(peak, 1),
                "growth_mb": round(peak - first, 1),
                "machine": describe(),
            }
        )
    )


def measure(
    hours: float, bundle: str, threads: int | None, scratch: Path
) -> tuple[float, list[float], str]:
    """Seconds of media, resident memory (MB) at the end of each minute of it, and the bundle's version."""
    import psutil

    process = psutil.Process()
    memory_mb: list[float] = []
    path = write_demo_recording(hours * 3600, scratch)
    with (
        Recognizer.open(bundle, threads=threads) as recognizer,
        recognizer.session(path) as session,
        OutputFolder(scratch / "out", FORMATS, recognizer, session.name) as folder,
    ):
        for hop in session:
            folder.push(hop, session.results_end_us)
            if hop.readings and hop.readings[0][0].end_us >= (len(memory_mb) + 1) * 60_000_000:
                memory_mb.append(process.memory_info().rss / 1e6)
        assert session.ended is not None
        folder.commit(path, session.ended)
        manifest = recognizer.bundle.manifest
        return session.end_us / 1e6, memory_mb, f"{manifest.name} {manifest.version}"
