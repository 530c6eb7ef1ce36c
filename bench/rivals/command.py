"""Other software on the same recording, compared with `affectstream score` pair by pair.

Each rival runs in a process and an environment of its own, and makes the same passes as ours over the same
recording, decoding included; opening models does not count. Passes alternate (ours, theirs, theirs, ours,
...), so that a busy moment spoils one pair, and each ratio is the median over the pairs. The work is not the
same: the table says how many pictures each looks at and what comes out, and `ms a look` sets the processor
time in relation to the pictures that were looked at.

    affectstream bench rivals --clip interview.mp4 --environments rivals
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import av

from affectstream.bench.distribution import SPREAD, spread
from affectstream.bench.machine import describe
from affectstream.bench.output import finish, tables
from affectstream.bench.recordings import scale_clip, write_demo_recording
from affectstream.bench.rivals.environments import NotInstalled, find_python
from affectstream.bench.rivals.process import Pass, RivalFailed, RivalProcess, running
from affectstream.bench.rivals.rival import OURS, Rival, rivals
from affectstream.engines.bundle.folder import find_bundle, read_manifest
from affectstream.engines.errors import UsageError
from affectstream.stream.errors import SourceError

HEADER = (
    f"{'rival':28}{'pictures':>10}{'looks':>7}{'faces':>7}{'x real time':>12}{'cpu s':>8}"
    f"{'ms a look':>11}{'MB':>7}{'wall ratio':>12}{'cpu ratio':>11}"
)
_SIZE = (640, 360)
"""Of the demo's clip here."""


def main(
    clip: Path | None,
    bundle: str,
    names: Sequence[str],
    environments: Path | None,
    pythons: Mapping[str, Path],
    seconds: float,
    repeats: int,
    output: Path | None,
    *,
    as_json: bool = False,
) -> None:
    """Measure and print, JSON last; with `as_json` nothing else. With `output` also write it there.

    Raises `UsageError` for an unknown rival, `SourceError` if `clip` cannot be used.
    """
    known = rivals()
    for name in (*names, *pythons):
        if name not in known or name == OURS:
            raise UsageError(
                f"{name!r} is no rival: expected one of {', '.join(n for n in known if n != OURS)}"
            )
    load = round(os.getloadavg()[0], 2)
    chosen = [known[name] for name in known if name != OURS and (not names or name in names)]
    with tables(hidden=as_json):
        with TemporaryDirectory() as scratch:
            path = _demo(seconds, Path(scratch)) if clip is None else clip
            rows = _measure(path, bundle, known[OURS], chosen, environments, pythons, repeats)
            media_s = _duration(path)
        result = {
            "bench": "rivals",
            "bundle": bundle,
            "source": "demo" if clip is None else clip.name,
            "media_s": round(media_s, 2),
            "rounds": repeats,
            "load_before": load,
            "rows": rows,
            "machine": describe(),
        }
    finish("rivals", result, output)


def _demo(seconds: float, folder: Path) -> Path:
    return scale_clip(write_demo_recording(seconds, folder), *_SIZE, folder / "demo.mp4", seconds)


def _duration(path: Path) -> float:
    try:
        with av.open(str(path)) as container:
            pictures, duration = container.streams.video, container.duration
    except (OSError, av.FFmpegError) as error:
        raise SourceError(f"{path}: cannot be opened: {error}") from None
    if not pictures or not duration:
        raise SourceError(f"{path}: expected a recording with pictures that states its duration")
    return float(duration / 1e6)


def _measure(
    path: Path,
    bundle: str,
    ours: Rival,
    chosen: Sequence[Rival],
    environments: Path | None,
    pythons: Mapping[str, Path],
    repeats: int,
) -> list[dict[str, Any]]:
    """A row for each rival at all pictures, one at our rate where we choose the pictures, and ours first."""
    media_s = _duration(path)
    hz = float(read_manifest(find_bundle(bundle)).frame_hz)
    rows: list[dict[str, Any]] = []
    print(HEADER, flush=True)

    def keep(row: dict[str, Any]) -> None:
        rows.append(row)
        print(line(row), flush=True)

    with running(ours, find_python(ours, {}, None), path, bundle, 0.0) as base:
        own = [base.run() for _ in range(repeats)]
        keep(_figures(ours, hz, own, media_s))
        for rival in chosen:
            for rate in (0.0,) if rival.all_pictures_only else (0.0, hz):
                try:
                    python = find_python(rival, pythons, environments)
                    with running(rival, python, path, bundle, rate) as process:
                        pairs = run_pairs(base, process, repeats)
                except (NotInstalled, RivalFailed) as error:
                    keep({**_names(rival, rate), "not_run": str(error)})
                    break
                theirs = _figures(rival, rate, [other for _, other in pairs], media_s)
                keep(theirs | {"versions": process.versions} | ratios(pairs))
    for row in rows:
        print(f"{row['title']}: {row['computes']}")
    return rows


def run_pairs(ours: RivalProcess, theirs: RivalProcess, count: int) -> list[tuple[Pass, Pass]]:
    """`count` pairs of passes (ours, theirs); whose turn comes first alternates."""
    pairs = []
    for number in range(count):
        if number % 2:
            other, own = theirs.run(), ours.run()
        else:
            own, other = ours.run(), theirs.run()
        pairs.append((own, other))
    return pairs


def ratios(pairs: Sequence[tuple[Pass, Pass]]) -> dict[str, Any]:
    """Theirs over ours, pair by pair: the median of wall and of processor time, and how far they vary."""
    walls = [other.wall_s / own.wall_s for own, other in pairs]
    cpus = [other.cpu_s / own.cpu_s for own, other in pairs]
    difference = spread([[ratio] for ratio in cpus])
    return {
        "wall_ratio": round(median(walls), 3),
        "cpu_ratio": round(median(cpus), 3),
        "spread": round(difference, 3),
        "stable": len(pairs) >= 3 and difference <= SPREAD,
    }


def _names(rival: Rival, hz: float) -> dict[str, Any]:
    rate = f", {hz:g} Hz" if hz else ""
    return {"rival": rival.name, "title": rival.title + rate, "computes": rival.computes}


def _figures(rival: Rival, hz: float, passes: Sequence[Pass], media_s: float) -> dict[str, Any]:
    wall_s, cpu_s = median(p.wall_s for p in passes), median(p.cpu_s for p in passes)
    last = passes[-1]
    return {
        **_names(rival, hz),
        "frames": last.frames,
        "looks": last.looks,
        "faces": last.faces,
        "realtime": round(media_s / wall_s, 2),
        "wall_s": round(wall_s, 3),
        "cpu_s": round(cpu_s, 3),
        "cpu_ms_per_look": round(1e3 * cpu_s / max(1, last.looks), 2),
        "peak_mb": round(max(p.peak_mb for p in passes)),
    }


def line(row: dict[str, Any]) -> str:
    """The row of the table below `HEADER`."""
    if "not_run" in row:
        return f"{row['title']:28}  not run: {row['not_run']}"
    cells = (
        f"{row['title']:28}{row['frames']:10}{row['looks']:7}{row['faces']:7}{row['realtime']:12.1f}"
        f"{row['cpu_s']:8.2f}{row['cpu_ms_per_look']:11.1f}{row['peak_mb']:7.0f}"
    )
    if "wall_ratio" not in row:
        return cells
    unstable = "" if row["stable"] else "  unstable"
    return f"{cells}{row['wall_ratio']:12.2f}{row['cpu_ratio']:11.2f}{unstable}"
