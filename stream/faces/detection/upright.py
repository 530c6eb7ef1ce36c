"""Faces at any angle: which way up they are, and those that are found only lying on their side or leaning.

A detector that learned upright faces finds many that lie on their side or upside down, less surely, and gives
them the landmarks of upright ones. So a face of a low score is looked at again, cut out, in four turns, and
the surest is taken; a picture without a certain face is looked at in the other three turns. All of it
depends on the pixels of the one picture.

YuNet on 669 faces of real clips: of upright ones 90 % score more than 0.91, of turned ones 1 % more than
0.905; cut out, all are told the right way up.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from affectstream.stream.faces.box import holds, square_around
from affectstream.stream.faces.crop import cut_square, turn_clockwise
from affectstream.stream.faces.detection.detect import Detector, fitted_size, letterbox
from affectstream.stream.faces.detection.leaning import find_leaning
from affectstream.stream.faces.detection.yunet import nms
from affectstream.stream.faces.face import Certainty, Face
from affectstream.stream.media.types import RIGHT_ANGLES

_CUT, _SIDE = 2.0, 64
"""How many times wider than its box a face is cut out, and the pixels of that."""
_REDUCED = 0.75
"""The size of a picture that is looked at for lying faces, of the size for upright ones. Most pictures
without a face show none that lies."""
_SURER = 0.02
"""A turned face has to score so much more than the upright one. A face that leans by 45 degrees scores low
either way; only clear ones are turned."""

Picture = NDArray[np.uint8]


def find_at_any_angle(detector: Detector, pictures: Sequence[Picture]) -> list[list[Face]]:
    """The faces of each of `pictures` (H, W, 3) uint8 RGB of one size, best score first, with those that are
    not upright."""
    looks = detector.detect(pictures, detector.spec.lowest)
    return [
        _look_again(detector, picture, seen) for picture, seen in zip(pictures, looks, strict=True)
    ]


def _look_again(detector: Detector, picture: Picture, seen: list[Face]) -> list[Face]:
    """The faces of `picture`, at any angle. `seen` is what one look at it gave: faces, and proposals that
    score too low for one."""
    spec = detector.spec
    faces = [face for face in seen if face.score >= spec.threshold]
    if spec.upright:
        if all(face.certainty is Certainty.WEAK for face in faces):
            faces = _with_lying(detector, picture, faces)
        faces = [
            _right_way_up(detector, picture, face)
            if face.turn == 0 and face.score < spec.upright
            else face
            for face in faces
        ]
    if spec.leaning:
        proposals = [face for face in seen if face.score < spec.threshold]
        faces += find_leaning(detector, picture, faces, proposals)
    return sorted(faces, key=_score, reverse=True)[: spec.max_faces]


def _with_lying(detector: Detector, picture: Picture, faces: list[Face]) -> list[Face]:
    """`faces`, and clear ones of the picture in three turns. Where they overlap, the surest is taken."""
    rows, columns = picture.shape[:2]
    size = round(_REDUCED * detector.spec.size)
    height, width = fitted_size(rows, columns, size)
    small = np.empty((height, width, 3), np.uint8)
    letterbox(picture, small, size)
    quarter, half, three = (angle.apply(small) for angle in RIGHT_ANGLES[1:])
    looks = (*detector.detect([quarter, three]), *detector.detect([half]))
    scale = columns / width, rows / height
    found = [
        _turned_back(face, turn, (height, width), (0.0, 0.0), scale)
        for turn, look in zip((1, 3, 2), looks, strict=True)
        for face in look
        if face.certainty is Certainty.CLEAR
    ]
    if not found:
        return faces
    every = [*faces, *found]
    boxes = np.asarray([face.box for face in every], np.float32)
    scores = np.asarray([face.score for face in every], np.float32)
    kept = nms(boxes, scores, detector.spec.nms_iou, detector.spec.max_faces)
    return [every[number] for number in kept.tolist()]


def _right_way_up(detector: Detector, picture: Picture, face: Face) -> Face:
    """`face`, found anew in the turn in which it is the surest if that is not this one."""
    square = square_around(face.box, _CUT)
    cut = cut_square(picture, square, _SIDE)
    best = [
        max(
            (one for one in found if holds(one.box, _SIDE / 2, _SIDE / 2)), key=_score, default=None
        )
        for found in detector.detect([angle.apply(cut) for angle in RIGHT_ANGLES])
    ]
    scores = [0.0 if one is None else one.score for one in best]
    turn = int(np.argmax(scores))
    surest = best[turn]
    if turn == 0 or surest is None or surest.certainty is not Certainty.CLEAR:
        return face
    if surest.score < max(face.score, scores[0] + _SURER):
        return face
    scale = (square[2] - square[0]) / _SIDE
    return _turned_back(surest, turn, (_SIDE, _SIDE), square[:2], (scale, scale))


def _score(face: Face) -> float:
    return face.score


def _turned_back(
    face: Face,
    turn: int,
    size: tuple[int, int],
    origin: Sequence[float],
    scale: tuple[float, float],
) -> Face:
    """A face of a part (height, width) that was turned counterclockwise by `turn` quarters, in the picture:
    one pixel of the part is `scale` pixels (x, y) of the picture, and its corner lies at `origin`."""
    corners = np.asarray(face.box, np.float32).reshape(2, 2)
    turned_size = size[::-1] if turn % 2 else size
    points = turn_clockwise(np.concatenate([corners, face.landmarks]), turn, *turned_size)
    points = points * np.asarray(scale, np.float32) + np.asarray(origin, np.float32)
    low, high = points[:2].min(0).tolist(), points[:2].max(0).tolist()
    return replace(face, box=(*low, *high), landmarks=points[2:].astype(np.float32), turn=turn)
