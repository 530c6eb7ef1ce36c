"""The boxes that the page draws: faces at the rate of the frames, track numbers at that of the hops."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from affectstream.stream.faces.detection.yunet import box_iou
from affectstream.stream.faces.face import Face, FrameObservation
from affectstream.stream.faces.measures.eyes import eye_openness, gaze_in_frame, open_share
from affectstream.stream.faces.measures.geometry import Geometry
from affectstream.stream.faces.tracking.blinks import CLOSE_BELOW
from affectstream.stream.fusion.reading import Reading
from affectstream.stream.serve.clients.messages import FaceBox, Faces
from affectstream.stream.serve.clients.people import PersonMemory

_MIN_OVERLAP = 0.3
"""A face that overlaps this much (IoU) with one in the frame before, 1/8 s ago, is the same."""
_MAX_KNOWN = 64


class FaceOverlay:
    """Give it hops and frames in their order; each frame becomes one message for the page."""

    def __init__(self, stream: str) -> None:
        self._stream = stream
        self._known: list[tuple[int, Face]] = []
        self._people = PersonMemory()

    def update_tracks(self, readings: Iterable[Reading]) -> None:
        """Take the track numbers of one hop."""
        readings = list(readings)
        current = [
            (r.track, r.track_sample.face)
            for r in readings
            if r.track is not None and r.track_sample
        ]
        if readings:
            self._people.update(dict(current), readings[0].end_us)
        self._known = _merge(current, self._known)[:_MAX_KNOWN]

    def message(self, observation: FrameObservation) -> Faces:
        """The faces of one frame, each with its track number if it is known."""
        free = list(self._known)
        numbered: list[tuple[int | None, Face]] = []
        for face in observation.faces:
            best = max(free, key=lambda known: _iou(face, known[1]), default=None)
            if best is not None and _iou(face, best[1]) >= _MIN_OVERLAP:
                free.remove(best)
                numbered.append((best[0], face))
            else:
                numbered.append((None, face))
        current = [(track, face) for track, face in numbered if track is not None]
        self._known = _merge(current, self._known)
        width, height = observation.frame_size
        return Faces(
            self._stream,
            round(observation.pts_us / 1e6, 6),
            (width, height),
            tuple(self._box(track, face, width, height) for track, face in numbered),
        )

    def _box(self, track: int | None, face: Face, width: int, height: int) -> FaceBox:
        def x(pixels: float) -> float:
            return round(float(pixels) / width, 4)

        def y(pixels: float) -> float:
            return round(float(pixels) / height, 4)

        x0, y0, x1, y1 = face.box
        geometry = face.geometry
        points = face.landmarks if geometry is None else geometry.landmarks
        return FaceBox(
            track,
            None if track is None else self._people.person(track),
            (x(x0), y(y0), x(x1), y(y1)),
            tuple((x(px), y(py)) for px, py in points),
            round(face.score, 4),
            head=None if geometry is None else _degrees(geometry.pose.yaw, geometry.pose.pitch),
            gaze=_gaze(geometry),
        )


def _gaze(geometry: Geometry | None) -> tuple[float, float] | None:
    if geometry is None or open_share(eye_openness(geometry)) < CLOSE_BELOW:
        return None
    return _degrees(*gaze_in_frame(geometry))


def _degrees(yaw: float, pitch: float) -> tuple[float, float]:
    return round(yaw, 1), round(pitch, 1)


def _merge(
    current: list[tuple[int, Face]], known: list[tuple[int, Face]]
) -> list[tuple[int, Face]]:
    """`current`, then those of `known` that are not in it: they may only be out of sight."""
    tracks = {track for track, _ in current}
    return [*current, *((track, face) for track, face in known if track not in tracks)]


def _iou(one: Face, other: Face) -> float:
    boxes = np.asarray([other.box], np.float32)
    return float(box_iou(np.asarray(one.box, np.float32), boxes)[0])
