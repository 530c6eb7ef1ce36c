"""Numbers that hold: hand-made faces, arbitrary ones, and real faces in real files."""

from dataclasses import dataclass
from itertools import combinations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from affectstream.engines.bundle.bundle import Bundle
from affectstream.stream.faces.detection.detect import DetectorSpec
from affectstream.stream.faces.face import Certainty, Face, FrameObservation
from affectstream.stream.faces.measures.quality import Quality
from affectstream.stream.faces.perceive import Perceiver
from affectstream.stream.faces.tracking.track import (
    MEMORY_US,
    MIN_HITS,
    TENTATIVE_FRAMES,
    Tracker,
)
from affectstream.stream.media.grid import GridSampler
from affectstream.stream.media.recording import Recording
from affectstream.stream.media.types import Frame
from tests.support.media import write_video

STEP = 125_000
RNG = np.random.default_rng(5)
ANN, BEN, CAT = (RNG.normal(size=228).astype(np.float32) for _ in range(3))


def face(x, y=100.0, side=60.0, who=ANN, noise=0.0, score=0.9):
    looks = who / np.linalg.norm(who) + noise * RNG.normal(size=228).astype(np.float32) / 15
    box = (x - side / 2, y - side / 2, x + side / 2, y + side / 2)
    certainty = DetectorSpec().certainty(score)
    landmarks = np.zeros((5, 2), np.float32)
    return Face(box, landmarks, score, Quality(1, 1, 1), (), looks, certainty=certainty)


SHOTS = [view / np.linalg.norm(view) for view in RNG.normal(size=(3, 144)).astype(np.float32)]
"""Thumbnails of pictures of three shots."""


def look(now_us, faces, shot=0):
    return FrameObservation(now_us, (640, 360), tuple(faces), thumbnail=SHOTS[shot])


def run(frames, shots=()):
    """Number of each face of each frame (None on trial), a grid step apart, in the order given.

    `shots` says which shot each frame belongs to; all the same where it is empty.
    """
    tracker = Tracker()
    out = []
    for i, faces in enumerate(frames):
        found = tracker.push(look(i * STEP, faces, shots[i] if shots else 0))
        by_face = {id(f): n for n, f in found}
        out.append([by_face.get(id(f)) for f in faces])
    return out


# --- who keeps a number ---


def test_numbers_begin_at_one_and_stay():
    assert run([[face(100), face(400, who=BEN)]] * 10) == [[1, 2]] * 10


def test_two_people_who_cross_keep_their_numbers():
    frames = []
    for i in range(41):
        left, right = face(60 + 12 * i, noise=0.3), face(540 - 12 * i, who=BEN, noise=0.3)
        hidden = abs(left.center[0] - right.center[0]) < 45  # the one in front covers the other
        frames.append([left] if hidden else [left, right])
    numbers = run(frames)
    assert numbers[0] == numbers[-1] == [1, 2]
    assert {n for frame in numbers for n in frame} == {1, 2}


def test_someone_who_leaves_for_two_seconds_and_returns_elsewhere_is_the_same():
    frames = [[face(100), face(400, who=BEN)]] * 8
    frames += [[face(400, who=BEN)]] * 16
    frames += [[face(250, noise=0.2), face(400, who=BEN)]] * 8
    assert run(frames)[24:] == [[1, 2]] * 8


def test_someone_else_who_comes_in_gets_a_new_number():
    frames = [[face(100)]] * 8 + [[]] * 8 + [[face(500, who=BEN)]] * 4
    assert run(frames)[-1] == [2]


def test_someone_else_in_the_same_place_after_a_cut_gets_a_new_number():
    numbers = run([[face(100)]] * 8 + [[face(104, who=BEN)]] * 8)
    assert numbers[8:] == [[None]] * 2 + [[2]] * 6


def test_a_face_that_suddenly_looks_different_keeps_its_number_while_the_shot_lasts():
    changed = 0.45 * ANN / np.linalg.norm(ANN) + 0.9 * CAT / np.linalg.norm(CAT)
    frames = [[face(100)]] * 8 + [[face(104, who=changed)]] * 8
    assert run(frames) == [[1]] * 16
    assert run(frames, shots=[0] * 8 + [1] * 8)[8:] == [[None]] * 2 + [[2]] * 6, "not after a cut"


