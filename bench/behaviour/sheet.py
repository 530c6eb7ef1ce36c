"""The picture sheet: a row of pictures for each section that has some."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np

from affectstream.bench.behaviour.material.media import Picture
from affectstream.bench.behaviour.report import Report, Tile

_TILE, _CAPTION, _COLUMNS = 180, 20, 8
_WIDTH = _TILE * _COLUMNS
_BACKGROUND, _TEXT = 24, (230, 230, 230)
_COLORS = {True: (90, 220, 120), False: (255, 110, 90), None: _TEXT}


def write_sheet(path: Path, reports: Mapping[str, Report]) -> Path | None:
    """Write a PNG with the pictures of `reports` by section; None if there are no pictures."""
    rows = [_section(name, report.tiles) for name, report in reports.items() if report.tiles]
    if not rows:
        return None
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.concatenate(rows)[:, :, ::-1])
    return path


def _section(name: str, tiles: Sequence[Tile]) -> Picture:
    drawn = [_draw(tile) for tile in tiles]
    rows = [_title(name)]
    row: list[Picture] = []
    for picture in drawn:
        if sum(p.shape[1] for p in row) + picture.shape[1] > _WIDTH:
            rows.append(_joined(row))
            row = []
        row.append(picture)
    return np.concatenate([*rows, _joined(row)])


def _joined(row: Sequence[Picture]) -> Picture:
    line = np.concatenate(row, axis=1)
    return np.pad(line, ((0, 0), (0, _WIDTH - line.shape[1]), (0, 0)), constant_values=_BACKGROUND)


def _title(name: str) -> Picture:
    bar = np.full((26, _WIDTH, 3), _BACKGROUND, np.uint8)
    cv2.putText(bar, name, (6, 18), cv2.FONT_HERSHEY_SIMPLEX, 0.55, _TEXT, 1, cv2.LINE_AA)
    return bar


def _draw(tile: Tile) -> Picture:
    """The picture at the height of a row, no wider than half a sheet, with its caption below."""
    height, width = tile.picture.shape[:2]
    wide = min(_WIDTH // 2, max(1, round(width * _TILE / height)))
    small = cv2.resize(tile.picture, (wide, _TILE), interpolation=cv2.INTER_AREA)
    bar = np.full((_CAPTION, wide, 3), _BACKGROUND, np.uint8)
    place, font = (2, 14), cv2.FONT_HERSHEY_SIMPLEX
    cv2.putText(bar, tile.caption, place, font, 0.38, _COLORS[tile.good], 1, cv2.LINE_AA)
    return np.concatenate([np.asarray(small, np.uint8), bar])
