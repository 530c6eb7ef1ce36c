"""Head pose against the pose of MediaPipe's face mesh, in every recording.

Both are medians over a hop, of the face that both see at the same place. A bundle with `face_geometry`
measures the pose that the face's own crop shows, and is compared with the mesh's `pose`; one without it
solves the pose in the camera's axes, and is compared with `pose_frame`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from affectstream.bench.behaviour import intervals
from affectstream.bench.behaviour.report import Measure, NotMeasured, Promise, Report
from affectstream.bench.behaviour.workbench import Row, Workbench

_PROMISES = {"yaw": (0.9, 5.0), "pitch": (0.85, 4.0), "roll": (0.95, 3.0)}
"""Least correlation, and largest median difference in degrees."""
_LOOKS = ("gaze_yaw", "gaze_pitch", "eyes_open", "mouth_open")
NAMES = (*_PROMISES, *_LOOKS)
"""Columns of the readings. Openings are shares of a normal one; those of the mesh are not."""
_IOU = 0.3


@dataclass(frozen=True, slots=True, eq=False)
class Compared:
    """One recording: `own` and `mesh` (n, `NAMES`) of the same hops; `own` is nan where it is not known."""

    recording: str
    own: NDArray[np.float64]
    mesh: NDArray[np.float64]


def measure(bench: Workbench) -> Report:
    """Correlation, slope and median difference of each angle, pooled over the recordings."""
    answers = bench.teacher_answers("video")
    if "time_s" not in answers:
        raise NotMeasured(
            "video.npz is of an older face_mesh.py, whose times counted from the first picture: remove the"
            " file and run the script again"
        )
    compared = [c for clip in bench.clips() if len((c := compare(bench, clip, answers)).own)]
    if not compared:
        raise NotMeasured("no face of the recordings is in the mesh's answers")
    n = sum(len(c.own) for c in compared)
    measures = []
    for number, (name, (least, most)) in enumerate(_PROMISES.items()):
        angles = [(c.own[:, number], c.mesh[:, number]) for c in compared]
        measures += [
            Measure(
                f"{name}, correlation",
                correlation(angles),
                n,
                interval=intervals.bootstrap(correlation, angles),
                promise=Promise(at_least=least),
            ),
            Measure(
                f"{name}, slope", slope(angles), n, interval=intervals.bootstrap(slope, angles)
            ),
            Measure(
                f"{name}, median difference after bias",
                difference(angles),
                n,
                "degrees",
                intervals.bootstrap(difference, angles),
                Promise(at_most=most),
            ),
        ]
    for number, name in enumerate(_LOOKS, len(_PROMISES)):
        angles = [(c.own[:, number], c.mesh[:, number]) for c in compared]
        known = int(sum(np.isfinite(own).sum() for own, _ in angles))
        if known > 2:
            interval = intervals.bootstrap(correlation, angles)
            measures.append(
                Measure(f"{name}, correlation", correlation(angles), known, interval=interval)
            )
    details = [f"{c.recording}: {len(c.own)} hops, {_line(c)}" for c in compared]
    if not bench.recognizer.bundle.has_geometry:
        details.append("gaze, lids and mouth: not in this bundle")
    return Report(tuple(measures), tuple(details))


_Angles = Sequence[tuple[NDArray[np.float64], NDArray[np.float64]]]


def correlation(angles: _Angles) -> float:
    """Pearson's, of all hops together."""
    own, mesh = _pooled(angles)
    return float(np.corrcoef(own, mesh)[0, 1])


def slope(angles: _Angles) -> float:
    """Slope of our angle against the mesh's."""
    own, mesh = _pooled(angles)
    return float(np.polyfit(mesh, own, 1)[0])


def difference(angles: _Angles) -> float:
    """Median distance in degrees once the median difference is taken away."""
    own, mesh = _pooled(angles)
    gap = own - mesh
    return float(np.median(np.abs(gap - np.median(gap))))


def _pooled(angles: _Angles) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    own, mesh = (np.concatenate(column) for column in zip(*angles, strict=True))
    known = np.isfinite(own)
    return own[known], mesh[known]


def compare(bench: Workbench, clip: Path, answers: Mapping[str, NDArray[Any]]) -> Compared:
    """The hops of `clip` in which both have the same face."""
    here = np.flatnonzero(answers["name"] == clip.name)
    times = answers["time_s"][here]
    pose = _mesh(answers, here, bench.recognizer.bundle.has_geometry)
    size = answers["size"][here][:, None]
    points = answers["landmarks"][here] / size
    boxes = np.concatenate([points.min(axis=1), points.max(axis=1)], axis=1)
    own, mesh = [], []
    for row in bench.rows(clip, ("video",)):
        if row["left"] is None or row["yaw"] is None:
            continue
        same = (times >= row["t_start"]) & (times < row["t_end"])
        same &= overlap(row, boxes) > _IOU
        if same.sum() >= 2:
            own.append([row[name] for name in NAMES])
            mesh.append(np.median(pose[same], axis=0))
    shape = (-1, len(NAMES))
    return Compared(
        clip.name, np.array(own, np.float64).reshape(shape), np.array(mesh).reshape(shape)
    )


def _mesh(
    answers: Mapping[str, NDArray[Any]], here: NDArray[np.int64], of_crop: bool
) -> NDArray[np.float64]:
    """The mesh's values (n, `NAMES`) of the faces `here`."""
    crop = answers["pose"][here]
    columns = [
        crop if of_crop else answers["pose_frame"][here],
        crop[:, :2] + answers["gaze_angles"][here],
        answers["eyes"][here].mean(axis=1, keepdims=True),
        answers["mouth"][here][:, None],
    ]
    return np.concatenate(columns, axis=1).astype(np.float64)


def overlap(row: Row, boxes: NDArray[np.float32]) -> NDArray[np.float64]:
    """Intersection over union of the row's face with `boxes` (n, 4), in shares of the picture."""
    own = np.array([row["left"], row["top"], row["right"], row["bottom"]])
    low, high = np.maximum(own[:2], boxes[:, :2]), np.minimum(own[2:], boxes[:, 2:])
    inside = np.prod(np.maximum(0.0, high - low), axis=1)
    areas = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1) + np.prod(own[2:] - own[:2])
    return np.asarray(inside / np.maximum(1e-9, areas - inside), np.float64)


def _line(c: Compared) -> str:
    bias = np.median((c.own - c.mesh)[:, : len(_PROMISES)], axis=0)
    return ", ".join(f"{name} bias {b:+.1f}" for name, b in zip(_PROMISES, bias, strict=True))
