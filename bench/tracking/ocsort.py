"""Numbers that OC-SORT of the package `trackers` gives to detections. It runs in an environment of its own.

Reads one JSON document from stdin: a list of sequences, each a list of frames, each a list of faces
[x0, y0, x1, y1, score]. Writes the number of each face (null: none) in the same shape to stdout.

    python -m venv rival && rival/bin/pip install trackers
    affectstream bench tracking --data DATA --rival rival/bin/python
"""

from __future__ import annotations

import json
import sys

import numpy as np
import supervision as sv  # type: ignore[import-not-found]
from trackers import OCSORTTracker  # type: ignore[import-not-found]

FRAME_HZ, MEMORY_S = 8, 5
"""As Affectstream is served, and as long as it remembers a missing person."""


def give_numbers(frames: list[list[list[float]]]) -> list[list[int | None]]:
    """The number of each face of each frame."""
    tracker = OCSORTTracker(lost_track_buffer=30 * MEMORY_S, frame_rate=FRAME_HZ)
    rows: list[list[int | None]] = []
    for faces in frames:
        boxes = np.asarray([face[:4] for face in faces], np.float32).reshape(-1, 4)
        scores = np.asarray([face[4] for face in faces], np.float32)
        found = sv.Detections(xyxy=boxes, confidence=scores, data={"row": np.arange(len(faces))})
        found = tracker.update(found)
        row: list[int | None] = [None] * len(faces)
        for index, number in zip(found.data.get("row", []), found.tracker_id, strict=True):
            row[int(index)] = int(number) if number >= 0 else None
        rows.append(row)
    return rows


if __name__ == "__main__":
    json.dump([give_numbers(frames) for frames in json.load(sys.stdin)], sys.stdout)
