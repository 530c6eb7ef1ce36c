"""Whether memory stays flat over a long recording.

The recording is the demo's clip repeated (packets copied). Resident memory is read at each minute of
media; growth is the largest reading after the first minute minus the reading there.

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


def main(hours: float, bundle: str, threads: int | None) -> None:
    """Measure and print."""
    import psutil

    process = psutil.Process()
    readings: list[float] = []
    with TemporaryDirectory() as scratch, Recognizer.open(bundle, threads=threads) as recognizer:
        path = write_demo_recording(hours * 3600, Path(scratch))
        with (
            recognizer.session(path) as session,
            OutputFolder(Path(scratch) / "out", tuple(FORMATS), recognizer) as folder,
        ):
            for hop in session:
                folder.push(hop, session.end_us)
                if hop.readings and hop.readings[0][0].end_us >= (len(readings) + 1) * 60_000_000:
                    readings.append(process.memory_info().rss / 1e6)
            assert session.ended is not None
            folder.commit(path, session.ended)
            media_s = session.end_us / 1e6
    growth = max(readings) - readings[0]
    print(f"{media_s / 3600:.2f} h of media: {readings[0]:.0f} MB after the first minute,")
    print(
        f"  at most {max(readings):.0f} MB later: growth {growth:.1f} MB (at most {GROWTH_LIMIT_MB:g})"
    )
    step = max(1, len(readings) // 12)
    print("  " + " ".join(f"{reading:.0f}" for reading in readings[::step]))
    print(
        json.dumps(
            {
                "bench": "memory",
                "media_s": round(media_s, 1),
                "first_minute_mb": round(readings[0], 1),
                "peak_mb": round(max(readings), 1),
                "growth_mb": round(growth, 1),
                "machine": describe(),
            }
        )
    )
