import numpy as np
import pytest

from affectstream.stream.faces.face import Face, Seen
from affectstream.stream.faces.quality import Quality
from affectstream.stream.faces.track import Tracker

STEP = 125_000
RNG = np.random.default_rng(5)
ANN, BEN = (RNG.normal(size=228).astype(np.float32) for _ in range(2))


def face(x, y=100.0, side=60.0, who=ANN, noise=0.0):
    looks = who / np.linalg.norm(who) + noise * RNG.normal(size=228).astype(np.float32) / 15
    box = (x - side / 2, y - side / 2, x + side / 2, y + side / 2)
    return Face(
        box, np.zeros((5, 2), np.float32), 0.9, Quality(1, 1, 1), np.zeros(4, np.float32), looks
    )


def run(frames):
    """Numbers for each frame of faces, a grid step apart, in the order in which they were given."""
    tracker = Tracker()
    out = []
    for i, faces in enumerate(frames):
        found = tracker.push(Seen(i * STEP, (640, 360), tuple(faces)))
        by_face = {id(f): n for n, f in found}
        out.append([by_face[id(f)] for f in faces])
    return out


def test_numbers_begin_at_one_and_stay():
    assert run([[face(100), face(400, who=BEN)]] * 10) == [[1, 2]] * 10


def test_two_people_who_cross_keep_their_numbers():
    frames = []
    for i in range(41):
        left, right = face(60 + 12 * i, noise=0.3), face(540 - 12 * i, who=BEN, noise=0.3)
        hidden = abs(left.centre[0] - right.centre[0]) < 45  # the one in front covers the other
        frames.append([left] if hidden else [left, right])
    numbers = run(frames)
    assert numbers[0] == numbers[-1] == [1, 2]
    assert {n for frame in numbers for n in frame} == {1, 2}


def test_someone_who_leaves_for_two_seconds_and_returns_elsewhere_is_the_same():
    frames = [[face(100), face(400, who=BEN)]] * 8
    frames += [[face(400, who=BEN)]] * 16
    frames += [[face(250, noise=0.2), face(400, who=BEN)]] * 8
    assert run(frames)[-1] == [1, 2]


def test_someone_else_who_comes_in_gets_a_new_number():
    frames = [[face(100)]] * 8 + [[]] * 8 + [[face(500, who=BEN)]] * 4
    assert run(frames)[-1] == [2]


def test_one_who_is_gone_for_long_is_forgotten_and_the_number_not_reused():
    frames = [[face(100)]] * 4 + [[]] * 60 + [[face(100)]] * 2
    assert run(frames)[-1] == [2]


def test_the_order_of_detections_does_not_matter():
    a, b = face(100), face(400, who=BEN)
    assert run([[a, b], [b, a], [a, b], [b, a]]) == [[1, 2], [2, 1], [1, 2], [2, 1]]


@pytest.mark.parametrize("speed", [5, 20, 40])
def test_a_moving_face_is_followed(speed):
    assert {n for frame in run([[face(50 + speed * i)] for i in range(12)]) for n in frame} == {1}
