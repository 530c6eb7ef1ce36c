"""An explanation of one reading: numbers, pictures and a page."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from affectstream.engines.bundle.folder import MANIFEST
from affectstream.engines.cache.atomic import write_atomic
from affectstream.engines.cache.digest import sha256
from affectstream.stream.errors import OptionError, SourceError
from affectstream.stream.events import encode
from affectstream.stream.explain.draw import draw_face, draw_voice, png
from affectstream.stream.explain.faces import FaceEffect, face_effect
from affectstream.stream.explain.files import DOCUMENT, PAGE, remove_earlier
from affectstream.stream.explain.find import find_hop
from affectstream.stream.explain.modalities import ModalityEffect, modality_effects
from affectstream.stream.explain.model import Answer, HopModel
from affectstream.stream.explain.page import explanation_page
from affectstream.stream.explain.pictures import read_crops
from affectstream.stream.explain.png_text import with_texts
from affectstream.stream.explain.stated_use import recording_stated
from affectstream.stream.explain.voice import VoiceEffect, voice_effects
from affectstream.stream.explain.words import WordEffect, word_effects
from affectstream.stream.faces.encode import FaceEncoders
from affectstream.stream.loaded import LoadedBundle
from affectstream.stream.options import SourceOptions
from affectstream.stream.results.event_builder import seconds
from affectstream.stream.results.origin import STATED_USE
from affectstream.stream.sinks.base import writing

DECIMALS = 4


@dataclass(frozen=True, slots=True)
class Detail:
    """How finely the input is hidden. More places take more time, in proportion."""

    face: int = 9
    """Patches down and across a crop."""
    voice_time: int = 17
    voice_frequency: int = 9

    def __post_init__(self) -> None:
        for name, value in (("face", self.face), ("voice", self.voice_time)):
            if not 2 <= value <= 64:
                raise OptionError(f"detail of the {name}: expected 2 to 64 patches, found {value}")
        if not 2 <= self.voice_frequency <= 48:
            raise OptionError(
                f"detail of the voice: expected 2 to 48 bands, found {self.voice_frequency}"
            )


@dataclass(frozen=True, slots=True, eq=False)
class Explanation:
    """Why one reading is as it is. `document` has all numbers, as they are written to `explanation.json`."""

    document: dict[str, Any]
    faces: tuple[FaceEffect, ...]
    voices: tuple[VoiceEffect, ...]
    _path: Path

    def write(self, folder: str | Path) -> Path:
        """Write `explanation.json`, the pictures and `explanation.html` to `folder`; the path of the page.

        Those of an earlier explanation in `folder` are removed. Raises `OutputError` where they cannot be
        written, or would replace the recording.
        """
        folder = Path(folder)
        pictures = self.pictures()
        with writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
            remove_earlier(folder, self._path)
            # First: a purge finds the pictures by it, also if this is interrupted.
            text = msgspec.json.format(msgspec.json.encode(self.document), indent=2)
            write_atomic(folder / DOCUMENT, text + b"\n")
            for name, data in pictures.items():
                write_atomic(folder / name, data)
            page = explanation_page(self.document, pictures)
            write_atomic(folder / PAGE, page.encode("utf-8"))
        return folder / PAGE

    def pictures(self) -> dict[str, bytes]:
        """The PNG files by name."""
        found: dict[str, bytes] = {}
        for n, face in enumerate(self.faces):
            end = "" if n == 0 else f"_{n + 1}"
            found[f"face{end}.png"] = png(draw_face(face))
            found[f"frame{end}.png"] = png(face.seen.context)
        for n, voice in enumerate(self.voices):
            found[f"voice{'' if n == 0 else f'_{n + 1}'}.png"] = png(draw_voice(voice))
        stated = {name.capitalize(): text for name in STATED_USE if (text := self.document[name])}
        return {name: with_texts(data, stated) for name, data in found.items()}


def explain(
    loaded: LoadedBundle,
    path: str | Path,
    at_us: int,
    options: SourceOptions | None = None,
    *,
    track: int | None = None,
    explained: str | None = None,
    detail: Detail | None = None,
) -> Explanation:
    """Explain the reading of the hop that covers `at_us` in the recording at `path`.

    The recording is scored from its start (or that of `options`) up to there, because who is who and who
    speaks depend on what came before. `track` is the person, 0 for the recording itself; by default the first
    with a result. `explained` is a label or an output of the head; by default the label with the highest
    score. Raises `OptionError` where there is nothing to explain, and `SourceError` for a recording that
    cannot be used.
    """
    options, detail, path = options or SourceOptions(), detail or Detail(), Path(path)
    bundle = loaded.bundle
    found = find_hop(loaded, path, options, at_us, track)
    model = HopModel(bundle, found, explained)
    encoders = FaceEncoders.from_bundle(bundle)
    notes: list[str] = []
    try:
        seen = read_crops(path, found, model.given, encoders, options)
    except SourceError as error:
        if not model.modalities or model.modalities == ("video",):
            raise
        seen, notes = [], [str(error)]
    faces = tuple(face_effect(model, one, detail.face) for one in seen)
    voices = tuple(voice_effects(model, detail.voice_time, detail.voice_frequency))
    words = word_effects(model)
    if found.reading.abstain == "conflict":
        notes.append(
            "The modalities contradict each other here, so the event holds the mean of what each says alone. "
            "What is explained is what the head says of all of them together."
        )
    reading = found.reading
    document: dict[str, Any] = {
        "type": "explanation",
        "stream": found.stream,
        **recording_stated(path, options),
        "bundle": {
            "name": bundle.manifest.name,
            "version": bundle.manifest.version,
            "manifest_sha256": sha256(bundle.folder / MANIFEST),
        },
        "options": options.described(),
        "hop": reading.hop,
        "track": reading.track,
        "others": list(found.others),
        "window": {
            "t_start": seconds(max(0, reading.end_us - bundle.manifest.window_us)),
            "t_end": seconds(reading.end_us),
        },
        "event": msgspec.json.decode(encode(found.event)),
        "explained": {"name": model.explained, **_answer(bundle.manifest.labels, model.full)},
        "modalities": [_modality(bundle.manifest.labels, one) for one in modality_effects(model)],
        "face": [_face(one) for one in faces],
        "voice": [_voice(one) for one in voices],
        "words": [_word(one) for one in words],
        "notes": notes,
    }
    return Explanation(document, faces, voices, path)


def _answer(labels: tuple[str, ...], answer: Answer) -> dict[str, Any]:
    scores = answer.scores
    return {
        "value": rounded(answer.value),
        "scores": None if scores is None else dict(zip(labels, map(rounded, scores), strict=True)),
    }


def _modality(labels: tuple[str, ...], one: ModalityEffect) -> dict[str, Any]:
    return {
        "modality": one.modality,
        "change": None if one.change is None else rounded(one.change),
        "alone": None if one.alone is None else _answer(labels, one.alone),
        "without": None if one.without is None else _answer(labels, one.without),
    }


def _face(one: FaceEffect) -> dict[str, Any]:
    crop = one.seen.encoder.crop
    return {
        "kind": crop.kind,
        "size": crop.size,
        "grid": _table(one.grid),
        "regions": {name: rounded(value) for name, value in one.regions.items()},
        "frames": [
            {"t": seconds(t_us), "change": rounded(value)}
            for t_us, value in zip(one.seen.times_us, one.frames.tolist(), strict=True)
        ],
    }


def _voice(one: VoiceEffect) -> dict[str, Any]:
    return {
        "t_start": seconds(one.start_us),
        "t_end": seconds(one.end_us),
        "top_hz": round(float(one.edges_hz[-1])),
        "grid": _table(one.grid),
    }


def _word(one: WordEffect) -> dict[str, Any]:
    change = None if one.change is None else rounded(one.change)
    return {"text": one.text, "earlier": one.earlier, "change": change}


def _table(values: NDArray[np.float64]) -> list[list[float]]:
    return [[rounded(value) for value in row] for row in values.tolist()]


def rounded(value: float) -> float:
    """A number of the document, to `DECIMALS`; -0.0 becomes 0.0."""
    return round(value, DECIMALS) + 0.0
