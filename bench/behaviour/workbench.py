"""What all sections share: the recognizer, the data, a folder for files, and scored recordings."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from affectstream.bench.behaviour.report import NotMeasured
from affectstream.engines.labels import AttentionOption, Modality, SpeechGateOption
from affectstream.stream import Recognizer, Result, SourceOptions

Row = dict[str, Any]
"""One row of the readings table."""
VIDEO = (".mp4", ".mov", ".mkv", ".avi", ".webm")


@dataclass(slots=True)
class Workbench:
    """One run of the command. `bundle` is its name or folder; `folder` is temporary."""

    recognizer: Recognizer
    bundle: str
    data: Path
    folder: Path
    teacher: Path | None = None
    vad: SpeechGateOption = "silero"
    _scored: dict[tuple[Path, tuple[Modality, ...], AttentionOption], Result] = field(
        default_factory=dict
    )
    _available: dict[Path, tuple[Modality, ...]] = field(default_factory=dict)

    @property
    def hop_s(self) -> float:
        """Duration of a hop."""
        return self.recognizer.bundle.manifest.hop_us / 1e6

    @property
    def window_hops(self) -> int:
        """Hops in a window."""
        manifest = self.recognizer.bundle.manifest
        return manifest.window_us // manifest.hop_us

    @property
    def frame_hz(self) -> int:
        """Frames that are scored in a second."""
        return self.recognizer.bundle.manifest.frame_hz

    def clips(self) -> list[Path]:
        """The recordings with video. Raises `NotMeasured` if there are none."""
        found = sorted(p for p in (self.data / "video").glob("*") if p.suffix in VIDEO)
        if not found:
            raise NotMeasured(f"no recordings in {self.data / 'video'}")
        return found

    def available(self, path: Path) -> tuple[Modality, ...]:
        """The modalities that a recording and the bundle have."""
        if path not in self._available:
            with self.recognizer.session(path) as session:
                self._available[path] = session.modalities
        return self._available[path]

    def score(
        self,
        path: Path,
        modalities: tuple[Modality, ...] | None = None,
        attention: AttentionOption = "gaze",
    ) -> Result:
        """The result of a recording, computed once for the same used modalities."""
        used = self.available(path)
        if modalities is not None:
            used = tuple(m for m in used if m in modalities) or modalities
        key = path, used, attention
        if key not in self._scored:
            options = SourceOptions(modalities=used, attention=attention, vad=self.vad)
            self._scored[key] = self.recognizer.score(path, options)
        return self._scored[key]

    def rows(
        self,
        path: Path,
        modalities: tuple[Modality, ...] | None = None,
        attention: AttentionOption = "gaze",
    ) -> list[Row]:
        """The readings of a recording."""
        rows: list[Row] = self.score(path, modalities, attention).readings.to_pylist()
        return rows

    def teacher_answers(self, name: str) -> dict[str, NDArray[Any]]:
        """The arrays of `name`.npz in the teacher's folder. Raises `NotMeasured` without them."""
        if self.teacher is None:
            raise NotMeasured("it needs the face mesh's answers: --teacher FOLDER (see the docs)")
        path = self.teacher / f"{name}.npz"
        if not path.is_file():
            raise NotMeasured(f"{path} does not exist (see the docs on how to make it)")
        with np.load(path, allow_pickle=False) as arrays:
            return {key: arrays[key] for key in arrays.files}


def largest_faces(rows: list[Row]) -> Iterator[Row]:
    """The row of the largest face in each hop that has a face."""
    by_hop: dict[int, Row] = {}
    for row in rows:
        if row["left"] is None:
            continue
        other = by_hop.get(row["hop"])
        if other is None or _width(row) > _width(other):
            by_hop[row["hop"]] = row
    yield from (by_hop[hop] for hop in sorted(by_hop))


def _width(row: Row) -> float:
    return float(row["right"] - row["left"])
