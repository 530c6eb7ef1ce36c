"""Draws the results on some scored frames, to check them by eye.

Of each person: the box, the five landmarks, the axes of the head (red to the subject's left, green down,
blue where the face points), the label and the attention.

    affectstream bench overlay interview.mp4 --output pictures
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from affectstream.stream.fusion.reading import Reading
from affectstream.stream.media.picture import to_rgb
from affectstream.stream.media.recording import Recording
from affectstream.stream.media.types import Frame
from affectstream.stream.recognizer import Recognizer
from affectstream.stream.results.attention import AttentionReading

_BOX_COLOR, _LANDMARK_COLOR, _OUTLINE = (255, 220, 60), (90, 230, 120), (0, 0, 0)
_AXIS_COLORS = (255, 60, 60), (60, 255, 60), (80, 140, 255)

_Readings = Sequence[tuple[Reading, AttentionReading | None]]


def draw(rgb: NDArray[np.uint8], readings: _Readings) -> NDArray[np.uint8]:
    """A copy of `rgb` (H, W, 3) uint8 RGB with each reading that has a face drawn on it."""
    out = rgb.copy()
    unit = max(1, round(rgb.shape[0] / 360))
    for reading, attention in readings:
        sample = reading.track_sample
        if sample is None:
            continue
        left, top, right, bottom = (round(v) for v in sample.face.box)
        cv2.rectangle(out, (left, top), (right, bottom), _BOX_COLOR, unit)
        for x, y in sample.face.landmarks:
            cv2.circle(out, (round(float(x)), round(float(y))), 2 * unit, _LANDMARK_COLOR, -1)
        if sample.pose is not None:
            _axes(out, sample.face.landmarks[2], sample.pose.rotation, 0.5 * sample.face.side, unit)
        label = f"{reading.track} {reading.label or reading.abstain}"
        if reading.label is not None:
            label += f" {reading.confidence:.0%}"
        text_top = min(out.shape[0] - 20 * unit, bottom + 14 * unit)
        for row, text in enumerate((label, "" if attention is None else attention.state)):
            for color, width in ((_OUTLINE, 3 * unit), (_BOX_COLOR, unit)):
                place, size = (left, text_top + 14 * unit * row), 0.42 * unit
                cv2.putText(out, text, place, cv2.FONT_HERSHEY_SIMPLEX, size, color, width)
    return out


def _axes(
    out: NDArray[np.uint8],
    nose: NDArray[np.float32],
    rotation: NDArray[np.float64],
    length: float,
    unit: int,
) -> None:
    start = (round(float(nose[0])), round(float(nose[1])))
    axes = (rotation[:, 0], rotation[:, 1], -rotation[:, 2])
    for axis, color in zip(axes, _AXIS_COLORS, strict=True):
        end = (round(float(nose[0] + axis[0] * length)), round(float(nose[1] + axis[1] * length)))
        cv2.arrowedLine(out, start, end, color, unit, cv2.LINE_AA, tipLength=0.2)


def main(file: Path, output: Path, count: int, bundle: str) -> None:
    """Score `file`, choose `count` hops with faces evenly, and write a PNG for each."""
    output.mkdir(parents=True, exist_ok=True)
    with Recognizer.open(bundle) as recognizer, recognizer.session(file) as session:
        hops = [hop.readings for hop in session if any(r.track_sample for r, _ in hop.readings)]
        aspect = session.info.video.pixel_aspect if session.info.video else 1.0
    by_frame_us = {
        max(r.track_sample.pts_us for r, _ in hop if r.track_sample): hop
        for hop in _evenly(hops, count)
    }
    with Recording.open(file) as recording:
        for item in recording:
            if isinstance(item, Frame) and item.pts_us in by_frame_us:
                picture = draw(to_rgb(item, pixel_aspect=aspect), by_frame_us[item.pts_us])
                path = output / f"{file.stem}_{item.pts_us / 1e6:07.2f}.png"
                cv2.imwrite(str(path), picture[:, :, ::-1])
                print(path)


def _evenly(hops: Sequence[_Readings], count: int) -> list[_Readings]:
    """Up to `count` of `hops`, evenly spaced, each once."""
    if not hops:
        return []
    return [hops[i] for i in np.unique(np.linspace(0, len(hops) - 1, count).astype(int))]
