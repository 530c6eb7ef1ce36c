"""Whose voice is it? Two people side by side, with the sound of one of them.

The voice of a hop is given to the right face, to the wrong one, or to nobody. The listeners are people who
talk themselves, who pull faces, and who keep still.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import cv2
import numpy as np

from affectstream.bench.behaviour import intervals
from affectstream.bench.behaviour.material.media import (
    Picture,
    duration_s,
    read_pictures,
    read_sound,
    write_video,
)
from affectstream.bench.behaviour.report import Measure, NotMeasured, Promise, Report
from affectstream.bench.behaviour.workbench import Row, Workbench

TALKERS = ("talking_1.mp4", "talking_2.mp4")
LISTENERS = ("talking_1.mp4", "talking_2.mp4", "driving_d9.mp4", "single_face.mp4")
_RATE, _HEIGHT = 16, 360

Given = Literal["right", "wrong", "nobody"]


@dataclass(frozen=True, slots=True)
class Pair:
    """One file: to whom the voice of each voiced hop was given."""

    talker: str
    listener: str
    given: tuple[Given, ...]


def measure(bench: Workbench) -> Report:
    """Shares of voiced hops that go to the right face, to the wrong one, and to nobody."""
    clips = {clip.name: clip for clip in bench.clips()}
    pairs = [
        (clips[talker], clips[listener], bool(number % 2))
        for number, (talker, listener) in enumerate(
            (t, one) for t in TALKERS for one in LISTENERS if t != one
        )
        if talker in clips and listener in clips
    ]
    heard = [hear(bench, *pair) for pair in pairs]
    given = [one for pair in heard for one in pair.given]
    if not given:
        raise NotMeasured(f"no voiced hop beside two of {', '.join(LISTENERS)}")
    promises: dict[Given, Promise | None] = {
        "right": Promise(at_least=90.0),
        "wrong": Promise(at_most=5.0),
        "nobody": None,
    }
    return Report(
        measures=tuple(
            Measure(
                f"voiced hops given to {'nobody' if to == 'nobody' else f'the {to} face'}",
                100 * given.count(to) / len(given),
                len(given),
                "%",
                intervals.bootstrap(partial(_share, to=to), heard),
                promise,
            )
            for to, promise in promises.items()
        ),
        details=tuple(
            f"{pair.talker} beside {pair.listener}: right {pair.given.count('right')}, "
            f"wrong {pair.given.count('wrong')}, nobody {pair.given.count('nobody')}"
            for pair in heard
        ),
    )


def _share(pairs: Sequence[Pair], to: Given) -> float:
    given = [one for pair in pairs for one in pair.given]
    return 100 * given.count(to) / len(given) if given else float("nan")


def hear(bench: Workbench, talker: Path, listener: Path, talker_is_left: bool) -> Pair:
    """Score `talker` with its sound beside `listener` without."""
    seconds = duration_s(talker)
    own, other = (list(_pictures(clip, seconds)) for clip in (talker, listener))
    left, right = (own, other) if talker_is_left else (other, own)
    pictures = [np.concatenate(pair, axis=1) for pair in zip(left, right, strict=True)]
    path = bench.folder / f"beside_{talker.stem}_{listener.stem}.mp4"
    write_video(path, pictures, _RATE, sound=read_sound(talker))
    middle = left[0].shape[1] / pictures[0].shape[1]
    rows = bench.rows(path)
    is_left = {
        row["track"]: (row["left"] + row["right"]) / 2 < middle
        for row in rows
        if row["left"] is not None
    }
    given = tuple(given_to(row, is_left, talker_is_left) for row in rows if _voiced(row))
    return Pair(talker.name, listener.name, given)


def _voiced(row: Row) -> bool:
    return "voice" in row["modalities"].split("+")


def given_to(row: Row, is_left: dict[int, bool], talker_is_left: bool) -> Given:
    """To whom the voice of `row` was given, from the side of each track."""
    if row["track"] not in is_left:
        return "nobody"
    return "right" if is_left[row["track"]] == talker_is_left else "wrong"


def _pictures(clip: Path, seconds: float) -> Iterator[Picture]:
    """`seconds` of `clip` at `_RATE` and one height; a shorter clip is played forth and back."""
    period = min(seconds, max(0.5, duration_s(clip) - 0.2))
    times = np.arange(0, period, 1 / _RATE).tolist()
    shown = [_scaled(picture) for picture in read_pictures(clip, times)]
    last = len(shown) - 1
    for step in range(round(seconds * _RATE)):
        yield shown[last - abs(step % (2 * last) - last)]


def _scaled(picture: Picture) -> Picture:
    width = round(picture.shape[1] * _HEIGHT / picture.shape[0]) // 2 * 2
    small = cv2.resize(picture, (width, _HEIGHT), interpolation=cv2.INTER_AREA)
    return np.asarray(small, np.uint8)
