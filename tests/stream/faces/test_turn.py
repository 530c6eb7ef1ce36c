"""Recordings that lie on their side."""

from fractions import Fraction

import av
import numpy as np
import pytest

from affectstream.stream import Recognizer
from affectstream.stream.faces.detection.detect import DetectorSpec
from affectstream.stream.faces.face import Certainty, Face
from affectstream.stream.faces.turn import SEARCH_US, TurnFinder
from affectstream.stream.media.types import RIGHT_ANGLES, Frame
from tests.support.media import write_video

UPRIGHT_FACE = np.array([[40, 40], [60, 40], [50, 50], [42, 60], [58, 60]], np.float32)
BOX = (30.0, 30.0, 70.0, 70.0)


class Finder:
    """Finds a face where the top left of a picture is white, and none elsewhere.

    `roll` turns its landmarks by quarter turns.
    """

    def __init__(self, score=0.9, roll=0):
        self.score, self.roll, self.calls = score, roll, 0

    def find(self, pictures):
        self.calls += len(pictures)
        points = UPRIGHT_FACE - 50
        for _ in range(self.roll):
            points = np.stack([-points[:, 1], points[:, 0]], 1)
        certainty = DetectorSpec().certainty(self.score)
        face = Face(BOX, (points + 50).astype(np.float32), self.score, certainty=certainty)
        return [[face] if rgb[0, 0, 0] > 200 else [] for rgb in pictures]


def frames(corner, count=4, start=0, shape=(64, 96)):
    """Frames whose corner (row, column, each 0 or -1) is white; None: black ones."""
    rgb = np.zeros((*shape, 3), np.uint8)
    if corner is not None:
        row, column = (slice(0, 16) if edge == 0 else slice(-16, None) for edge in corner)
        rgb[row, column] = 255
    out = []
    for n in range(start, start + count):
        picture = av.VideoFrame.from_ndarray(rgb, "rgb24")
        picture.time_base = Fraction(1, 8)
        out.append(Frame(n * 125_000, picture))
    return out


@pytest.mark.parametrize(
    ("corner", "quarters"), [((0, 0), 0), ((0, -1), 1), ((-1, -1), 2), ((-1, 0), 3)]
)
def test_the_turn_that_shows_faces_is_found(corner, quarters):
    turn = TurnFinder(Finder())
    turn.push(frames(corner))
    assert turn.quarters == quarters
    rgb = frames(corner)[0].picture.to_ndarray(format="rgb24")
    assert RIGHT_ANGLES[quarters].apply(rgb)[0, 0, 0] > 200


def test_an_upright_face_decides_at_once():
    turn = TurnFinder(finder := Finder())
    turn.push(frames((0, 0)))
    assert (turn.quarters, finder.calls) == (0, 1)


@pytest.mark.parametrize(("roll", "quarters"), [(1, 1), (2, 2), (3, 3)])
def test_landmarks_decide_where_turned_faces_are_found(roll, quarters):
    turn = TurnFinder(Finder(roll=roll))
    turn.push(frames((0, 0)))
    assert turn.quarters == quarters


class UpsideDown(Finder):
    """Finds a face that lies upside down, doubtfully, with the landmarks of an upright one."""

    def find(self, pictures):
        return [
            found or [Face(BOX, UPRIGHT_FACE, 0.6, certainty=Certainty.CERTAIN)]
            for found in super().find(pictures)
        ]


def test_a_doubtful_upright_face_may_be_one_upside_down():
    turn = TurnFinder(UpsideDown())
    turn.push(frames((-1, -1)))
    assert turn.quarters == 2


def test_frames_that_disagree_decide_nothing():
    turn = TurnFinder(Finder())
    turn.push([*frames((0, -1), 2), *frames((-1, 0), 2, start=2)])
    assert turn.quarters is None
    turn.push([*frames((0, -1), 2, start=4), *frames((0, 0), 1, start=6)])
    assert turn.quarters == 0


def test_without_a_clear_face_it_stays_upright():
    turn = TurnFinder(Finder(score=0.5))
    turn.push(frames((0, -1)))
    assert turn.quarters is None
    turn.push(frames((0, -1), start=SEARCH_US // 125_000 + 1))
    assert turn.quarters == 0


def test_a_rotation_mark_decides():
    first, *others = frames((0, -1))
    turn = TurnFinder(Finder())
    turn.push([Frame(first.pts_us, first.picture, RIGHT_ANGLES[2]), *others])
    assert turn.quarters == 0


@pytest.mark.parametrize("quarters", [0, 1, 2, 3])
def test_a_recording_on_its_side_is_turned_once_and_says_so(tmp_path, portrait, quarters):
    lying = np.ascontiguousarray(np.rot90(portrait[:512, :512], -quarters))
    clip = write_video(tmp_path / "lying.mp4", [lying] * 16, rate=8)
    with Recognizer.open("pocket", device="cpu", threads=1) as recognizer:
        result = recognizer.score(clip)
    said = [e.detail for e in result.events if e.type == "stream" and e.what == "warning"]
    attention = [e for e in result.events if e.type == "attention"]
    assert [e.state for e in attention] == ["attentive"] * 4
    assert all(abs(e.roll) < 30 for e in attention)
    assert len(said) == (1 if quarters else 0)
    if quarters:
        assert f"turned by {90 * quarters} degrees counterclockwise" in said[0]
