"""How fast recordings of several sizes are scored, and what it costs beside decoding and inference.

The same clip is encoded at each size, so only the pictures differ. `throughput` says what is measured.

    affectstream bench throughput --sizes 360p,1080p,2160p
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from affectstream.bench.distribution import SPREAD, spread
from affectstream.bench.machine import describe
from affectstream.bench.output import finish, tables
from affectstream.bench.recordings import scale_clip, write_demo_recording
from affectstream.bench.score.throughput import Throughput, measure
from affectstream.engines.errors import UsageError

SIZES = {"360p": (640, 360), "720p": (1280, 720), "1080p": (1920, 1080), "2160p": (3840, 2160)}
"""Widths and heights by name."""
HEADER = (
    f"{'':8}{'x real time':>12}{'frames/s':>10}{'hops/s':>9}{'score s':>9}{'decode s':>9}"
    f"{'infer s':>9}{'cpu ratio':>11}{'wall ratio':>11}"
)


def main(
    file: Path | None,
    bundle: str,
    device: str,
    sizes: Sequence[str],
    seconds: float,
    repeats: int,
    output: Path | None,
    *,
    as_json: bool = False,
) -> None:
    """Measure and print, JSON last; with `as_json` nothing else. With `output` also write it there.

    Raises `UsageError` for an unknown size, `SourceError` for a file without pictures.
    """
    if unknown := [size for size in sizes if size not in SIZES]:
        raise UsageError(f"--sizes {unknown[0]}: expected some of {','.join(SIZES)}")
    with tables(hidden=as_json):
        print(HEADER, flush=True)
        rows = []
        with TemporaryDirectory() as scratch:
            clip = file or write_demo_recording(seconds, Path(scratch))
            for size in sizes:
                path = scale_clip(clip, *SIZES[size], Path(scratch, f"{size}.mp4"))
                rows.append(_row(size, measure(path, bundle, None, repeats, device=device)))
                path.unlink()
                print(_line(rows[-1]), flush=True)
    result = {
        "bench": "throughput",
        "bundle": bundle,
        "device": device,
        "source": "demo" if file is None else file.name,
        "rounds": repeats,
        "rows": rows,
        "machine": describe(),
    }
    finish("throughput", result, output)


def _row(size: str, found: Throughput) -> dict[str, Any]:
    score_s = found.score.wall_s
    difference = spread([[seconds] for seconds in found.rounds_s])
    return {
        "size": size,
        "media_s": round(found.media_s, 2),
        "threads": found.threads,
        "realtime": round(found.media_s / score_s, 2),
        "frames_per_s": round(found.frames / score_s, 1),
        "hops_per_s": round(found.hops / score_s, 2),
        "score_wall_s": round(score_s, 3),
        "decode_wall_s": round(found.decode.wall_s, 3),
        "inference_wall_s": round(found.inference.wall_s, 3),
        "score_cpu_s": round(found.score.cpu_s, 3),
        "decode_cpu_s": round(found.decode.cpu_s, 3),
        "inference_cpu_s": round(found.inference.cpu_s, 3),
        "cpu_ratio": round(found.cpu_ratio, 3),
        "wall_ratio": round(found.wall_ratio, 3),
        "spread": round(difference, 3),
        "stable": len(found.rounds_s) >= 3 and difference <= SPREAD,
    }


def _line(row: dict[str, Any]) -> str:
    return (
        f"{row['size']:8}{row['realtime']:12.1f}{row['frames_per_s']:10.0f}{row['hops_per_s']:9.1f}"
        f"{row['score_wall_s']:9.2f}{row['decode_wall_s']:9.2f}{row['inference_wall_s']:9.2f}"
        f"{row['cpu_ratio']:11.2f}{row['wall_ratio']:11.2f}{'' if row['stable'] else '  unstable'}"
    )
