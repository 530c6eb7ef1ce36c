"""How soon the label follows a face that changes its expression.

Material: two pictures of one recording whose labels differ when each is shown alone, spliced together. A
recording with more than one person in a shot (see `people`) is left out: its splices cut from one person
to another. The labels are the bundle's own, so this measures the delay and not whether a label is right. A
change is made at several places within a hop. The delay ends where the first hop with the new label begins:
that is how late the label is in the results. A live listener knows it when that hop ends.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import permutations
from pathlib import Path

import numpy as np

from affectstream.bench.behaviour.material.media import (
    Picture,
    duration_s,
    read_pictures,
    write_video,
)
from affectstream.bench.behaviour.report import NotMeasured, Report, Tile
from affectstream.bench.behaviour.sections.change import PROMISED_S, Change, Splice, reports_of
from affectstream.bench.behaviour.sections.people import SHOTS
from affectstream.bench.behaviour.workbench import Workbench, largest_faces

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


def measure(bench: Workbench) -> Report:
    """Median and longest delay, and the share that the promise covers."""
    splices: list[Splice] = []
    tiles: list[Tile] = []
    for clip in filter(shows_one_person, bench.clips()):
        found = expressions(bench, clip)
        for number, (one, other) in enumerate(_pairs(found)):
            path = bench.folder / f"splice_{clip.stem}_{number}.mp4"
            phase = _PHASES[len(splices) % len(_PHASES)]
            splices.append(splice(bench, path, clip.stem, one, other, phase))
            if number == 0:
                tiles.append(_tile(one, other, splices[-1]))
    if not splices:
        raise NotMeasured("no recording has two pictures with different labels")
    return Report(reports_of(splices), tiles=tuple(tiles))


def shows_one_person(clip: Path) -> bool:
    """Whether nobody counted more than one person in a shot of `clip`."""
    return all(shot.people <= 1 for shot in SHOTS if shot.recording == clip.name)


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
    result = bench.score(path, ("video",))
    rows = largest_faces(result.readings.to_pylist())
    change = Change(recording, one.label, other.label, change_s)
    return change.followed(rows, result.events)


def _hold(picture: Picture, seconds: float, rate: int) -> Iterator[Picture]:
    for _ in range(round(seconds * rate)):
        yield picture


def _tile(one: Expression, other: Expression, result: Splice) -> Tile:
    both = np.concatenate([one.picture, other.picture], axis=1)
    delay = f"{result.delay_s:.2f} s" if math.isfinite(result.delay_s) else "never"
    return Tile(both, f"{one.label} > {other.label}: {delay}", result.delay_s <= PROMISED_S)
