"""Scored frames with what was found drawn on them, to be looked at.

For some hops of a recording: the box, the five landmarks, the axes of the head (red to the subject's
left, green down, blue where the face points), the label and the attention of each person.

    affectstream bench overlay interview.mp4 --output pictures
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from affectstream.stream.fusion.fuse import Reading
from affectstream.stream.media.picture import to_rgb
from affectstream.stream.media.recording import Recording
from affectstream.stream.media.types import Frame
from affectstream.stream.recognizer import Recognizer
from affectstream.stream.results.attention import AttentionReading

_INK, _GOOD = (255, 220, 60), (90, 230, 120)

Shown = tuple[Reading, AttentionReading | None]


def draw(rgb: NDArray[np.uint8], shown: Iterable[Shown]) -> NDArray[np.uint8]:
    """A copy of `rgb` (H, W, 3) with each reading that has a face drawn on it."""
    out = rgb.copy()
    unit = max(1, round(rgb.shape[0] / 360))
    for reading, attention in shown:
        look = reading.track_sample
        if look is None:
            continue
        left, top, right, bottom = (round(v) for v in look.face.box)
        cv2.rectangle(out, (left, top), (right, bottom), _INK, unit)
        for x, y in look.face.landmarks:
            cv2.circle(out, (round(float(x)), round(float(y))), 2 * unit, _GOOD, -1)
        if look.pose is not None:
            _axes(out, look.face.landmarks[2], look.pose.rotation, 0.5 * look.face.side, unit)
        what = f"{reading.track} {reading.label or reading.abstain}"
        if reading.label is not None:
            what += f" {reading.confidence:.0%}"
        words = [what, "" if attention is None else attention.state]
        for row, text in enumerate(words):
            place = (left, min(out.shape[0] - 20 * unit, bottom + 14 * unit) + 14 * unit * row)
            cv2.putText(
                out, text, place, cv2.FONT_HERSHEY_SIMPLEX, 0.42 * unit, (0, 0, 0), 3 * unit
            )
            cv2.putText(out, text, place, cv2.FONT_HERSHEY_SIMPLEX, 0.42 * unit, _INK, unit)
    return out


def _axes(
    out: NDArray[np.uint8],
    nose: NDArray[np.float32],
    rotation: NDArray[np.float64],
    length: float,
    unit: int,
) -> None:
    start = (round(float(nose[0])), round(float(nose[1])))
    colours = ((255, 60, 60), (60, 255, 60), (80, 140, 255))
    for axis, colour in zip(
        (rotation[:, 0], rotation[:, 1], -rotation[:, 2]), colours, strict=True
    ):
        end = (round(float(nose[0] + axis[0] * length)), round(float(nose[1] + axis[1] * length)))
        cv2.arrowedLine(out, start, end, colour, unit, cv2.LINE_AA, tipLength=0.2)


def main(file: Path, output: Path, count: int, bundle: str) -> None:
    """Score `file`, choose `count` hops with faces evenly, and write a PNG for each."""
    output.mkdir(parents=True, exist_ok=True)
    with Recognizer.open(bundle) as recognizer, recognizer.session(file) as session:
        hops = [hop.readings for hop in session if any(r.track_sample for r, _ in hop.readings)]
        aspect = session.info.video.pixel_aspect if session.info.video else 1.0
    chosen = (
        [hops[i] for i in np.unique(np.linspace(0, len(hops) - 1, count).astype(int))]
        if hops
        else []
    )
    wanted = {max(r.look.pts_us for r, _ in hop if r.look): hop for hop in chosen}
    with Recording.open(file) as recording:
        for item in recording:
            if isinstance(item, Frame) and item.pts_us in wanted:
                picture = draw(to_rgb(item, pixel_aspect=aspect), wanted[item.pts_us])
                path = output / f"{file.stem}_{item.pts_us / 1e6:07.2f}.png"
                cv2.imwrite(str(path), picture[:, :, ::-1])
                print(path)
