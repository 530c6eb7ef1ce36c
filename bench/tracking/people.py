"""People to make sequences of: each with pictures at eight looks a second, and the place of the face.

People of `video` are only measured. People of `photos` are for choosing thresholds: a photo of a
person is animated, so the head turns, tilts, comes closer and moves, and the light changes.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from affectstream.engines.bundle.bundle import Bundle
from affectstream.stream.faces.box import Box
from affectstream.stream.faces.detection.detect import Detector, DetectorSpec
from affectstream.stream.faces.face import Certainty
from affectstream.stream.media.grid import GridSampler
from affectstream.stream.media.picture import to_rgb
from affectstream.stream.media.recording import Recording
from affectstream.stream.media.types import Frame

FRAME_HZ = 8
"""Looks a second, as `pocket` is served."""

CLIPS = {
    "actor": "actor_expressions.mp4",
    "d0": "driving_d0.mp4",
    "d9": "driving_d9.mp4",
    "d10": "driving_d10.mp4",
    "d14": "driving_d14.mp4",
    "door": "single_face.mp4",
    "talking_1": "talking_1.mp4",
    "talking_2": "talking_2.mp4",
}
"""Eight people of `video`, each alone in one shot. `noface_face.mov` shows the man of `door` again."""

_HEIGHT, _MOST = 360, 96
"""Pictures are scaled to this height at most; at most so many are used of each person."""


@dataclass(frozen=True, slots=True, eq=False)
class Person:
    """One person in one shot: pictures (H, W, 3) uint8 RGB, and the box of the face in each."""

    name: str
    pictures: tuple[NDArray[np.uint8], ...]
    boxes: tuple[Box, ...]

    def at(self, step: int) -> tuple[NDArray[np.uint8], Box]:
        """Picture and box of a look. The pictures are played forth and back, without a jump."""
        last = len(self.pictures) - 1
        index = last - abs(step % (2 * last) - last)
        return self.pictures[index], self.boxes[index]


def people_of_video(folder: Path, detector: Detector) -> list[Person]:
    """The people of `CLIPS` in a folder."""
    return [
        _person(name, [_scaled(p) for p in islice(pictures(folder / file), _MOST)], detector)
        for name, file in CLIPS.items()
    ]


def people_of_photos(archive: Path, detector: Detector, count: int, seed: int = 7) -> list[Person]:
    """`count` different people of an archive of photos (Name_number.jpg), each photo animated."""
    rng = np.random.default_rng(seed)
    people: dict[str, Person] = {}
    with zipfile.ZipFile(archive) as photos:
        names = sorted(name for name in photos.namelist() if name.endswith(".jpg"))
        for index in rng.permutation(len(names)):
            name = Path(names[index]).stem.rsplit("_", 1)[0]
            if name in people:
                continue
            coded = np.frombuffer(photos.read(names[index]), np.uint8)
            photo = np.asarray(cv2.imdecode(coded, cv2.IMREAD_COLOR), np.uint8)[:, :, ::-1]
            found = detector.detect([photo])[0]
            if len(found) != 1 or found[0].certainty is not Certainty.CLEAR or photo.shape[0] < 140:
                continue
            person = _person(name, list(animate(photo, found[0].box, rng)), detector)
            people[name] = person
            if len(people) == count:
                break
    return list(people.values())


def pictures(path: Path) -> Iterator[NDArray[np.uint8]]:
    """The pictures of a recording at eight looks a second."""
    with Recording.open(path) as recording:
        grid = GridSampler(FRAME_HZ)
        for item in recording:
            sampled = grid.push(item) if isinstance(item, Frame) else []
            for one in sampled:
                if one.frame is not None:
                    yield from [to_rgb(one.frame)] * len(one.points)


def animate(
    photo: NDArray[np.uint8], box: Box, rng: np.random.Generator, count: int = 64
) -> Iterator[NDArray[np.uint8]]:
    """Pictures (360, 480, 3) of a person before a wall, who turns, tilts and moves, made from a photo.

    The head is drawn as a cylinder that turns by up to 35 degrees; everything else is an affine map. The
    light changes a little. Gray photos get a color of skin; clothes and wall are made up.
    """
    photo = _with_color(photo, rng)
    center, width = ((box[0] + box[2]) / 2, (box[1] + box[3]) / 2), box[2] - box[0]
    outline = np.zeros(photo.shape[:2], np.float32)
    axes = (round(0.72 * width), round(0.75 * (box[3] - box[1])))
    cv2.ellipse(outline, (round(center[0]), round(center[1])), axes, 0, 0, 360, 1.0, -1)
    outline = np.asarray(cv2.blur(outline, (9, 9)), np.float32)
    wall, clothes = _wall_and_clothes(rng)
    home = (240 + rng.uniform(-50, 50), 150 + rng.uniform(-15, 15))
    for turn, tilt, zoom, right, down, light in _walks(rng, count).T:
        matrix = cv2.getRotationMatrix2D(center, 12 * tilt, (1 + 0.1 * zoom) * 150 / width)
        x, y = home[0] + 30 * right, home[1] + 18 * down
        matrix = np.add(matrix, [[0, 0, x - center[0]], [0, 0, y - center[1]]])
        turned = _turn(photo, center[0], 0.75 * width, np.radians(35) * turn)
        head = cv2.warpAffine(turned, matrix, _SCENE, borderMode=cv2.BORDER_REPLICATE)
        cover = cv2.warpAffine(outline, matrix, _SCENE)[:, :, None]
        body = np.roll(clothes, round(x - 240), axis=1)
        drawn = np.where(body > 0, body, wall)
        drawn = drawn + cover * (np.asarray(head, np.float32) - drawn)
        yield np.clip(drawn * (1 + 0.12 * light), 0, 255).astype(np.uint8)


_SCENE = (480, 360)


def _with_color(photo: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    tint = np.asarray([1.0, rng.uniform(0.74, 0.88), rng.uniform(0.6, 0.8)])
    if np.ptp(photo.astype(np.int16), axis=2).mean() > 3:
        return photo
    return np.asarray(photo * tint, np.uint8)


def _wall_and_clothes(
    rng: np.random.Generator,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """A wall of soft colors, and clothes on shoulders (0 where there are none); (360, 480, 3) float32."""
    light, tint = rng.uniform(40, 200, (4, 5, 1)), rng.uniform(-12, 12, (1, 1, 3))
    room = 0.75 * rng.choice([60, 120, 180]) + 0.25 * light + tint
    wall = cv2.resize(np.asarray(room), _SCENE, interpolation=cv2.INTER_CUBIC).clip(0, 255)
    clothes = np.zeros((*_SCENE[::-1], 3), np.float32)
    gray = rng.choice([25, 45, 110, 215])
    color = [float(max(1, value)) for value in gray + rng.uniform(-25, 25, 3)]
    cv2.ellipse(clothes, (240, 370), (170, 140), 0, 0, 360, color, -1)
    clothes[:: int(rng.integers(6, 40))] *= 0.7
    return np.asarray(wall, np.float32), clothes


def _walks(rng: np.random.Generator, count: int) -> NDArray[np.float64]:
    """(6, count) smooth curves in [-1, 1]: sums of sines of 0.1 to 0.7 Hz."""
    t = np.arange(count) / FRAME_HZ
    rates, phases = rng.uniform(0.1, 0.7, (6, 3, 1)), rng.uniform(0, 2 * np.pi, (6, 3, 1))
    return np.asarray(np.sin(2 * np.pi * rates * t + phases).mean(1) * 1.4).clip(-1, 1)


def _turn(
    photo: NDArray[np.uint8], middle: float, radius: float, angle: float
) -> NDArray[np.uint8]:
    """`photo` with the head at x = `middle` turned by `angle` radians, as a cylinder of `radius` pixels."""
    rows, columns = np.mgrid[: photo.shape[0], : photo.shape[1]].astype(np.float32)
    across = np.clip((columns - middle) / radius, -1, 1)
    around = np.arcsin(across) - angle * np.sqrt(1 - across**2)
    source = np.where(np.abs(across) < 1, middle + radius * np.sin(around), columns)
    maps = np.asarray(source, np.float32), np.asarray(rows)
    turned = cv2.remap(photo, *maps, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
    return np.asarray(turned, np.uint8)


def _person(name: str, shown: list[NDArray[np.uint8]], detector: Detector) -> Person:
    boxes: list[Box | None] = []
    for picture in shown:
        found = detector.detect([picture])[0]
        boxes.append(found[0].box if found else None)
    first = next(box for box in boxes if box is not None)
    known: list[Box] = []
    for box in boxes:
        known.append(box or (known[-1] if known else first))
    return Person(name, tuple(shown), tuple(known))


def _scaled(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    scale = _HEIGHT / picture.shape[0]
    size = (round(picture.shape[1] * scale), _HEIGHT)
    resized = cv2.resize(
        picture, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    )
    return np.asarray(resized, np.uint8)


def open_detector(bundle: Bundle) -> Detector:
    """The face detector of a bundle. Raises `ValueError` where it has none."""
    part = bundle.manifest.engines.face_detector
    if part is None:
        raise ValueError(f"bundle {bundle.manifest.name!r} has no face detector")
    return Detector(bundle.engines["face_detector"], DetectorSpec.of(part))
