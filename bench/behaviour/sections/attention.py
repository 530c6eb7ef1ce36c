"""Attention on photos of which it is known where the eyes look and whether they are closed.

Two lists: photos checked by eye (`photos.csv`), and, with the mesh's answers, all photos of the same people,
who are kept out of training (see `is_held`). Each photo is shown for 1.5 seconds; the last hop counts.
"""

from __future__ import annotations

import csv
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Literal, get_args

import cv2
import numpy as np

from affectstream.bench.behaviour import intervals
from affectstream.bench.behaviour.material.media import Picture, write_video
from affectstream.bench.behaviour.report import Measure, NotMeasured, Report, Tile
from affectstream.bench.behaviour.workbench import Workbench, largest_faces
from affectstream.engines.labels import AttentionOption
from affectstream.stream.results.attention import attention_method
from affectstream.train.loader.faces.squares import is_held

Looks = Literal["camera", "elsewhere", "closed"]
LOOKS: tuple[Looks, ...] = get_args(Looks)
OPTIONS: tuple[AttentionOption, ...] = get_args(AttentionOption)
_SHOWN_S = 1.5
_CAMERA_DEG, _ELSEWHERE_DEG = 10.0, 22.0
_CLOSED, _OPEN = 0.12, 0.2
"""Opening of both eyes, as lid distance over width."""
_MESH_PHOTOS = 100
"""Photos by the mesh's answers, so that it stays quick."""


@dataclass(frozen=True, slots=True)
class Shown:
    """One photo with what the bundle said; `state` is None where it found no face."""

    file: str
    looks: Looks
    state: str | None

    @property
    def right(self) -> bool:
        """Whether who looks at the camera, and nobody else, is attentive."""
        return (self.state == "attentive") == (self.looks == "camera")


def measure(bench: Workbench) -> Report:
    """Balanced accuracy of attention, and the share of each kind of photo that is right."""
    archive = bench.data / "faces_in_context.zip"
    if not archive.is_file():
        raise NotMeasured(f"{archive} does not exist")
    lists = {"by eye": checked_by_eye()}
    if bench.teacher is not None:
        lists["by the mesh"] = by_mesh(bench)
    measures, tiles = [], list[Tile]()
    bundle = bench.recognizer.bundle
    options = [o for o in OPTIONS if o == attention_method(bundle, o)] or [OPTIONS[0]]
    details = () if bundle.has_geometry else ("gaze and lids: not in this bundle",)
    with zipfile.ZipFile(archive) as photos:
        for option, (name, photo_list) in product(options, lists.items()):
            method = attention_method(bundle, option)
            shown = [show(bench, photos, file, looks, option) for file, looks in photo_list]
            measures += _measures(f"{method}, photos {name}", shown)
            if name == "by eye" and option == options[0]:
                wrong = [one for one in shown if one.state is not None and not one.right]
                tiles += [_tile(photos, one) for one in wrong[:: max(1, len(wrong) // 16)]]
    return Report(tuple(measures), details, tuple(tiles))


def checked_by_eye() -> list[tuple[str, Looks]]:
    """Files and where their people look, from `photos.csv`."""
    with Path(__file__).with_name("photos.csv").open(newline="") as file:
        return [(row["file"], _looks(row["looks"])) for row in csv.DictReader(file)]


def _looks(text: str) -> Looks:
    (found,) = [looks for looks in LOOKS if looks == text]
    return found


def by_mesh(bench: Workbench) -> list[tuple[str, Looks]]:
    """Files of people who are kept out of training, whose gaze or lids are clear to the mesh."""
    answers = bench.teacher_answers("faces_in_context")
    files = [Path(str(name)).name for name in answers["name"]]
    gaze = answers["pose"][:, :2] + answers["gaze_angles"]
    gaze -= np.median(gaze, axis=0)  # most people look at the camera
    away, eyes = np.hypot(*gaze.T), answers["eyes"]
    found: list[tuple[str, Looks]] = []
    for n, file in enumerate(files):
        if files.count(file) > 1 or not is_held(file):
            continue
        if eyes[n].max() < _CLOSED:
            found.append((file, "closed"))
        elif eyes[n].min() > _OPEN and away[n] < _CAMERA_DEG:
            found.append((file, "camera"))
        elif eyes[n].min() > _OPEN and away[n] > _ELSEWHERE_DEG:
            found.append((file, "elsewhere"))
    return found[:: max(1, len(found) // _MESH_PHOTOS)]


def show(
    bench: Workbench, photos: zipfile.ZipFile, file: str, looks: Looks, option: AttentionOption
) -> Shown:
    """Score one photo as a recording of its own."""
    picture = read_photo(photos, file)
    count = round(_SHOWN_S * bench.frame_hz)
    path = bench.folder / f"photo_{file}.mp4"
    if not path.exists():  # the next method takes the same file
        write_video(path, [picture] * count, bench.frame_hz)
    rows = list(largest_faces(bench.rows(path, ("video",), option)))
    return Shown(file, looks, rows[-1]["attention_state"] if rows else None)


def read_photo(photos: zipfile.ZipFile, file: str) -> Picture:
    """A photo of the archive, RGB."""
    raw = np.frombuffer(photos.read(f"images/{file}"), np.uint8)
    picture = cv2.imdecode(raw, cv2.IMREAD_COLOR)
    if picture is None:
        raise NotMeasured(f"images/{file} is not a picture")
    return np.asarray(picture[:, :, ::-1], np.uint8)


def balanced_accuracy(shown: Sequence[Shown]) -> float:
    """Mean of the shares that are right of those who look at the camera and of all others, in percent."""
    camera = [one.right for one in shown if one.looks == "camera"]
    away = [one.right for one in shown if one.looks != "camera"]
    if not camera or not away:
        return float("nan")
    return 50 * (float(np.mean(camera)) + float(np.mean(away)))


def _measures(name: str, shown: Sequence[Shown]) -> list[Measure]:
    seen = [one for one in shown if one.state is not None]
    measures = [
        Measure(f"{name}: with a face", 100 * len(seen) / max(1, len(shown)), len(shown), "%"),
        Measure(
            f"{name}: balanced accuracy",
            balanced_accuracy(seen),
            len(seen),
            "%",
            intervals.bootstrap(balanced_accuracy, seen),
        ),
    ]
    for looks in LOOKS:
        right = [one.right for one in seen if one.looks == looks]
        n, hits = len(right), sum(right)
        measures.append(
            Measure(
                f"{name}: {looks}, right",
                100 * hits / n if n else None,
                n,
                "%",
                intervals.share(hits, n),
            )
        )
    return measures


def _tile(photos: zipfile.ZipFile, one: Shown) -> Tile:
    return Tile(read_photo(photos, one.file), f"{one.looks}: {one.state}", one.right)