def test_a_face_near_two_people_needs_to_look_like_one_of_them():
    two, between = [face(100), face(170, who=BEN)], face(135, who=CAT)
    assert run([two] * 8 + [[between]] * 2)[8:] == [[None]] * 2


def test_two_who_change_sides_at_a_cut_take_their_numbers_along():
    before, after = [face(100), face(400, who=BEN)], [face(100, who=BEN), face(400)]
    assert run([before] * 8 + [after] * 8, shots=[0] * 8 + [1] * 8)[8:] == [[2, 1]] * 8


def test_a_dialogue_of_two_who_are_shown_in_turn_has_two_numbers():
    ann, ben = [[face(300)]] * 8, [[face(310, who=BEN)]] * 8
    numbers = run([*ann, *ben] * 3, shots=([0] * 8 + [1] * 8) * 3)
    assert {n for frame in numbers for n in frame} == {1, 2, None}
    assert all(numbers[16 * i] == [1] for i in range(3))
    assert all(numbers[16 * i + 8] == [2] for i in range(1, 3)), "known at once"


def test_someone_shown_elsewhere_after_a_cut_keeps_the_number():
    assert run([[face(100)]] * 8 + [[face(500, side=90)]] * 4)[8:] == [[1]] * 4


def test_one_who_is_gone_for_long_is_forgotten_and_the_number_not_reused():
    frames = [[face(100)]] * 4 + [[]] * 82 + [[face(100)]] * 2
    assert run(frames)[-1] == [2]


def test_the_order_of_detections_does_not_matter():
    a, b = face(100), face(400, who=BEN)
    assert run([[a, b], [b, a], [a, b], [b, a]]) == [[1, 2], [2, 1], [1, 2], [2, 1]]


@pytest.mark.parametrize("speed", [5, 20, 40])
def test_a_moving_face_is_followed(speed):
    assert {n for frame in run([[face(50 + speed * i)] for i in range(12)]) for n in frame} == {1}


# --- who gets one ---


