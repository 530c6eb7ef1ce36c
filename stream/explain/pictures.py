"""The crops that face encoders saw, cut again from the recording.

Serving keeps embeddings, not pictures. A crop depends on one frame and the landmarks found in it, so the same
frame gives the same crop again; `read_crops` checks that by encoding it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from affectstream.stream.errors import SourceError
from affectstream.stream.explain.find import FoundHop
from affectstream.stream.explain.model import Given
from affectstream.stream.faces.crop import apply_tone
from affectstream.stream.faces.encode import FaceEncoder, FaceEncoders
from affectstream.stream.fusion.member import BundleMember
from affectstream.stream.media.picture import to_rgb
from affectstream.stream.media.recording import Recording
from affectstream.stream.media.types import Frame
from affectstream.stream.options import SourceOptions
from affectstream.stream.windowing.windows import FrameSample, TrackSample

Picture = NDArray[np.uint8]
_LEAD_US = 1_000_000
"""Frames are read from a little before the first one on."""
_CONTEXT_SIDE = 480
_SAME = 1e-2
"""Largest difference of an embedding that is computed again, relative to the largest value: batches of other
sizes may use other kernels."""


@dataclass(frozen=True, slots=True, eq=False)
class SeenPictures:
    """What one encoder saw in the window, and which members of the bundle used it."""

    encoder: FaceEncoder
    points: tuple[int, ...]
    """Grid points with a picture, oldest first."""
    times_us: tuple[int, ...]
    crops: NDArray[np.uint8]
    """(n, size, size, 3), as the encoder saw them."""
    places: Mapping[int, tuple[int, ...]]
    """For each member that uses the encoder, the place in its window of each picture, or -1."""
    context: Picture
    """The newest frame, small, with a box around the face."""


def read_crops(
    path: Path, found: FoundHop, given: Given, encoders: FaceEncoders, options: SourceOptions
) -> list[SeenPictures]:
    """The pictures of the reading `found`, for each encoder that was used.

    Raises `SourceError` if the recording cannot be read again as it was scored.
    """
    groups: dict[tuple[bool, int], dict[int, tuple[int, ...]]] = {}
    for number, (member, feeds) in enumerate(zip(found.fuser.members, given, strict=True)):
        index = member.face_encoder
        if feeds is None or index is None or not feeds["video_mask"].any():
            continue
        used = np.flatnonzero(feeds["video_mask"])
        key = member.encodes_frames, index
        groups.setdefault(key, {})[number] = tuple(map(int, used))
    return [
        _seen(path, found, encoders, whole, index, places, options)
        for (whole, index), places in groups.items()
    ]


def _seen(
    path: Path,
    found: FoundHop,
    encoders: FaceEncoders,
    whole: bool,
    index: int,
    used: Mapping[int, tuple[int, ...]],
    options: SourceOptions,
) -> SeenPictures:
    encoder = (encoders.frames if whole else encoders.faces)[index]
    subject = found.hop.subjects[found.place]
    by_point: dict[int, TrackSample | FrameSample] = {
        sample.point: sample for sample in (subject.frames if whole else subject.samples)
    }
    points_of = {
        number: [
            _point(found.fuser.members[number], found.hop.window.hop, place) for place in places
        ]
        for number, places in used.items()
    }
    points = tuple(sorted({point for own in points_of.values() for point in own}))
    samples = [by_point[point] for point in points]
    pictures = _read(path, [sample.pts_us for sample in samples], options)
    crops: list[Picture] = []
    context = np.zeros((1, 1, 3), np.uint8)
    for sample in samples:
        rgb = pictures.cut(sample)
        crops.append(
            encoder.crop_face(rgb, sample.face)
            if isinstance(sample, TrackSample)
            else encoder.crop_frame(rgb)
        )
        context = _context(rgb, sample) if sample is samples[-1] else context
    _check(path, encoder, crops, [_embedding(sample, index) for sample in samples])
    order = {point: n for n, point in enumerate(points)}
    places = {}
    for number, own in points_of.items():
        row = [-1] * len(points)
        for place, point in zip(used[number], own, strict=True):
            row[order[point]] = place
        places[number] = tuple(row)
    toned = np.stack(apply_tone(crops, encoder.crop.tone))
    times_us = tuple(sample.pts_us for sample in samples)
    return SeenPictures(encoder, points, times_us, toned, places, context)


def _point(member: BundleMember, hop: int, place: int) -> int:
    """The grid point of a place in a member's window."""
    first = (hop + 1) * member.shape.points_per_hop - member.shape.points
    return (first + place) * member.point_step


def _embedding(sample: TrackSample | FrameSample, index: int) -> NDArray[np.float32]:
    if isinstance(sample, TrackSample):
        return sample.face.embeddings[index]
    return sample.embeddings[index]


class _Pictures:
    """Frames by time, each converted when it is used."""

    def __init__(self, path: Path, frames: Mapping[int, Frame], pixel_aspect: float) -> None:
        self._path, self._frames, self._aspect = path, frames, pixel_aspect

    def cut(self, sample: TrackSample | FrameSample) -> Picture:
        frame = self._frames.get(sample.pts_us)
        if frame is None:
            raise SourceError(
                f"{self._path}: the picture at {sample.pts_us / 1e6:.3f} s was not found again: it cannot "
                "be explained"
            )
        if isinstance(sample, TrackSample):
            frame = replace(frame, rotation=sample.rotation)
        return to_rgb(frame, pixel_aspect=self._aspect)


def _read(path: Path, times_us: Sequence[int], options: SourceOptions) -> _Pictures:
    wanted = set(times_us)
    start_us = max(options.start_us or 0, min(wanted) - _LEAD_US)
    for begin_us in dict.fromkeys((start_us, options.start_us or 0)):
        frames: dict[int, Frame] = {}
        with Recording.open(path, start_us=begin_us, max_pixels=options.max_pixels) as source:
            aspect = 1.0 if source.info.video is None else source.info.video.pixel_aspect
            for item in source:
                if isinstance(item, Frame):
                    if item.pts_us in wanted:
                        frames[item.pts_us] = item
                    if item.pts_us > max(wanted):
                        break
        if frames.keys() == wanted:
            break
    return _Pictures(path, frames, aspect)


def _check(
    path: Path,
    encoder: FaceEncoder,
    crops: Sequence[Picture],
    expected: Sequence[NDArray[np.float32]],
) -> None:
    """Raise `SourceError` if a crop does not give the embedding that was scored."""
    for one, other in zip(encoder.encode(crops), expected, strict=True):
        if np.abs(one - other).max() > _SAME * max(1.0, float(np.abs(other).max())):
            raise SourceError(
                f"{path}: its pictures are not those that were scored: has the file changed meanwhile?"
            )


def _context(rgb: Picture, sample: TrackSample | FrameSample) -> Picture:
    """The frame at most `_CONTEXT_SIDE` pixels wide and tall, with a box around the face."""
    scale = min(1.0, _CONTEXT_SIDE / max(rgb.shape[:2]))
    size = max(1, round(rgb.shape[1] * scale)), max(1, round(rgb.shape[0] * scale))
    small = cv2.resize(rgb, size, interpolation=cv2.INTER_AREA).copy()
    if isinstance(sample, TrackSample):
        x0, y0, x1, y1 = (round(value * scale) for value in sample.face.box)
        cv2.rectangle(small, (x0, y0), (x1, y1), (255, 255, 255), 2)
        cv2.rectangle(small, (x0 - 1, y0 - 1), (x1 + 1, y1 + 1), (20, 20, 20), 1)
    return np.asarray(small, np.uint8)
