"""Which iMotions export describes which video.

In a folder an export belongs to the video of the same name, or to a video named after the respondent in the
export. A table with the columns ``export``, ``video`` and perhaps ``participant`` states the pairs; its file
names are relative to the table.
"""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from affectstream.train.data.imotions_export import find_layout
from affectstream.train.data.reading.tables import SUFFIXES, read_rows, require_columns, text
from affectstream.train.errors import DataError, DataMissing

VIDEOS = frozenset({".mp4", ".mov", ".avi", ".mkv", ".webm", ".wmv", ".m4v", ".mpg"})
EXPORTS = frozenset({".csv", ".txt", ".tsv"})


@dataclass(frozen=True, slots=True)
class Pair:
    """An export and its video. `name` of the recording is unique; `participant` overrides the respondent."""

    name: str
    export: Path
    video: Path | None
    participant: str | None = None


def find_pairs(path: Path) -> list[Pair]:
    """The pairs of a folder or a table. Raises `DataMissing` or `DataError`."""
    return _pairs_of_table(path) if path.suffix in SUFFIXES else _pairs_of_folder(path)


def _pairs_of_table(path: Path) -> list[Pair]:
    rows, folder = read_rows(path), path.parent
    require_columns(path, rows[0], ("export", "video"), ("export", "video", "participant"))
    exports = [text(row, "export") for row in rows]
    for number, export in enumerate(exports, 1):
        if export is None or exports.count(export) > 1:
            raise DataError(f"{path}, row {number}: export is {export!r}, expected one of each")
    files = [folder / str(export) for export in exports]
    videos = [text(row, "video") for row in rows]
    return [
        Pair(name, file, None if video is None else folder / video, text(row, "participant"))
        for name, file, video, row in zip(_names(files, folder), files, videos, rows, strict=True)
    ]


def _pairs_of_folder(folder: Path) -> list[Pair]:
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    exports = [p for p in files if p.suffix.casefold() in EXPORTS]
    if not exports:
        raise DataMissing(
            f"no iMotions export in {folder}: expected .csv, .txt or .tsv files beside their videos, "
            "or a table with the columns export and video"
        )
    videos = [p for p in files if p.suffix.casefold() in VIDEOS]
    return [
        Pair(name, export, _video_of(export, videos))
        for name, export in zip(_names(exports, folder), exports, strict=True)
    ]


def _names(exports: Sequence[Path], folder: Path) -> list[str]:
    """The file name of each export, with its folders if several have that name."""
    stems = Counter(export.stem for export in exports)
    return [
        export.stem
        if stems[export.stem] == 1
        else Path(os.path.relpath(export, folder)).with_suffix("").as_posix()
        for export in exports
    ]


def _video_of(export: Path, videos: Sequence[Path]) -> Path | None:
    """The video of the same name, in the same folder if there are several, else the respondent's."""
    stems = [export.stem.casefold()]
    with contextlib.suppress(DataError, DataMissing):  # the job will report what is wrong
        stems.append((find_layout(export).respondent or "").casefold())
    for stem in stems:
        found = [video for video in videos if video.stem.casefold() == stem]
        beside = [video for video in found if video.parent == export.parent]
        if beside or len(found) == 1:
            return (beside or found)[0]
    return None
