"""Roll of portraits that are turned by known angles.

Each portrait is turned in steps and every step is shown for two hops; the reading of the second counts.
So detector and pose are measured together. Each portrait has an offset of its own, the roll of the head
in it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from affectstream.bench.behaviour import intervals
from affectstream.bench.behaviour.material.media import Picture, write_video
from affectstream.bench.behaviour.material.portraits import Portrait, portraits
from affectstream.bench.behaviour.report import Measure, NotMeasured, Promise, Report, Tile
from affectstream.bench.behaviour.workbench import Workbench, largest_faces

ANGLES = (-45, -30, -15, 0, 15, 30, 45)
"""Degrees, clockwise."""
_HOPS = 2
"""How long each angle is shown."""


@dataclass(frozen=True, slots=True)
class Turned:
    """Roll that was read of one portrait, for each angle at which it has a face."""

    name: str
    rolls: dict[int, float]

    @property
    def errors(self) -> list[float]:
        """Roll minus angle, without the portrait's own offset."""
        raw = [roll - angle for angle, roll in self.rolls.items()]
        offset = float(np.median(raw)) if raw else 0.0
        return [error - offset for error in raw]


def measure(bench: Workbench) -> Report:
    """Slope and residual of roll against the angle."""
    shown = portraits(bench)
    turned = [turn(bench, portrait) for portrait in shown]
    usable = [one for one in turned if len(one.rolls) >= 3]
    found, shots = sum(len(one.rolls) for one in turned), len(ANGLES) * len(turned)
    if not usable:
        raise NotMeasured("no portrait has a face at three angles")
    errors = [error for one in usable for error in one.errors]
    return Report(
        measures=(
            Measure(
                "slope",
                slope(usable),
                len(usable),
                interval=intervals.bootstrap(slope, usable),
                promise=Promise(0.95, 1.05),
            ),
            Measure(
                "residual (RMS)",
                residual(usable),
                len(usable),
                "degrees",
                intervals.bootstrap(residual, usable),
                Promise(at_most=3.0),
            ),
            Measure("error, median", float(np.median(np.abs(errors))), len(errors), "degrees"),
            Measure("largest error", max(abs(error) for error in errors), len(errors), "degrees"),
            Measure("found", 100 * found / shots, shots, "%", intervals.share(found, shots)),
        ),
        tiles=tuple(_tile(*pair) for pair in list(zip(shown, turned, strict=True))[::3]),
    )


def slope(turned: Sequence[Turned]) -> float:
    """The common slope of roll against the angle, each portrait with its own offset."""
    across, along = _centered(turned)
    return float(across @ along / (across @ across))


def residual(turned: Sequence[Turned]) -> float:
    """Root of the mean squared distance to the common line."""
    across, along = _centered(turned)
    return float(np.sqrt(np.mean((along - slope(turned) * across) ** 2)))


def _centered(turned: Sequence[Turned]) -> tuple[np.ndarray, np.ndarray]:
    across, along = [], []
    for one in turned:
        angles, rolls = np.array(list(one.rolls)), np.array(list(one.rolls.values()))
        across.append(angles - angles.mean())
        along.append(rolls - rolls.mean())
    return np.concatenate(across), np.concatenate(along)


def turn(bench: Workbench, portrait: Portrait) -> Turned:
    """Show `portrait` at every angle and read its roll."""
    repeats = round(bench.hop_s * bench.frame_hz) * _HOPS
    pictures = [rotate(portrait.picture, a) for a in ANGLES for _ in range(repeats)]
    path = write_video(bench.folder / f"turned_{portrait.name}.mp4", pictures, bench.frame_hz)
    rows = {row["hop"]: row for row in largest_faces(bench.rows(path, ("video",)))}
    rolls = {}
    for number, angle in enumerate(ANGLES):
        row = rows.get(number * _HOPS + _HOPS - 1)
        if row is not None and row["roll"] is not None:
            rolls[angle] = float(row["roll"])
    return Turned(portrait.name, rolls)


def rotate(picture: Picture, clockwise: float) -> Picture:
    """`picture` turned about its middle, with its mean color around it; large enough to hold all of it."""
    height, width = picture.shape[:2]
    side = min(math.ceil(math.hypot(height, width)), round(1.25 * max(height, width))) // 2 * 2
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), -clockwise, 1.0)
    matrix[:, 2] += (side - width) / 2, (side - height) / 2
    color = picture.mean(axis=(0, 1)).tolist()
    turned = cv2.warpAffine(picture, matrix, (side, side), flags=cv2.INTER_AREA, borderValue=color)
    return np.asarray(turned, np.uint8)


def _tile(portrait: Portrait, turned: Turned) -> Tile:
    angle = 30
    roll = turned.rolls.get(angle)
    text = (
        "no face"
        if roll is None
        else f"{angle}: {roll:.0f}, 0: {turned.rolls.get(0, math.nan):.0f}"
    )
    good = roll is not None and abs(roll - turned.rolls.get(0, math.inf) - angle) < 5
    return Tile(rotate(portrait.picture, angle), text, good)
