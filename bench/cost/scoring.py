"""What `score` costs, with faces in view, with resolution, and with the length of a recording."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from statistics import fmean, median
from tempfile import TemporaryDirectory
from typing import TypeVar

from affectstream.bench.cost.crowd import cut_cells, write_crowd
from affectstream.bench.cost.growth import Growth, Point
from affectstream.bench.machine import peak_memory_mb
from affectstream.bench.recordings import repeat_clip, scale_clip
from affectstream.bench.score.resolutions import SIZES
from affectstream.engines.errors import UsageError
from affectstream.stream.faces.detection.find import FaceFinder
from affectstream.stream.offline.output import OutputFolder
from affectstream.stream.recognizer import Recognizer
from affectstream.stream.sinks import DEFAULT_FORMATS

Key = TypeVar("Key", int, str)


@dataclass(frozen=True, slots=True)
class Run:
    """One recording, scored once. Times are seconds; `faces` the mean number of people in a hop."""

    media_s: float
    wall_s: float
    cpu_s: float
    faces: float
    peak_mb: float = 0.0

    @property
    def cpu_ms_per_s(self) -> float:
        """Processor time in ms for each second of media."""
        return 1e3 * self.cpu_s / self.media_s


def by_faces(
    clip: Path, recognizer: Recognizer, counts: Sequence[int], seconds: float, rounds: int
) -> Growth:
    """The cost of recordings with so many faces in view, all of one size.

    Raises `UsageError` for a bundle without a face detector and a clip without a face.
    """
    finder = FaceFinder.from_bundle(recognizer.bundle)
    if finder is None:
        raise UsageError("the bundle has no face detector: leave 'faces' out of --only")
    cells = cut_cells(clip, finder)
    with TemporaryDirectory() as scratch:
        files = {
            count: write_crowd(cells, clip, count, Path(scratch, f"{count}.mp4"), seconds)
            for count in counts
        }
        runs = _alternate(recognizer, files, rounds)
    points = (
        _point(f"{count}", fmean(run.faces for run in runs[count]), runs[count]) for count in counts
    )
    return Growth("faces", tuple(points))


def by_resolution(
    clip: Path, recognizer: Recognizer, sizes: Sequence[str], seconds: float, rounds: int
) -> Growth:
    """The cost of one recording at each of `sizes`, which `SIZES` names."""
    with TemporaryDirectory() as scratch:
        files = {
            size: scale_clip(clip, *SIZES[size], Path(scratch, f"{size}.mp4"), seconds)
            for size in sizes
        }
        runs = _alternate(recognizer, files, rounds)
    megapixels = {size: SIZES[size][0] * SIZES[size][1] / 1e6 for size in sizes}
    return Growth("resolution", tuple(_point(s, megapixels[s], runs[s]) for s in sizes))


def by_duration(
    clip: Path, bundle: str, device: str, minutes: Sequence[float], rounds: int
) -> Growth:
    """The cost of recordings of so many minutes: `clip` repeated, its packets copied.

    Each is scored in a process of its own, its results written to files, so that its memory is its own.
    """
    points = []
    for minute in minutes:
        with TemporaryDirectory() as scratch:
            path = repeat_clip(clip, 60 * minute, Path(scratch, f"long{clip.suffix}"))
            runs = []
            for _ in range(rounds):
                with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
                    runs.append(pool.submit(_score_long, clip, path, bundle, device).result())
        more = _more(runs) | {"peak MB": max(run.peak_mb for run in runs)}
        media_minutes = runs[0].media_s / 60
        points.append(
            Point(f"{minute:g} min", media_minutes, tuple(run.cpu_s for run in runs), more)
        )
    return Growth("duration", tuple(points))


def _score_long(warm: Path, path: Path, bundle: str, device: str) -> Run:
    """Score `path` into files, after `warm`, which does not count. Opening the bundle does not either."""
    with TemporaryDirectory() as scratch, Recognizer.open(bundle, device=device) as recognizer:
        _score(recognizer, warm)
        wall_s, cpu_s = time.perf_counter(), time.process_time()
        with (
            recognizer.session(path) as session,
            OutputFolder(Path(scratch, "out"), DEFAULT_FORMATS, recognizer, session.name) as folder,
        ):
            for hop in session:
                folder.push(hop, session.results_end_us)
            assert session.ended is not None
            folder.commit(path, session.ended)
            media_s = session.end_us / 1e6
        wall_s, cpu_s = time.perf_counter() - wall_s, time.process_time() - cpu_s
    return Run(media_s, wall_s, cpu_s, 0.0, peak_memory_mb())


def _alternate(
    recognizer: Recognizer, files: Mapping[Key, Path], rounds: int
) -> dict[Key, list[Run]]:
    """The runs of each recording. They take turns, so that a busy moment spoils one round of one of them."""
    for path in files.values():
        _score(recognizer, path)  # does not count
    runs: dict[Key, list[Run]] = {key: [] for key in files}
    for _ in range(rounds):
        for key, path in files.items():
            runs[key].append(_score(recognizer, path))
    return runs


def _score(recognizer: Recognizer, path: Path) -> Run:
    wall_s, cpu_s = time.perf_counter(), time.process_time()
    people = []
    with recognizer.session(path) as session:
        for hop in session:
            if hop.readings:
                people.append(len({reading.track for reading, _ in hop.readings} - {None}))
        media_s = session.end_us / 1e6
    wall_s, cpu_s = time.perf_counter() - wall_s, time.process_time() - cpu_s
    return Run(media_s, wall_s, cpu_s, fmean(people) if people else 0.0)


def _point(label: str, x: float, runs: Sequence[Run]) -> Point:
    return Point(label, x, tuple(run.cpu_ms_per_s for run in runs), _more(runs))


def _more(runs: Sequence[Run]) -> dict[str, float]:
    return {
        "wall s": median(run.wall_s for run in runs),
        "x real time": median(run.media_s / run.wall_s for run in runs),
    }
