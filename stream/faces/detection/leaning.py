"""Heads that lean too far for a detector that learned upright ones.

A face that leans by 30 degrees or more scores low where it is small, but seldom nothing. So the best
proposals that are no faces are cut out, larger than they are in the picture, and looked at as if they leaned
to either side. All of it depends on the pixels of the one picture.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from affectstream.stream.faces.box import holds, shared, square_around
from affectstream.stream.faces.crop import cut_leaning
from affectstream.stream.faces.detection.detect import Detector
from affectstream.stream.faces.face import Certainty, Face

_CUT, _SIDE = 1.8, 128
"""How many times wider than its box a proposal is cut out, and the pixels of that: more than in the picture,
where most proposals are small."""
_LEAN = 40.0
"""Degrees to either side. The detector finds most of what then leans by 25 degrees at most."""
_MOST, _MOST_BESIDE = 2, 1
"""Proposals of a picture that are looked at: without a certain face, and beside one. Crowds have many."""
_BESIDE = 6.0
"""Beside a certain face a proposal has to score so many times as much: most pictures of a face have some that
score less, and they are parts of the person."""
_SURER, _SUREST = 0.035, 0.99
"""A face of a cut has to score so much more than a clear one of a picture: enlarged letters and leaves score
up to 0.03 more, nine in ten faces more than that."""
_PART = 0.3
"""A proposal is a part of a face if they share so much of the smaller of the two."""

Picture = NDArray[np.uint8]


def find_leaning(
    detector: Detector, picture: Picture, faces: Sequence[Face], proposals: Sequence[Face]
) -> list[Face]:
    """The faces among `proposals`, best score first, of `picture` (H, W, 3) uint8 RGB that has `faces`."""
    least, most = detector.spec.leaning, _MOST
    sure = min(detector.spec.clear + _SURER, _SUREST)
    if any(face.certainty >= Certainty.CERTAIN for face in faces):
        least, most = _BESIDE * least, _MOST_BESIDE
    squares = [
        square_around(one.box, _CUT)
        for one in proposals
        if one.score >= least and one.is_usable(*picture.shape[:2]) and not _is_part(one, faces)
    ][:most]
    tries = [(square, lean) for square in squares for lean in (-_LEAN, _LEAN)]
    looks = detector.detect([cut_leaning(picture, square, _SIDE, lean) for square, lean in tries])
    found = [
        _put_back(face, square, lean)
        for (square, lean), look in zip(tries, looks, strict=True)
        for face in look
        if face.score >= sure
        and face.is_usable(_SIDE, _SIDE)
        and holds(face.box, _SIDE / 2, _SIDE / 2)
    ]
    kept: list[Face] = []
    for face in sorted(found, key=lambda one: one.score, reverse=True):
        if not _is_part(face, [*faces, *kept]):
            kept.append(face)
    return kept


def _is_part(face: Face, others: Sequence[Face]) -> bool:
    return any(shared(face.box, other.box) > _PART for other in others)


def _put_back(face: Face, square: Sequence[float], lean: float) -> Face:
    """A face of a cut of `square`, where it is in the picture. Its box keeps its height and width."""
    scale = (square[2] - square[0]) / _SIDE
    x0, y0, x1, y1 = face.box
    points = np.concatenate([[[(x0 + x1) / 2, (y0 + y1) / 2]], face.landmarks]) - _SIDE / 2
    cos, sin = math.cos(math.radians(lean)), math.sin(math.radians(lean))
    points = scale * points @ np.array([[cos, sin], [-sin, cos]])
    points += [(square[0] + square[2]) / 2, (square[1] + square[3]) / 2]
    (x, y), landmarks = points[0].tolist(), points[1:].astype(np.float32)
    wide, tall = scale * (x1 - x0) / 2, scale * (y1 - y0) / 2
    right, left = landmarks[:2].tolist()
    roll = math.degrees(math.atan2(left[1] - right[1], left[0] - right[0]))
    box = (x - wide, y - tall, x + wide, y + tall)
    return replace(face, box=box, landmarks=landmarks, turn=round(roll / 90) % 4)
