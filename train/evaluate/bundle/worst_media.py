"""Faces and sounds of the worst cases, as files and for the page."""

from __future__ import annotations

import io
import wave
from base64 import b64encode
from pathlib import Path

import cv2
import numpy as np

from affectstream.engines.cache.atomic import write_atomic
from affectstream.stream.media.types import SAMPLE_RATE
from affectstream.stream.sinks.base import writing
from affectstream.train.data.sample import decode_audio, decode_crop
from affectstream.train.evaluate.bundle.bundle_evaluation import BundleEvaluation
from affectstream.train.pages.elements import Html, text

PICTURES = 3
"""Faces of a sample that are shown, spread over it."""


def worst_media(found: BundleEvaluation, folder: Path) -> dict[int, Html]:
    """Write `NN.wav` and `NN-K.png` of each worst case; what the page shows of it, by its number.

    Raises `OutputError` where the disk refuses.
    """
    shown: dict[int, Html] = {}
    for place, one in enumerate(found.errors.worst if found.errors else (), 1):
        row = found.dataset.row(int(found.numbers[one.number]))
        parts: list[str] = []
        files: dict[str, bytes] = {}
        crops = row.get("crops") or []
        for number in np.linspace(0, len(crops) - 1, min(PICTURES, len(crops))).round().astype(int):
            picture = cv2.cvtColor(decode_crop(crops[number]), cv2.COLOR_RGB2BGR)
            content = cv2.imencode(".png", picture)[1].tobytes()
            files[f"{place:02}-{number}.png"] = content
            parts.append(f'<img alt="" src="data:image/png;base64,{_base64(content)}">')
        if audio := row.get("audio"):
            content = _wav(decode_audio(audio))
            files[f"{place:02}.wav"] = content
            parts.append(f'<audio controls src="data:audio/wav;base64,{_base64(content)}"></audio>')
        parts.append(f"<br>{text(one.id)}")
        with writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
            for name, content in files.items():
                write_atomic(folder / name, content)
        shown[one.number] = Html("".join(parts))
    return shown


def _wav(sound: np.ndarray) -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(SAMPLE_RATE)
        out.writeframes((np.clip(sound, -1, 1) * 32767).astype("<i2").tobytes())
    return file.getvalue()


def _base64(content: bytes) -> str:
    return b64encode(content).decode("ascii")
