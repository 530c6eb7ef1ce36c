"""Numbers of people, against shots whose people were counted by eye."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from affectstream.bench.behaviour import intervals
from affectstream.bench.behaviour.report import Measure, NotMeasured, Promise, Report
from affectstream.bench.behaviour.workbench import Row, Workbench


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
        ),
        details=tuple(
            f"{s.recording} {s.start_s:g}-{s.end_s:g} s: {n} numbers for {s.people} people"
            for s, n in counted
        ),
    )


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
