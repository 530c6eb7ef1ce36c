"""Draws the results on some scored frames, to check them by eye.

Of each person: the box, the landmarks, the axes of the head (red to the subject's left, green down, blue
where the face points), where the eyes look (yellow, from between them), how open eyes and mouth are, the
label and the attention.

    affectstream bench overlay interview.mp4 --output pictures
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from affectstream.stream.faces.face import Face
from affectstream.stream.faces.pose import Pose
from affectstream.stream.fusion.reading import Reading
from affectstream.stream.media.picture import to_rgb
from affectstream.stream.media.recording import Recording
from affectstream.stream.media.types import Frame
from affectstream.stream.recognizer import Recognizer
from affectstream.stream.results.attention import AttentionReading

_BOX_COLOR, _LANDMARK_COLOR, _OUTLINE = (255, 220, 60), (90, 230, 120), (0, 0, 0)
_AXIS_COLORS = (255, 60, 60), (60, 255, 60), (80, 140, 255)
_GAZE_COLOR = (255, 235, 0)

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
        face, reach = sample.face, 0.5 * sample.face.side
        points = face.landmarks if face.geometry is None else face.geometry.landmarks
        for x, y in points:
            radius = 2 * unit if face.geometry is None else unit
            cv2.circle(out, (round(float(x)), round(float(y))), radius, _LANDMARK_COLOR, -1)
        if face.pose is not None:
            for axis, color in zip(_axes(face.pose), _AXIS_COLORS, strict=True):
                _arrow(out, face.landmarks[2], axis * reach, color, unit)
        if face.gaze is not None:
            looks = -Pose(*face.gaze, 0.0).rotation[:, 2]
            _arrow(out, face.landmarks[:2].mean(0), looks * reach, _GAZE_COLOR, unit)
        label = f"{reading.track} {reading.label or reading.abstain}"
        if reading.label is not None:
            label += f" {reading.confidence:.0%}"
        text_top = min(out.shape[0] - 20 * unit, bottom + 14 * unit)
        for row, text in enumerate((label, _state(attention), _opening(face))):
            for color, width in ((_OUTLINE, 3 * unit), (_BOX_COLOR, unit)):
                place, size = (left, text_top + 14 * unit * row), 0.42 * unit
                cv2.putText(out, text, place, cv2.FONT_HERSHEY_SIMPLEX, size, color, width)
    return out


def _state(attention: AttentionReading | None) -> str:
    if attention is None:
        return ""
    score = "" if attention.score is None else f" {attention.score:.2f}"
    return f"{attention.state}{score}"


def _opening(face: Face) -> str:
    if face.eyes_open is None or face.mouth_open is None:
        return ""
    return f"eyes {face.eyes_open:.0%} mouth {face.mouth_open:.0%}"


def _axes(pose: Pose) -> Sequence[NDArray[np.float64]]:
    rotation = pose.rotation
    return rotation[:, 0], rotation[:, 1], -rotation[:, 2]


def _arrow(
    out: NDArray[np.uint8],
    start: NDArray[np.float32],
    along: NDArray[np.float64],
    color: tuple[int, int, int],
    unit: int,
) -> None:
    x, y = float(start[0]), float(start[1])
    end = (round(x + float(along[0])), round(y + float(along[1])))
    cv2.arrowedLine(out, (round(x), round(y)), end, color, unit, cv2.LINE_AA, tipLength=0.2)


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
                readings = by_frame_us[item.pts_us]
                # Scoring may have turned the recording: the places of the faces are in the upright picture.
                sample = next(r.track_sample for r, _ in readings if r.track_sample)
                upright = replace(item, rotation=sample.rotation)
                picture = draw(to_rgb(upright, pixel_aspect=aspect), readings)
                path = output / f"{file.stem}_{item.pts_us / 1e6:07.2f}.png"
                cv2.imwrite(str(path), picture[:, :, ::-1])
                print(path)


def _evenly(hops: Sequence[_Readings], count: int) -> list[_Readings]:
    """Up to `count` of `hops`, evenly spaced, each once."""
    if not hops:
        return []
    return [hops[i] for i in np.unique(np.linspace(0, len(hops) - 1, count).astype(int))]
