"""A recording with many faces in view, made of one: its face is repeated in the cells of a grid."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import cast

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from affectstream.bench.recordings import open_pictures
from affectstream.engines.errors import UsageError
from affectstream.stream.faces.detection.find import FaceFinder

Cells = list[NDArray[np.uint8]]
"""One (height, width, 3) uint8 RGB for each picture of a recording."""
MOST = 16
"""Cells of the grid; a detector finds as many faces at most."""
WIDTH, HEIGHT = 1280, 720
_ACROSS = 4
_CELL = WIDTH // _ACROSS, HEIGHT // _ACROSS
_GRAY = 60
_MARGIN = 0.25
"""Added around the places of the face, as a share of its height."""
_SPAN_S = 4.0
"""So much of the clip is used. The demo's face looks ahead until then."""
_STEP = 10
"""Pictures from one in which the face is looked for to the next."""


def write_crowd(cells: Cells, clip: Path, faces: int, path: Path, seconds: float) -> Path:
    """Write `seconds` of `cells` in the first `faces` of 16 places to `path`, and return `path`.

    The pictures have 1280x720 pixels whatever the number, so only the faces cost more. Each face begins at
    another moment of the cells, which are played forth and back, without a jump. The sound is that of `clip`.
    """
    with av.open(str(clip)) as source, av.open(str(path), "w") as output:
        rate = source.streams.video[0].average_rate or Fraction(25)
        stream = output.add_stream(
            "libx264", rate=rate, options={"preset": "superfast", "crf": "23"}
        )
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        sounds = {s: output.add_stream_from_template(s) for s in source.streams.audio[:1]}
        for index in range(round(seconds * rate)):
            frame = av.VideoFrame.from_ndarray(_picture(cells, index, faces), format="rgb24")
            frame.pts, frame.time_base = index, 1 / rate
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
        for packet in source.demux(list(sounds)) if sounds else ():
            if packet.dts is not None and float(packet.dts * packet.time_base) < seconds:
                packet.stream = sounds[cast("av.AudioStream", packet.stream)]
                output.mux_one(packet)
    return path


def cut_cells(clip: Path, finder: FaceFinder) -> Cells:
    """The face in each of the first pictures of `clip`, with what is around it, as large as a cell.

    All are cut at one place, which holds the face wherever it goes. Raises `UsageError` if no face is found,
    `SourceError` as `open_pictures`.
    """
    pictures = []
    with open_pictures(clip) as source:
        for frame in source.decode(video=0):
            if (frame.time or 0.0) >= _SPAN_S:
                break
            pictures.append(np.asarray(frame.to_ndarray(format="rgb24"), np.uint8))
    found = [faces[0].box for p in pictures[::_STEP] if (faces := finder.find([p])[0])]
    if not found:
        raise UsageError(
            f"{clip}: no face was found, and 'faces' needs one: leave it out of --only"
        )
    top, bottom, left, right = _place(np.array(found), pictures[0].shape)
    cut = (picture[top:bottom, left:right] for picture in pictures)
    scale = min(_CELL[0] / (right - left), _CELL[1] / (bottom - top))
    size = max(1, round(scale * (right - left))), max(1, round(scale * (bottom - top)))
    return [np.asarray(cv2.resize(p, size, interpolation=cv2.INTER_AREA), np.uint8) for p in cut]


def _place(boxes: NDArray[np.float64], shape: tuple[int, ...]) -> tuple[int, int, int, int]:
    """Top, bottom, left and right around all `boxes` (n, 4), in the shape of a cell where there is room."""
    margin = _MARGIN * float(np.median(boxes[:, 3] - boxes[:, 1]))
    (x0, y0), (x1, y1) = boxes[:, :2].min(axis=0) - margin, boxes[:, 2:].max(axis=0) + margin
    height = max(y1 - y0, (x1 - x0) * _CELL[1] / _CELL[0])
    width = height * _CELL[0] / _CELL[1]
    x, y = (x0 + x1) / 2, (y0 + y1) / 2
    rows = np.clip([y - height / 2, y + height / 2], 0, shape[0]).astype(int)
    columns = np.clip([x - width / 2, x + width / 2], 0, shape[1]).astype(int)
    return int(rows[0]), int(rows[1]), int(columns[0]), int(columns[1])


def _picture(cells: Cells, index: int, faces: int) -> NDArray[np.uint8]:
    picture = np.full((HEIGHT, WIDTH, 3), _GRAY, np.uint8)
    last = max(1, len(cells) - 1)
    for number in range(faces):
        step = index + number * len(cells) // MOST
        cell = cells[min(len(cells) - 1, last - abs(step % (2 * last) - last))]
        height, width = cell.shape[:2]
        top = number // _ACROSS * _CELL[1] + (_CELL[1] - height) // 2
        left = number % _ACROSS * _CELL[0] + (_CELL[0] - width) // 2
        picture[top : top + height, left : left + width] = cell
    return picture
