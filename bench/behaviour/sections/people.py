"""Numbers of people: shots whose people were counted by eye, and sequences whose truth is known.

The sequences are those of `affectstream bench tracking`, which has more of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import cv2

from affectstream.bench.behaviour import intervals
from affectstream.bench.behaviour.material.media import duration_s, read_pictures
from affectstream.bench.behaviour.report import Measure, NotMeasured, Promise, Report, Tile
from affectstream.bench.behaviour.workbench import Row, Workbench
from affectstream.bench.tracking.people import CLIPS
from affectstream.bench.tracking.report import tracking_report


@dataclass(frozen=True, slots=True)
class Shot:
    """A stretch without a cut. `people` is the number of people with a face to see."""

    recording: str
    start_s: float
    end_s: float
    people: int


SHOTS = (
    Shot("actor_expressions.mp4", 0, 20, 1),
    Shot("driving_d0.mp4", 0, 4, 1),
    Shot("driving_d10.mp4", 0, 15, 1),
    Shot("driving_d14.mp4", 0, 18, 1),
    Shot("driving_d9.mp4", 0, 20, 1),
    Shot("no_face.mp4", 0, 4, 0),
    Shot("noface_face.mov", 0, 3.95, 0),
    Shot("noface_face.mov", 3.95, 6.35, 1),
    Shot("single_face.mp4", 0, 3, 1),
    Shot("talking_1.mp4", 0, 7, 1),
    Shot("talking_2.mp4", 0, 6, 1),
    Shot("two_people.mp4", 0, 1.52, 2),
    Shot("two_people.mp4", 3.59, 7.89, 1),
    Shot("two_people.mp4", 7.89, 11, 5),
)
"""The last shot shows more people far behind; those that are counted are in focus."""
_NOT_PROMISED = ("away for 4 s", "away for 8 s", "all")


def measure(bench: Workbench) -> Report:
    """Shots of one person that give one number, and shots of nobody that give none."""
    by_name = {clip.name: clip for clip in bench.clips()}
    shots = [shot for shot in SHOTS if shot.recording in by_name]
    if not shots:
        raise NotMeasured(f"none of {', '.join(dict.fromkeys(s.recording for s in SHOTS))}")
    numbers = [len(tracks(bench.rows(by_name[s.recording], ("video",)), s)) for s in shots]
    counted = list(zip(shots, numbers, strict=True))
    alone = [n for shot, n in counted if shot.people == 1]
    nobody = [n for shot, n in counted if shot.people == 0]
    return Report(
        measures=(
            _share("shots of one person with one number", [n == 1 for n in alone]),
            Measure(
                "numbers in a shot of one person, most",
                max(alone, default=None),
                len(alone),
                promise=Promise(at_most=1.0),
            ),
            _share("shots of nobody without a number", [n == 0 for n in nobody]),
            _jumps([bench.rows(by_name[s.recording], ("video",)) for s in shots], shots),
            *(_sequences(bench) if set(CLIPS.values()) <= by_name.keys() else ()),
        ),
        details=tuple(
            f"{s.recording} {s.start_s:g}-{s.end_s:g} s: {n} numbers for {s.people} people"
            for s, n in counted
        ),
        tiles=tuple(
            _tile(bench, by_name[shot.recording], shot, n) for shot, n in counted if shot.people
        ),
    )


def _jumps(recordings: Sequence[Sequence[Row]], shots: Sequence[Shot]) -> Measure:
    """Numbers that are on another face in the next hop of a shot: the two boxes do not overlap."""
    pairs = [
        pair
        for rows, shot in zip(recordings, shots, strict=True)
        for track in tracks(rows, shot)
        for pair in pairwise(
            row
            for row in rows
            if row["track"] == track
            and row["left"] is not None
            and shot.start_s <= row["face_t"] < shot.end_s
        )
    ]
    jumps = sum(not _overlap(a, b) for a, b in pairs)
    return Measure("jumps of a number within a shot", jumps, len(pairs), promise=Promise(at_most=0))


def _overlap(one: Row, other: Row) -> bool:
    across = max(one["left"], other["left"]) < min(one["right"], other["right"])
    return bool(across and max(one["top"], other["top"]) < min(one["bottom"], other["bottom"]))


def _sequences(bench: Workbench) -> list[Measure]:
    """Mistakes on the sequences of `bench tracking`; nobody is away for more than two seconds."""
    kinds = tracking_report(bench.data, bench.bundle)["trackers"]["affectstream"]
    rows = [row for kind, row in kinds.items() if kind not in _NOT_PROMISED]
    people, count = sum(row["people"] for row in rows), sum(row["sequences"] for row in rows)
    return [
        Measure(
            f"{count} sequences: {name}",
            sum(row[key] for row in rows),
            people,
            promise=Promise(at_most=0.0),
        )
        for name, key in (
            ("changes of a person's number", "switches"),
            ("numbers that two people share", "mixed"),
        )
    ] + [Measure("all sequences: IDF1", 100 * kinds["all"]["idf1"], kinds["all"]["sequences"], "%")]


def _tile(bench: Workbench, clip: Path, shot: Shot, numbers: int) -> Tile:
    """The middle of a shot, with a box and a number for each face."""
    t = (shot.start_s + min(shot.end_s, duration_s(clip))) / 2
    picture = read_pictures(clip, [t])[0].copy()
    height, width = picture.shape[:2]
    for row in bench.rows(clip, ("video",)):
        if row["left"] is None or not row["t_start"] <= t < row["t_end"]:
            continue
        left, right = round(row["left"] * width), round(row["right"] * width)
        top, bottom = round(row["top"] * height), round(row["bottom"] * height)
        unit = max(1, height // 180)
        cv2.rectangle(picture, (left, top), (right, bottom), (255, 220, 60), unit)
        cv2.putText(
            picture,
            str(row["track"]),
            (left, top),
            cv2.FONT_HERSHEY_SIMPLEX,
            0.6 * unit,
            (255, 220, 60),
            unit,
        )
    return Tile(picture, f"{numbers} for {shot.people}", numbers == shot.people)


def tracks(rows: Sequence[Row], shot: Shot) -> set[int]:
    """The tracks that have a face within a shot."""
    return {
        row["track"]
        for row in rows
        if row["left"] is not None and shot.start_s <= row["face_t"] < shot.end_s
    }


def _share(name: str, good: Sequence[bool]) -> Measure:
    n = len(good)
    value = 100 * sum(good) / n if n else None
    return Measure(name, value, n, "%", intervals.share(sum(good), n), Promise(at_least=100.0))
