"""How soon the label follows a face that changes its expression.

Material: two pictures of one recording whose labels differ when each is shown alone, spliced together. The
labels are the bundle's own, so this measures the delay and not whether a label is right. A change is made at
several places within a hop. The delay ends when the first hop with the new label does, since it is known
then.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import permutations
from pathlib import Path

import numpy as np

from affectstream.bench.behaviour import intervals
from affectstream.bench.behaviour.media import Picture, duration_s, read_pictures, write_video
from affectstream.bench.behaviour.report import Measure, NotMeasured, Promise, Report, Tile
from affectstream.bench.behaviour.workbench import Row, Workbench, largest_faces

_PICTURES = 6
"""Pictures of a recording that are shown alone."""
_PAIRS = 2
"""Pairs of a recording that are spliced, both ways."""
_BEFORE_S, _AFTER_S, _RATE = 3.5, 3.0, 16
_PHASES = (0.0, 0.5)
"""Where in a hop the change is, in hops; splices take turns."""


@dataclass(frozen=True, slots=True, eq=False)
class Expression:
    """A picture and the label that it keeps when it is shown alone."""

    picture: Picture
    label: str
    confidence: float


@dataclass(frozen=True, slots=True)
class Splice:
    """One change. `delay_s` is None if the new label never came."""

    recording: str
    before: str
    after: str
    delay_s: float | None


def measure(bench: Workbench) -> Report:
    """Median and longest delay, and the share that the promise covers."""
    splices: list[Splice] = []
    tiles: list[Tile] = []
    for clip in bench.clips():
        found = expressions(bench, clip)
        for number, (one, other) in enumerate(_pairs(found)):
            path = bench.folder / f"splice_{clip.stem}_{number}.mp4"
            phase = _PHASES[len(splices) % len(_PHASES)]
            splices.append(splice(bench, path, clip.stem, one, other, phase))
            if number == 0:
                tiles.append(_tile(one, other, splices[-1]))
    if not splices:
        raise NotMeasured("no recording has two pictures with different labels")
    delays = [np.inf if s.delay_s is None else s.delay_s for s in splices]
    reached = [d for d in delays if np.isfinite(d)]
    in_time = sum(d <= 0.5 + 1e-6 for d in delays)
    by_clip = [
        [d for d, s in zip(delays, splices, strict=True) if s.recording == name]
        for name in dict.fromkeys(s.recording for s in splices)
    ]
    return Report(
        measures=(
            Measure(
                "delay, median",
                float(np.median(delays)),
                len(delays),
                "s",
                intervals.bootstrap(_median, by_clip),
                Promise(at_most=0.5),
            ),
            Measure("delay, longest", max(reached, default=None), len(reached), "s"),
            Measure(
                "within 0.5 s",
                100 * in_time / len(delays),
                len(delays),
                "%",
                intervals.share(in_time, len(delays)),
            ),
            Measure(
                "label came at all",
                100 * len(reached) / len(delays),
                len(delays),
                "%",
                intervals.share(len(reached), len(delays)),
                Promise(at_least=99.0),
            ),
        ),
        tiles=tuple(tiles),
    )


def _median(groups: Sequence[Sequence[float]]) -> float:
    return float(np.median([value for group in groups for value in group]))


def expressions(bench: Workbench, clip: Path) -> list[Expression]:
    """Pictures of `clip`, shown alone for as long as a window, that keep one label at the end."""
    length = duration_s(clip)
    pictures = read_pictures(clip, (np.linspace(0.05, 0.95, _PICTURES) * length).tolist())
    found = []
    for number, picture in enumerate(pictures):
        path = bench.folder / f"alone_{clip.stem}_{number}.mp4"
        write_video(path, _hold(picture, _BEFORE_S, bench.frame_hz), bench.frame_hz)
        rows = list(largest_faces(bench.rows(path, ("video",))))[-2:]
        labels = {row["label"] for row in rows}
        if len(rows) == 2 and len(labels) == 1 and None not in labels:
            found.append(Expression(picture, labels.pop(), rows[-1]["confidence"]))
    return found


def _pairs(found: Sequence[Expression]) -> list[tuple[Expression, Expression]]:
    """Both ways, of pictures with different labels; the most certain first."""
    pairs = [(a, b) for a, b in permutations(found, 2) if a.label != b.label]
    pairs.sort(key=lambda pair: -min(pair[0].confidence, pair[1].confidence))
    return pairs[: 2 * _PAIRS]


def splice(
    bench: Workbench, path: Path, recording: str, one: Expression, other: Expression, phase: float
) -> Splice:
    """Show `one` and then `other`, and measure when the label changes."""
    change_s = _BEFORE_S + phase * bench.hop_s
    pictures = [*_hold(one.picture, change_s, _RATE), *_hold(other.picture, _AFTER_S, _RATE)]
    write_video(path, pictures, _RATE)
    rows = largest_faces(bench.rows(path, ("video",)))
    known_s = _known_s(rows, change_s, other.label)
    delay_s = None if known_s is None else known_s - change_s
    return Splice(recording, one.label, other.label, delay_s)


def _known_s(rows: Iterator[Row], change_s: float, label: str) -> float | None:
    for row in rows:
        if row["t_end"] > change_s + 1e-6 and row["label"] == label:
            return float(row["t_end"])
    return None


def _hold(picture: Picture, seconds: float, rate: int) -> Iterator[Picture]:
    for _ in range(round(seconds * rate)):
        yield picture


def _tile(one: Expression, other: Expression, result: Splice) -> Tile:
    both = np.concatenate([one.picture, other.picture], axis=1)
    delay = "never" if result.delay_s is None else f"{result.delay_s:.2f} s"
    good = result.delay_s is not None and result.delay_s <= 0.5
    return Tile(both, f"{one.label} > {other.label}: {delay}", good)
