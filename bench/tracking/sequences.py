"""Sequences of pictures in which every face is known, because they are put together from people."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import cv2
import numpy as np
from numpy.typing import NDArray

from affectstream.bench.tracking.people import FRAME_HZ, Person
from affectstream.stream.faces.box import Box

WIDTH, HEIGHT = 640, 360
_LENGTH = 10 * FRAME_HZ

Picture = NDArray[np.uint8]


@dataclass(frozen=True, slots=True, eq=False)
class Look:
    """One picture (360, 640, 3) uint8 RGB, and the place of each person whose face may be detected.

    A detected face whose middle lies in a person's place is that person's. `clear` is false while two
    people overlap: nobody can say then whose face it is.
    """

    picture: Picture
    places: Mapping[str, Box]
    clear: bool = True


@dataclass(frozen=True, slots=True, eq=False)
class KnownSequence:
    """`looks()` makes the pictures of a sequence of one kind, eight a second."""

    kind: str
    people: tuple[str, ...]
    looks: Callable[[], Iterator[Look]]

    @property
    def name(self) -> str:
        """Kind and people."""
        return f"{self.kind}: {', '.join(self.people)}"


def make_sequences(people: Sequence[Person]) -> list[KnownSequence]:
    """Every kind of one person for each, and every kind of two for the first and second, and so on."""
    alone = [
        KnownSequence(kind, (one.name,), partial(make, one))
        for one in people
        for kind, make in _OF_ONE.items()
    ]
    pairs = [
        KnownSequence(kind, (one.name, two.name), partial(make, one, two))
        for one, two in zip(people[::2], people[1::2], strict=False)
        for kind, make in _OF_TWO.items()
    ]
    return alone + pairs


# --- one person ---


def one_shot(one: Person) -> Iterator[Look]:
    """As recorded."""
    for step in range(_LENGTH):
        yield _full(one, step)


def three_times_as_fast(one: Person) -> Iterator[Look]:
    """Turns, expressions and movements three times as fast."""
    for step in range(_LENGTH):
        yield _full(one, 3 * step)


def small_cuts(one: Person) -> Iterator[Look]:
    """Two seconds are left out every two seconds, and every second part is a little larger."""
    for step in range(_LENGTH):
        part = step // 16
        yield _full(one, step + 16 * part, zoom=1.15 if part % 2 else 1.0)


def shaken(one: Person) -> Iterator[Look]:
    """A camera in a shaking hand: each look is up to a tenth of the picture away from the middle."""
    rng = np.random.default_rng(3)
    for step in range(_LENGTH):
        right, down = rng.uniform(-0.1, 0.1, 2)
        yield _full(one, step, zoom=1.25, right=right, down=down)


def changing_light(one: Person) -> Iterator[Look]:
    """The light changes at once, every two seconds."""
    gains = (1.0, 0.45, 1.3, 0.7, 1.0)
    for step in range(_LENGTH):
        look = _full(one, step)
        lit = np.clip(look.picture * gains[step // 16], 0, 255).astype(np.uint8)
        yield Look(lit, look.places)


def covered(one: Person) -> Iterator[Look]:
    """An arm rises before the face for two seconds, three times."""
    for step in range(_LENGTH):
        look = _full(one, step)
        picture = look.picture.copy()
        phase = step % 24
        if phase >= 8:
            rise = min(1.0, (phase - 7) / 4, (25 - phase) / 4)
            top = round(HEIGHT * (1 - 0.9 * rise))
            cv2.rectangle(picture, (200, top), (440, HEIGHT), (150, 110, 95), -1)
        yield Look(picture, look.places)


# --- two people ---


def beside(one: Person, two: Person) -> Iterator[Look]:
    """Side by side."""
    for step in range(_LENGTH):
        yield _halves(one, two, step)


def swapped(one: Person, two: Person) -> Iterator[Look]:
    """Side by side; they change sides at a cut every two seconds."""
    for step in range(_LENGTH):
        yield _halves(one, two, step) if step // 16 % 2 == 0 else _halves(two, one, step)


def cut_to_other(one: Person, two: Person) -> Iterator[Look]:
    """A dialogue: the picture cuts to the other every two seconds."""
    for step in range(_LENGTH):
        yield _full(one if step // 16 % 2 == 0 else two, step)


def crossing(one: Person, two: Person) -> Iterator[Look]:
    """In one room they change sides, the second in front, and return."""
    for step in range(_LENGTH):
        across = 0.5 - 0.5 * np.cos(2 * np.pi * step / _LENGTH)
        yield _room([(one, 130 + 380 * across), (two, 510 - 380 * across)], step)


def away(seconds: int) -> Callable[[Person, Person], Iterator[Look]]:
    """The first leaves the room for so many seconds, and returns on the other side of the second."""

    def looks(one: Person, two: Person) -> Iterator[Look]:
        out, back = 32, 32 + seconds * FRAME_HZ
        for step in range(back + 24):
            where = 130 - max(0, step - out + 5) * 50.0  # its middle leaves the picture at `out`
            if step >= back:
                where = max(520.0, 700 - (step - back) * 60.0)
            yield _room([(two, 330.0), (one, where)], step)

    return looks


def replaced(one: Person, two: Person) -> Iterator[Look]:
    """The first leaves the room; a second later the other takes the place."""
    for step in range(_LENGTH):
        before = 320 - max(0, step - 32) * 70.0
        after = max(320.0, 320 + (46 - step) * 70.0)
        yield _room([(one, before), (two, after)], step)


_OF_ONE: dict[str, Callable[[Person], Iterator[Look]]] = {
    "one shot": one_shot,
    "three times as fast": three_times_as_fast,
    "small cuts": small_cuts,
    "shaken": shaken,
    "changing light": changing_light,
    "covered": covered,
}
_OF_TWO: dict[str, Callable[[Person, Person], Iterator[Look]]] = {
    "beside": beside,
    "swapped": swapped,
    "cut to the other": cut_to_other,
    "crossing": crossing,
    "replaced": replaced,
    **{f"away for {s} s": away(s) for s in (1, 2, 4, 8)},
}


# --- pictures ---


def _full(one: Person, step: int, zoom: float = 1.0, right: float = 0.0, down: float = 0.0) -> Look:
    picture = _cover(one, step, WIDTH, zoom, right, down)
    return Look(picture, {one.name: (0.0, 0.0, WIDTH, HEIGHT)})


def _halves(left: Person, right: Person, step: int) -> Look:
    half = WIDTH // 2
    picture = np.hstack([_cover(left, step, half), _cover(right, step, half)])
    places = {left.name: (0.0, 0.0, half, HEIGHT), right.name: (half, 0.0, WIDTH, HEIGHT)}
    return Look(picture, places)


def _cover(
    one: Person, step: int, width: int, zoom: float = 1.0, right: float = 0.0, down: float = 0.0
) -> Picture:
    """The picture of `one` scaled and cut to `width` x `HEIGHT`, around where the face is on average."""
    picture, _ = one.at(step)
    tall, wide = picture.shape[:2]
    scale = zoom * max(width / wide, HEIGHT / tall)
    boxes = np.asarray(one.boxes)
    x = (boxes[:, 0] + boxes[:, 2]).mean() / 2 + right * wide
    y = (boxes[:, 1] + boxes[:, 3]).mean() / 2 + down * tall
    x = np.clip(x, width / 2 / scale, wide - width / 2 / scale)
    y = np.clip(y, HEIGHT / 2 / scale, tall - HEIGHT / 2 / scale)
    matrix = np.asarray([[scale, 0, width / 2 - scale * x], [0, scale, HEIGHT / 2 - scale * y]])
    return np.asarray(cv2.warpAffine(picture, matrix, (width, HEIGHT)), np.uint8)


def _room(people: Sequence[tuple[Person, float]], step: int) -> Look:
    """Heads, cut out as ellipses, in one room; each has its middle at x, the last one is in front."""
    picture = _WALL.copy()
    places: dict[str, Box] = {}
    for one, x in people:
        head, y = _head(one, step), HEIGHT / 2 + 12 * np.sin(step / 5 + x / 200)
        _paste(picture, head, x, y)
        half = head.shape[1] / 2
        if 0 < x < WIDTH:
            places[one.name] = (x - half, y - half, x + half, y + half)
    xs = [x for _, x in people]
    clear = all(abs(a - b) > 150 for n, a in enumerate(xs) for b in xs[:n])
    return Look(picture, places, clear)


def _head(one: Person, step: int) -> Picture:
    """The head with hair and collar, 150 x 200 pixels, cut where the face was in the first picture."""
    picture, box = one.at(step)
    x, y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
    wide, tall = one.boxes[0][2] - one.boxes[0][0], one.boxes[0][3] - one.boxes[0][1]
    scale = min(150 / (1.6 * wide), 200 / (1.7 * tall))
    matrix = np.asarray([[scale, 0, 75 - scale * x], [0, scale, 95 - scale * y]])
    head = cv2.warpAffine(picture, matrix, (150, 200), borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(head, np.uint8)


def _paste(picture: Picture, head: Picture, x: float, y: float) -> None:
    tall, wide = head.shape[:2]
    left, top = round(x - wide / 2), round(y - tall / 2)
    x0, x1, y0, y1 = max(0, left), min(WIDTH, left + wide), max(0, top), min(HEIGHT, top + tall)
    if x0 < x1 and y0 < y1:
        part = np.s_[y0 - top : y1 - top, x0 - left : x1 - left]
        mask = _ELLIPSE[part] > 0
        picture[y0:y1, x0:x1] = np.where(mask, head[part], picture[y0:y1, x0:x1])


def _wall() -> Picture:
    """A room whose light changes from side to side, with a window, so that no place is like another."""
    across, down = np.linspace(0, 1, WIDTH)[None, :], np.linspace(0, 1, HEIGHT)[:, None]
    colors = [70 + 90 * across + 0 * down, 90 + 40 * down + 0 * across, 140 - 60 * across * down]
    wall = np.ascontiguousarray(np.stack(colors, 2).astype(np.uint8))
    cv2.rectangle(wall, (400, 20), (560, 150), (200, 215, 225), -1)
    cv2.rectangle(wall, (0, 300), (WIDTH, HEIGHT), (95, 70, 50), -1)
    return wall


_WALL = _wall()
_ELLIPSE = cv2.ellipse(np.zeros((200, 150, 1), np.uint8), (75, 100), (75, 100), 0, 0, 360, 1, -1)
