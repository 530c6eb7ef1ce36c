"""A picture of each person, cut from the recording where their face is clearest."""

from __future__ import annotations

from base64 import b64encode
from typing import Any

import cv2
import numpy as np

from affectstream.stream.errors import SourceError
from affectstream.stream.media.picture import to_rgb
from affectstream.stream.media.recording import Recording
from affectstream.stream.media.types import Frame
from affectstream.stream.overlay.video import turn_of
from affectstream.stream.results.scored import ScoredRecording

SIDE = 96
"""Pixels of a portrait."""
MOST = 24
"""Of many tracks, those with the most readings have portraits."""
_MARGIN = 0.25


def portraits(recording: ScoredRecording) -> dict[int, str]:
    """A JPEG of each track as an address (``data:``); none of a track that cannot be seen again."""
    found = {}
    for row in _clearest(recording):
        try:
            picture = _cut(recording, row)
        except SourceError:
            continue
        if picture is not None:
            found[int(row["track"])] = picture
    return found


def _clearest(recording: ScoredRecording) -> list[dict[str, Any]]:
    """The reading of the best face of each track."""
    names = ["track", "face_t", "quality", "left", "top", "right", "bottom"]
    best: dict[int, dict[str, Any]] = {}
    counts: dict[int, int] = {}
    for row in recording.readings.select(names).to_pylist():
        track = row["track"]
        if track is None or row["face_t"] is None:
            continue
        counts[track] = counts.get(track, 0) + 1
        if track not in best or (row["quality"] or 0) > (best[track]["quality"] or 0):
            best[track] = row
    longest = sorted(best, key=lambda track: (-counts[track], track))[:MOST]
    return [best[track] for track in sorted(longest)]


def _cut(recording: ScoredRecording, row: dict[str, Any]) -> str | None:
    at_us = round(row["face_t"] * 1_000_000)
    with Recording.open(recording.path, start_us=at_us) as source:
        frame = next((item for item in source if isinstance(item, Frame)), None)
        if frame is None:
            return None
        aspect = 1.0 if source.info.video is None else source.info.video.pixel_aspect
        picture = turn_of(recording).apply(to_rgb(frame, pixel_aspect=aspect))
    height, width = picture.shape[:2]
    x = (row["left"] + row["right"]) / 2 * width
    y = (row["top"] + row["bottom"]) / 2 * height
    side = max((row["right"] - row["left"]) * width, (row["bottom"] - row["top"]) * height)
    reach = max(2.0, side * (0.5 + _MARGIN))
    # The part that lies beyond the picture repeats its border.
    matrix = np.array([[SIDE / (2 * reach), 0, SIDE / 2], [0, SIDE / (2 * reach), SIDE / 2]])
    matrix[:, 2] -= matrix[:, :2] @ (x, y)
    small = cv2.warpAffine(
        picture, matrix, (SIDE, SIDE), flags=cv2.INTER_AREA, borderMode=cv2.BORDER_REPLICATE
    )
    done, jpeg = cv2.imencode(".jpg", small[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, 80])
    return f"data:image/jpeg;base64,{b64encode(jpeg.tobytes()).decode()}" if done else None
