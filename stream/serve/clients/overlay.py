"""Who is where in the newest picture: boxes at the rate of the pictures, numbers at that of the hops."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from affectstream.stream.faces.detect import box_iou
from affectstream.stream.faces.face import Face, FrameObservation
from affectstream.stream.fusion.fuse import Reading
from affectstream.stream.serve.clients.messages import Faces, SeenFace

_SAME = 0.3
"""Overlap from which a face is taken for the one of the picture before: they are 1/8 s apart."""


class Overlay:
    """Tell it of hops and pictures in their order; a picture gives the message for the page."""

    def __init__(self, stream: str) -> None:
        self._stream = stream
        self._known: list[tuple[int, Face]] = []

    def told(self, readings: Iterable[Reading]) -> None:
        """The readings of a hop, which say who is who."""
        looks = [
            (r.track, r.track_sample.face)
            for r in readings
            if r.track is not None and r.track_sample
        ]
        numbers = {track for track, _ in looks}
        # One who was not read in this hop may only have looked away.
        self._known = [*looks, *((n, face) for n, face in self._known if n not in numbers)][:64]

    def seen(self, seen: FrameObservation) -> Faces:
        """The faces of one picture, each with its number where that is known."""
        free = list(self._known)
        named: list[tuple[int | None, Face]] = []
        for face in seen.faces:
            best = max(free, key=lambda known: _overlap(face, known[1]), default=None)
            if best is not None and _overlap(face, best[1]) >= _SAME:
                free.remove(best)
                named.append((best[0], face))
            else:
                named.append((None, face))
        here = [(number, face) for number, face in named if number is not None]
        gone = {number for number, _ in here}
        self._known = [*here, *((n, face) for n, face in self._known if n not in gone)]
        width, height = seen.frame_size
        return Faces(
            self._stream,
            round(seen.pts_us / 1e6, 6),
            (width, height),
            tuple(_fractions(number, face, width, height) for number, face in named),
        )


def _overlap(one: Face, other: Face) -> float:
    boxes = np.asarray([other.box], np.float32)
    return float(box_iou(np.asarray(one.box, np.float32), boxes)[0])


def _fractions(number: int | None, face: Face, width: int, height: int) -> SeenFace:
    x0, y0, x1, y1 = face.box
    return SeenFace(
        number,
        (_share(x0, width), _share(y0, height), _share(x1, width), _share(y1, height)),
        tuple((_share(x, width), _share(y, height)) for x, y in face.landmarks),
        round(face.score, 4),
    )


def _share(pixels: float, of: int) -> float:
    return round(float(pixels) / of, 4)