def test_an_uncertain_face_gets_its_number_with_its_third_detection_within_a_second():
    doubtful = [face(100, score=0.6)]
    assert run([doubtful] * 4) == [[None], [None], [1], [1]]
    assert run([doubtful, [], doubtful, [], doubtful])[-1] == [1]
    glimpses = ([doubtful] + [[]] * (TENTATIVE_FRAMES // 2)) * 6
    assert {n for frame in run(glimpses) for n in frame} == {None}


def test_faces_with_low_scores_get_no_number():
    assert {n for frame in run([[face(100, score=0.5)]] * 40) for n in frame} == {None}


def test_glimpses_use_up_no_number():
    frames = [
        [face(100), *([face(400, who=BEN, score=0.7)] if i % 5 == 0 else [])] for i in range(20)
    ]
    frames += [[face(100), face(300, who=CAT)]] * 4
    assert run(frames)[-1] == [1, 2]


# --- whatever comes ---

PEOPLE = np.stack([ANN, BEN, CAT, 0.6 * ANN + 0.8 * BEN])
places = st.integers(0, 24).map(lambda i: 25.0 * i)
faces = st.builds(
    lambda x, y, who, score: face(x, y, who=PEOPLE[who], score=score),
    *(places, st.sampled_from([80.0, 100.0]), st.integers(0, 3)),
    st.sampled_from([0.5, 0.6, 0.9]),
)
recordings = st.lists(st.lists(faces, max_size=4, unique_by=lambda f: f.box), max_size=40)
shots = st.lists(st.integers(0, 2), min_size=40, max_size=40)
steps = st.sampled_from([0, 125_000, 500_000, 1_000_000, 11_000_000])


@given(
    recordings, shots, st.lists(steps, min_size=40, max_size=40), st.randoms(use_true_random=False)
)
def test_any_input_gives_each_number_to_one_person(frames, cuts, gaps, random):
    tracker, again, shuffled = Tracker(), Tracker(), Tracker()
    last_us, now, given_so_far = {}, 0, 0
    for seen_faces, shot, gap in zip(frames, cuts, gaps, strict=False):
        now += gap
        mixed = random.sample(seen_faces, len(seen_faces))
        found = tracker.push(look(now, seen_faces, shot))
        told = [(n, id(f)) for n, f in found]
        assert told == [(n, id(f)) for n, f in again.push(look(now, seen_faces, shot))]
        other = shuffled.push(look(now, mixed, shot))
        assert [(n, f.box, f.score) for n, f in found] == [(n, f.box, f.score) for n, f in other]
        numbers = [n for n, _ in found]
        assert numbers == sorted(set(numbers)), "one face for a number"
        assert len({f for _, f in told}) == len(told), "one number for a face"
        assert {f for _, f in told} <= {id(f) for f in seen_faces}
        new = [n for n in numbers if n > given_so_far]
        assert new == list(range(given_so_far + 1, tracker.count + 1)), "numbered without gaps"
        for number in set(numbers) - set(new):
            assert now - last_us[number] <= MEMORY_US, "a forgotten number came back"
        given_so_far = tracker.count
        last_us |= dict.fromkeys(numbers, now)


@given(recordings)
def test_an_uncertain_face_needs_enough_detections(frames):
    """A face that is never clear needs three detections in a second for a number."""
    tracker, looks = Tracker(), [0] * len(frames)
    for i, seen_faces in enumerate(frames):
        doubtful = [f for f in seen_faces if f.certainty is not Certainty.CLEAR]
        looks[i] = len(doubtful)
        before = tracker.count
        tracker.push(FrameObservation(i * STEP, (640, 360), tuple(doubtful)))
        recent = [n for n in looks[max(0, i - TENTATIVE_FRAMES + 1) : i + 1] if n]
        assert tracker.count == before or len(recent) >= MIN_HITS


# --- real faces ---


@dataclass(frozen=True)
class Person:
    """A head cut out of a photo (h, w, 3), and where its middle is at each frame (None: not there)."""

    head: NDArray[np.uint8]
    path: list[tuple[float, float] | None]


def paint(picture, head, middle):
    """`head` as an ellipse onto `picture`, cut off at its edges."""
    height, width = head.shape[:2]
    left, top = round(middle[0] - width / 2), round(middle[1] - height / 2)
    x0, y0 = max(0, left), max(0, top)
    x1, y1 = min(picture.shape[1], left + width), min(picture.shape[0], top + height)
    if x0 >= x1 or y0 >= y1:
        return
    mask = np.zeros((height, width, 1), np.uint8)
    cv2.ellipse(mask, (width // 2, height // 2), (width // 2, height // 2), 0, 0, 360, 1, -1)
    part = np.s_[y0 - top : y1 - top, x0 - left : x1 - left]
    picture[y0:y1, x0:x1] = np.where(mask[part] > 0, head[part], picture[y0:y1, x0:x1])


def wall():
    """A room (360, 640, 3) whose light changes from side to side, so that no place is like another."""
    across, down = np.linspace(0, 1, 640)[None, :], np.linspace(0, 1, 360)[:, None]
    colors = [70 + 90 * across + 0 * down, 90 + 40 * down + 0 * across, 140 - 60 * across * down]
    return np.stack(colors, 2).astype(np.uint8)


def looks(path):
    """(grid point, faces) of a recording, as `pocket` perceives it."""
    with Bundle.open("pocket") as bundle, Recording.open(path) as recording:
        grid, perceiver = GridSampler(bundle.manifest.frame_hz), Perceiver(bundle)
        for item in recording:
            sampled = grid.push(item) if isinstance(item, Frame) else []
            for one in [s for s in sampled if s.frame is not None]:
                yield one.points.start, perceiver.perceive([one.frame])[0]
        for one in [s for s in grid.flush(recording.end_us) if s.frame is not None]:
            yield one.points.start, perceiver.perceive([one.frame])[0]


def follow(path, people, room):
    """Write the clip at 8 frames a second, score its faces; numbers of each person by frame."""
    count = len(people[0].path)
    pictures = []
    for i in range(count):
        picture = room.copy()
        for person in people:
            if person.path[i] is not None:
                paint(picture, person.head, person.path[i])
        pictures.append(picture)
    write_video(path, pictures, rate=8)
    tracker = Tracker()
    numbers = [[None] * count for _ in people]
    for point, seen in looks(path):
        for number, found in tracker.push(seen):
            near = [
                row
                for person, row in zip(people, numbers, strict=True)
                if (middle := person.path[point])
                and np.hypot(*np.subtract(found.center, middle)) < 0.8 * found.side
            ]
            if len(near) == 1:  # while they cross nobody can say
                near[0][point] = number
    return numbers, tracker.count


def across(start, stop, count):
    return [(x, y) for x, y in np.linspace(start, stop, count)]


def crossing_and_absence(one, two):
    """They change sides in 4 s, the second in front; then the first is away for 2 s, back elsewhere."""
    front = across((520, 180), (110, 170), 32) + across((110, 170), (200, 190), 48)
    behind = across((120, 180), (530, 190), 32) + across((530, 190), (520, 170), 12)
    return [
        Person(one, behind + [None] * 16 + across((400, 200), (430, 180), 20)),
        Person(two, front),
    ]


def hold(numbers, count):
    """Each has a number of their own at the beginning, and only that one whenever it is seen."""
    assert count == len(numbers)
    for row in numbers:
        assert {n for n in row if n is not None} == {row[0]}
        assert sum(n is not None for n in row[:32]) >= 20
    first, second = numbers
    assert first[0] != second[0]
    assert sum(n is not None for n in first[60:]) >= 18, "back, and known at once"
    assert sum(n is not None for n in second[32:]) >= 46


def test_real_faces_that_cross_and_one_that_leaves_for_two_seconds(portrait, tmp_path):
    data = pytest.importorskip("skimage.data")
    other = cv2.resize(data.lfw_subset()[18], (150, 150), interpolation=cv2.INTER_CUBIC)
    other = (np.clip(other, 0, 1)[..., None] * (255, 225, 200)).astype(np.uint8)
    people = crossing_and_absence(np.ascontiguousarray(portrait[30:230, 140:310]), other)
    hold(*follow(tmp_path / "two.mp4", people, wall()))


GROUP = ((320, 239, 416, 365), (529, 302, 634, 437), (683, 290, 785, 424), (428, 202, 521, 322))
"""Boxes of four people who sit side by side in one light in `images/multi_face.jpg`."""


@pytest.mark.slow
@pytest.mark.data
@pytest.mark.parametrize(("one", "two"), list(combinations(range(4), 2)))
def test_people_of_one_group_in_one_light_keep_their_numbers(one, two, data_root, tmp_path):
    photo = cv2.imread(str(data_root / "images" / "multi_face.jpg"))[:, :, ::-1]
    heads = []
    for x0, y0, x1, y1 in (GROUP[one], GROUP[two]):
        wide, tall = x1 - x0, y1 - y0
        heads.append(photo[y0 - tall // 3 : y1 + tall // 4, x0 - wide // 4 : x1 + wide // 4])
    sky = cv2.resize(photo[0:200, 420:1000], (640, 360))
    hold(*follow(tmp_path / "two.mp4", crossing_and_absence(*heads), sky))


@pytest.mark.data
def test_a_dim_audience_between_cuts_gets_few_numbers(data_root):
    """Seven people in four shots (one of them a singer, shown twice); the tracker once gave 12."""
    tracker, shown = Tracker(), {}
    for _, seen in looks(data_root / "video" / "two_people.mp4"):
        for number, _ in tracker.push(seen):
            shown.setdefault(number, []).append(seen.pts_us / 1e6)
    assert tracker.count <= 9
    cuts = (1.55, 3.55, 7.92)
    shots = {n: {sum(t > cut for cut in cuts) for t in times} for n, times in shown.items()}
    assert all(len(shot) == 1 for shot in shots.values()), "no number passes to another at a cut"
    assert [len(shown[n]) for n, shot in shots.items() if shot == {2}] == [33]
