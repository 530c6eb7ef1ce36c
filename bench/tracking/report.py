"""Whether one person is one number: on real recordings, and on sequences whose truth is known.

    affectstream bench tracking --data DATA
    affectstream bench tracking --data DATA --rival rival/bin/python   (see `ocsort`)
    affectstream bench tracking --data DATA --photos 24   (the material that thresholds are chosen on)

Detections are the same for every tracker: those of the bundle's face detector.
"""

from __future__ import annotations

import json
import subprocess
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from affectstream.bench.machine import describe
from affectstream.bench.tracking.identity import IdentityScore, score_identities
from affectstream.bench.tracking.people import (
    CLIPS,
    FRAME_HZ,
    open_detector,
    people_of_photos,
    people_of_video,
    pictures,
)
from affectstream.bench.tracking.sequences import KnownSequence, Look, make_sequences
from affectstream.engines.bundle.bundle import Bundle
from affectstream.stream.faces.face import Face, FrameObservation
from affectstream.stream.faces.perceive import Perceiver
from affectstream.stream.faces.tracking.track import Tracker
from affectstream.stream.media.types import Frame


@dataclass(frozen=True, slots=True, eq=False)
class _Perceived:
    """A sequence as perceived: observations, and of each face the person (None: nobody known).

    The people of a look are None where two overlap; it counts for nothing.
    """

    kind: str
    name: str
    observations: list[FrameObservation]
    people: list[list[str | None] | None]


def main(data: Path, bundle: str, *, photos: int = 0, rival: Path | None = None) -> None:
    """Measure and print; `photos` people of photos instead of the people of the recordings."""
    report = tracking_report(data, bundle, photos=photos, rival=rival)
    if report["clips"]:
        print("| recording | seconds | persons |\n|---|---|---|")
        for row in report["clips"]:
            print(f"| {row['name']} | {row['seconds']:.1f} | {row['persons']} |")
        print()
    for tracker, kinds in report["trackers"].items():
        print(f"{tracker}\n")
        print("| sequences | n | people | numbers | switches | mixed numbers | numbered | IDF1 |")
        print("|---|---|---|---|---|---|---|---|")
        for kind, row in kinds.items():
            print(
                f"| {kind} | {row['sequences']} | {row['people']} | {row['numbers']} "
                f"| {row['switches']} | {row['mixed']} | {row['numbered']:.3f} | {row['idf1']:.3f} |"
            )
        print()
    print(json.dumps({"bench": "tracking", **report, "machine": describe()}))


def tracking_report(
    data: Path, bundle: str = "pocket", *, photos: int = 0, rival: Path | None = None
) -> dict[str, Any]:
    """Persons of each recording in `data`/video, and scores of each tracker by kind of sequence.

    `rival` is the Python of an environment that has the package `trackers`; without it OC-SORT is left out.
    """
    with Bundle.open(bundle) as opened:
        perceiver, detector = Perceiver(opened), open_detector(opened)
        clips = [] if photos else [_persons(data / "video" / f, perceiver) for f in _RECORDINGS]
        people = (
            people_of_photos(data / "faces_in_context.zip", detector, photos)
            if photos
            else people_of_video(data / "video", detector)
        )
        perceived = [_perceive(sequence, perceiver) for sequence in make_sequences(people)]
    numbers = {"affectstream": [_numbers(one.observations) for one in perceived]}
    if rival is not None:
        numbers["OC-SORT"] = _ask(rival, perceived)
    trackers = {name: _by_kind(perceived, rows) for name, rows in numbers.items()}
    return {"clips": clips, "trackers": trackers}


_RECORDINGS = (*CLIPS.values(), "noface_face.mov", "two_people.mp4", "no_face.mp4")
_BATCH = 8


def _persons(path: Path, perceiver: Perceiver) -> dict[str, Any]:
    tracker, count = Tracker(), 0
    for observation in _observe(pictures(path), perceiver):
        tracker.push(observation)
        count += 1
    return {"name": path.name, "seconds": count / FRAME_HZ, "persons": tracker.count}


def _perceive(sequence: KnownSequence, perceiver: Perceiver) -> _Perceived:
    looks = list(sequence.looks())
    observations = list(_observe((look.picture for look in looks), perceiver))
    people = [
        _people(look, observation.faces)
        for look, observation in zip(looks, observations, strict=True)
    ]
    return _Perceived(sequence.kind, sequence.name, observations, people)


def _observe(
    shown: Iterator[NDArray[np.uint8]], perceiver: Perceiver
) -> Iterator[FrameObservation]:
    batch: list[Frame] = []
    for index, picture in enumerate(shown):
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), "rgb24")
        batch.append(Frame(round(Fraction(1_000_000 * index, FRAME_HZ)), frame))
        if len(batch) == _BATCH:
            yield from perceiver.perceive(batch)
            batch = []
    if batch:
        yield from perceiver.perceive(batch)


def _people(look: Look, faces: Sequence[Face]) -> list[str | None] | None:
    """The person of each face: the best detection in a person's place is theirs."""
    if not look.clear:
        return None
    owners: list[str | None] = [None] * len(faces)
    for name, (left, top, right, bottom) in look.places.items():
        inside = [
            (face.score, index)
            for index, face in enumerate(faces)
            if left <= face.center[0] < right and top <= face.center[1] < bottom
        ]
        if inside:
            owners[max(inside)[1]] = name
    return owners


def _numbers(observations: Sequence[FrameObservation]) -> list[list[int | None]]:
    """The number of each face of each observation."""
    tracker, rows = Tracker(), []
    for observation in observations:
        by_face = {id(face): number for number, face in tracker.push(observation)}
        rows.append([by_face.get(id(face)) for face in observation.faces])
    return rows


def _ask(rival: Path, perceived: Sequence[_Perceived]) -> list[list[list[int | None]]]:
    """The same of OC-SORT, run by the Python `rival`."""
    faces = [
        [[[*face.box, face.score] for face in o.faces] for o in one.observations]
        for one in perceived
    ]
    done = subprocess.run(
        [str(rival), str(Path(__file__).with_name("ocsort.py"))],
        input=json.dumps(faces),
        capture_output=True,
        text=True,
        check=True,
    )
    numbers: list[list[list[int | None]]] = json.loads(done.stdout)
    return numbers


def _by_kind(
    perceived: Sequence[_Perceived], numbers: Sequence[Sequence[Sequence[int | None]]]
) -> dict[str, dict[str, Any]]:
    scores: dict[str, list[IdentityScore]] = defaultdict(list)
    for one, rows in zip(perceived, numbers, strict=True):
        score = score_identities(
            (person, number)
            for people, row in zip(one.people, rows, strict=True)
            if people is not None
            for person, number in zip(people, row, strict=True)
        )
        scores[one.kind].append(score)
        scores["all"].append(score)
    return {kind: _row(scores[kind]) for kind in sorted(scores, key=lambda kind: kind == "all")}


def _row(scores: Sequence[IdentityScore]) -> dict[str, Any]:
    total = sum(scores, IdentityScore())
    return {
        "sequences": len(scores),
        "people": total.people,
        "numbers": total.numbers,
        "switches": total.switches,
        "mixed": total.mixed,
        "numbered": round(total.numbered / max(1, total.faces), 4),
        "idf1": round(total.idf1, 4),
    }
