"""A stretch of a recording explained hop by hop: numbers, and a video with the maps over the face."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import msgspec
import numpy as np
from numpy.typing import NDArray

from affectstream.engines.cache.atomic import replacing, write_atomic
from affectstream.stream.errors import OptionError
from affectstream.stream.events import encode
from affectstream.stream.explain.draw import Picture, blend, color_scale
from affectstream.stream.explain.explanation import rounded
from affectstream.stream.explain.faces import FaceEffect, face_effect
from affectstream.stream.explain.files import DOCUMENT, VIDEO, remove_earlier
from affectstream.stream.explain.find import FoundHop, find_hops, person_name
from affectstream.stream.explain.modalities import modality_effects
from affectstream.stream.explain.model import HopModel
from affectstream.stream.explain.pictures import read_crops
from affectstream.stream.explain.stated_use import recording_stated
from affectstream.stream.faces.crop import fit_similarity
from affectstream.stream.faces.encode import FaceEncoders
from affectstream.stream.loaded import LoadedBundle
from affectstream.stream.media.picture import to_rgb
from affectstream.stream.media.recording import Recording
from affectstream.stream.media.types import Frame
from affectstream.stream.options import SourceOptions
from affectstream.stream.results.origin import STATED_USE
from affectstream.stream.sinks.base import writing
from affectstream.stream.windowing.windows import TrackSample

MOST_S = 120.0
"""The longest stretch: each hop takes about as long as an explanation of it alone."""
_SIDE = 720
"""Longest side of the video in pixels."""
_HOLD_US = 300_000
"""A map stays on a face that was last seen so long ago."""
_TICK_US = 1_000
_TICKS = Fraction(_TICK_US, 1_000_000)


@dataclass(frozen=True, slots=True, eq=False)
class _Hop:
    found: FoundHop
    text: str
    face: FaceEffect | None


@dataclass(frozen=True, slots=True, eq=False)
class ClipExplanation:
    """The hops of a stretch, explained one by one. `document` has the numbers of each."""

    document: dict[str, Any]
    _path: Path
    _options: SourceOptions
    _span: tuple[int, int]
    _hops: tuple[_Hop, ...]

    def write(self, folder: str | Path) -> Path:
        """Write `explanation.json` and `explanation.mp4` to `folder`; the path of the video.

        Those of an earlier explanation in `folder` are removed. Raises `OutputError` where they cannot be
        written, or would replace the recording.
        """
        folder = Path(folder)
        text = msgspec.json.format(msgspec.json.encode(self.document), indent=2)
        with writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
            remove_earlier(folder, self._path)
            write_atomic(folder / DOCUMENT, text + b"\n")
            with replacing(folder / VIDEO) as scratch:
                self._write_video(scratch)
        return folder / VIDEO

    def _write_video(self, path: Path) -> None:
        pictures = self._pictures()
        with av.open(str(path), "w", format="mp4") as output:
            if stated := [
                f"{name}: {text}" for name in STATED_USE if (text := self.document[name])
            ]:
                output.metadata["comment"] = "; ".join(stated)
            stream = output.add_stream("libx264", rate=25, options={"crf": "20"})
            stream.pix_fmt = "yuv420p"
            stream.codec_context.time_base = _TICKS
            last = -1
            for pts_us, picture in pictures:
                if last < 0:
                    stream.height, stream.width = picture.shape[:2]
                if picture.shape[:2] != (stream.height, stream.width):
                    continue
                pts = (pts_us - self._span[0]) // _TICK_US
                if pts <= last:
                    continue
                frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
                frame.pts, frame.time_base, last = pts, _TICKS, pts
                output.mux(stream.encode(frame))
            output.mux(stream.encode(None))

    def _pictures(self) -> Iterator[tuple[int, Picture]]:
        """Every frame of the stretch with the map of its hop over the face."""
        from_us, to_us = self._span
        scale = max((color_scale(h.face.grid) for h in self._hops if h.face), default=1.0)
        with Recording.open(
            self._path, start_us=from_us, end_us=to_us, max_pixels=self._options.max_pixels
        ) as source:
            aspect = 1.0 if source.info.video is None else source.info.video.pixel_aspect
            for frame in source:
                if not isinstance(frame, Frame):
                    continue
                hop = self._hop_at(frame.pts_us)
                sample = None if hop is None else _newest(hop.found, frame.pts_us)
                if sample is not None:
                    frame = replace(frame, rotation=sample.rotation)
                picture = to_rgb(frame, pixel_aspect=aspect)
                if hop is not None and hop.face is not None and sample is not None:
                    picture = _tinted(picture, sample, hop.face, scale)
                yield frame.pts_us, _labeled(picture, "" if hop is None else hop.text)

    def _hop_at(self, pts_us: int) -> _Hop | None:
        inside = (
            h for h in self._hops if h.found.reading.start_us <= pts_us < h.found.reading.end_us
        )
        return next(inside, None)


def explain_clip(
    loaded: LoadedBundle,
    path: str | Path,
    from_us: int,
    to_us: int,
    options: SourceOptions | None = None,
    *,
    track: int | None = None,
    explained: str | None = None,
    per_side: int = 9,
) -> ClipExplanation:
    """Explain every hop of one person between `from_us` and `to_us`; the arguments are those of `explain`.

    Without `explained` each hop explains its own best label. Raises `OptionError` for a stretch that is empty
    or longer than `MOST_S`, for a recording without pictures, and for a bundle that does not encode aligned
    faces.
    """
    options, path = options or SourceOptions(), Path(path)
    if not 0 < (to_us - from_us) / 1e6 <= MOST_S:
        raise OptionError(
            f"from {from_us / 1e6:g} to {to_us / 1e6:g} s: expected an end after the beginning, "
            f"at most {MOST_S:g} s later"
        )
    encoders = FaceEncoders.from_bundle(loaded.bundle)
    if not any(encoder.crop.kind == "face" for encoder in encoders.faces):
        name = loaded.bundle.manifest.name
        raise OptionError(
            f"bundle {name!r} encodes no aligned faces, over which a video could draw: explain single times "
            "with --at"
        )
    with Recording.open(path, max_pixels=options.max_pixels) as source:
        if source.info.video is None:
            raise OptionError(
                f"{path} has no pictures, over which a video could draw: explain single times with --at"
            )
    hops, rows = [], []
    for found in find_hops(loaded, path, options, from_us, to_us, track):
        model = HopModel(loaded.bundle, found, explained)
        seen = read_crops(path, found, model.given, encoders, options)
        of_face = next((one for one in seen if one.encoder.crop.kind == "face"), None)
        face = None if of_face is None else face_effect(model, of_face, per_side)
        verdict = found.event.label or f"no label ({found.event.abstain})"
        hops.append(_Hop(found, f"{verdict}   {model.explained} {model.full.value:.2f}", face))
        rows.append(
            {
                "event": msgspec.json.decode(encode(found.event)),
                "explained": {"name": model.explained, "value": rounded(model.full.value)},
                "modalities": {
                    one.modality: None if one.change is None else rounded(one.change)
                    for one in modality_effects(model)
                },
                "regions": {}
                if face is None
                else {name: rounded(value) for name, value in face.regions.items()},
            }
        )
    document = {
        "type": "explanations",
        "stream": hops[0].found.stream,
        **recording_stated(path, options),
        "hops": rows,
        "notes": _uncovered([hop.found for hop in hops], from_us, to_us),
    }
    return ClipExplanation(document, path, options, (from_us, to_us), tuple(hops))


def _uncovered(hops: Sequence[FoundHop], from_us: int, to_us: int) -> list[str]:
    """Sentences about what of a stretch has no result of the person."""
    readings = [hop.reading for hop in hops]
    covered = sum(min(one.end_us, to_us) - max(one.start_us, from_us) for one in readings)
    if covered >= to_us - from_us:
        return []
    first, last = max(from_us, readings[0].start_us), min(to_us, readings[-1].end_us)
    return [
        f"of {from_us / 1e6:g} to {to_us / 1e6:g} s, {covered / 1e6:g} s have results of "
        f"{person_name(readings[0].track)}, between {first / 1e6:g} and {last / 1e6:g} s; in the rest there "
        "is nothing to see or hear of them, or the recording has ended"
    ]


def _newest(found: FoundHop, pts_us: int) -> TrackSample | None:
    """The face that was seen last before a frame, if that is not long ago."""
    samples: Sequence[TrackSample] = found.hop.subjects[found.place].samples
    before = [one for one in samples if one.pts_us <= pts_us <= one.pts_us + _HOLD_US]
    return before[-1] if before else None


def _tinted(picture: Picture, sample: TrackSample, face: FaceEffect, scale: float) -> Picture:
    """`picture` with the map over the face of `sample`."""
    crop = face.seen.encoder.crop
    matrix = fit_similarity(sample.face.landmarks, np.asarray(crop.template, np.float32))
    size = picture.shape[1], picture.shape[0]
    smooth = cv2.GaussianBlur(face.map, (0, 0), crop.size / (3 * len(face.grid)))
    flags = cv2.WARP_INVERSE_MAP | cv2.INTER_LINEAR
    values: NDArray[Any] = cv2.warpAffine(smooth, matrix, size, flags=flags)
    return blend(picture.astype(np.float64), np.asarray(values, np.float64), scale)


def _labeled(picture: Picture, text: str) -> Picture:
    """`picture` at most `_SIDE` pixels wide and tall, with even sides and a line of text."""
    scale = min(1.0, _SIDE / max(picture.shape[:2]))
    width, height = (2 * max(1, round(side * scale / 2)) for side in picture.shape[1::-1])
    small = cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA).copy()
    size = max(0.4, width / 900)
    place = (round(14 * size), height - round(16 * size))
    for color, thick in (((0, 0, 0), 4), ((255, 255, 255), 1)):
        cv2.putText(small, text, place, cv2.FONT_HERSHEY_SIMPLEX, size, color, thick, cv2.LINE_AA)
    return np.asarray(small, np.uint8)
