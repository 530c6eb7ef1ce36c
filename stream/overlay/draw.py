"""Draws faces on a picture, or makes them unrecognizable."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from affectstream.stream.faces.measures.pose import Pose
from affectstream.stream.overlay.places import FaceAt

COLORS = {
    "neutral": "#9aa3af",
    "anger": "#d55e00",
    "disgust": "#009e73",
    "fear": "#cc79a7",
    "joy": "#e6b800",
    "sadness": "#3b82c4",
    "surprise": "#7fc4ee",
    "contempt": "#8a6d3b",
}
"""The colors of the report."""
_NO_LABEL, _INK, _GAZE = (255, 255, 255), (20, 23, 28), (255, 216, 77)
_AXES = (255, 90, 90), (90, 230, 120), (100, 160, 255)
"""To the subject's left, down, and where the face points."""
_FONT = cv2.FONT_HERSHEY_SIMPLEX
_WIDER = 0.35
"""A face is blurred this share of its box further on each side: hair, ears and chin tell people apart too."""
_TILES = 6
"""A blurred face keeps so many tiles across."""

Picture = NDArray[np.uint8]


def blur(picture: Picture, faces: Sequence[FaceAt]) -> None:
    """Make `faces` unrecognizable in `picture` (H, W, 3), in place."""
    height, width = picture.shape[:2]
    for face in faces:
        left, top, right, bottom = face.box * (width, height, width, height)
        wide, high = _WIDER * (right - left), _WIDER * (bottom - top)
        x0, x1 = (int(np.clip(v, 0, width)) for v in (left - wide, right + wide + 1))
        y0, y1 = (int(np.clip(v, 0, height)) for v in (top - high, bottom + high + 1))
        if x1 - x0 < 2 or y1 - y0 < 2:
            continue
        part = picture[y0:y1, x0:x1]
        tiles = cv2.resize(part, (_TILES, _TILES), interpolation=cv2.INTER_AREA)
        coarse = cv2.resize(tiles, (x1 - x0, y1 - y0), interpolation=cv2.INTER_LINEAR)
        mask = np.zeros(part.shape[:2], np.uint8)
        # Of the whole face, also where it reaches beyond the picture.
        center = round((left + right) / 2 - x0), round((top + bottom) / 2 - y0)
        axes = round((right - left) / 2 + wide) + 1, round((bottom - top) / 2 + high) + 1
        cv2.ellipse(mask, center, axes, 0, 0, 360, 255, -1)
        part[mask > 0] = coarse[mask > 0]


def draw(picture: Picture, faces: Sequence[FaceAt], *, points: bool = True) -> None:
    """Draw box, head, gaze and reading of each face on `picture` (H, W, 3) RGB, in place; with `points` also
    the landmarks."""
    height, width = picture.shape[:2]
    unit = max(1, round(height / 360))
    for face in faces:
        reading = face.reading or {}
        label = reading.get("label")
        color = _rgb(COLORS.get(label, "#888888")) if label else _NO_LABEL
        box = [round(float(v)) for v in face.box * (width, height, width, height)]
        left, top, right, bottom = box
        cv2.rectangle(picture, (left, top), (right, bottom), _INK, 3 * unit)
        cv2.rectangle(picture, (left, top), (right, bottom), color, 2 * unit)
        places = face.points * (width, height)
        if points:
            for x, y in places:
                cv2.circle(picture, (round(x), round(y)), 2 * unit, _INK, -1, cv2.LINE_AA)
                cv2.circle(picture, (round(x), round(y)), unit, _NO_LABEL, -1, cv2.LINE_AA)
        if (head := _angles(reading, "yaw", "pitch", "roll")) is not None:
            axes = Pose(*head).rotation * (1, 1, -1) * (right - left) / 3
            for axis, shade in zip(axes.T, _AXES, strict=True):
                _arrow(picture, places[2], axis, shade, unit)
        if (gaze := _angles(reading, "gaze_yaw", "gaze_pitch")) is not None:
            looks = -Pose(gaze[0], gaze[1], 0.0).rotation[:, 2] * (right - left)
            _arrow(picture, places[:2].mean(0), looks, _GAZE, unit)
        text = f"{face.track} {label} {reading['confidence']:.0%}" if label else f"{face.track}"
        _text(picture, text, left, top, color, unit)
        if state := reading.get("attention_state"):
            speaks = ", speaks" if "voice" in (reading.get("modalities") or "").split("+") else ""
            _text(picture, f"{state}{speaks}", left, bottom + 17 * unit, _NO_LABEL, unit)


def _angles(reading: Mapping[str, Any], *names: str) -> list[float] | None:
    """These angles of a reading; None where one is missing."""
    found = [float(reading[name]) for name in names if reading.get(name) is not None]
    return found if len(found) == len(names) else None


def _text(
    picture: Picture, text: str, left: int, bottom: int, color: tuple[int, int, int], unit: int
) -> None:
    """`text` on a plate of `color`, inside the picture."""
    size, thick = 0.45 * unit, max(1, unit)
    (long, tall), _ = cv2.getTextSize(text, _FONT, size, thick)
    pad = 3 * unit
    x = int(np.clip(left, 0, max(0, picture.shape[1] - long - 2 * pad)))
    y = int(np.clip(bottom, tall + 2 * pad, picture.shape[0]))
    cv2.rectangle(picture, (x, y - tall - 2 * pad), (x + long + 2 * pad, y), color, -1)
    cv2.putText(picture, text, (x + pad, y - pad), _FONT, size, _INK, thick, cv2.LINE_AA)


def _arrow(
    picture: Picture,
    start: NDArray[np.float64],
    along: NDArray[np.float64],
    color: tuple[int, int, int],
    unit: int,
) -> None:
    """From `start`, in pixels; of `along` (3,) the depth is not seen."""
    tail, tip = ((round(float(x)), round(float(y))) for x, y in (start, start + along[:2]))
    cv2.arrowedLine(picture, tail, tip, _INK, 3 * unit, cv2.LINE_AA, tipLength=0.2)
    cv2.arrowedLine(picture, tail, tip, color, unit, cv2.LINE_AA, tipLength=0.2)


def _rgb(color: str) -> tuple[int, int, int]:
    return int(color[1:3], 16), int(color[3:5], 16), int(color[5:7], 16)
