"""Figures of a bundle on the public sets, through its own engines as they will run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import accuracy_score, f1_score, recall_score

from affectstream.engines.bundle import Bundle
from affectstream.engines.manifest import Measured
from affectstream.engines.models.registry import file_of
from affectstream.engines.spec import Array
from affectstream.stream.encode import TextEncoder
from affectstream.stream.faces.detect import DetectorSpec
from affectstream.train.data import fer2013, meld, ravdess
from affectstream.train.data.mels import loudest_window
from affectstream.train.errors import DataMissing
from affectstream.train.evaluate_detector import compare
from affectstream.train.models.pocket_voice import WINDOW_SAMPLES

_PART = 32


def evaluate_detector(bundle: Bundle, data: Path) -> list[Measured]:
    """How many of YuNet's faces on the clips ours finds (IoU 0.5), and false alarms where none is.

    Every fifth frame of each clip under ``video/``; every frame of clips without a face.
    """
    part = bundle.manifest.engines.face_detector
    if part is None:
        return []
    teacher = data / "models" / "yunet_n_dynamic.onnx"
    for path in (data / "video", data / "images", teacher):
        if not path.exists():
            raise DataMissing(
                f"{path} not found: the detector is measured on clips in video/ and pictures in "
                "images/, beside models/yunet_n_dynamic.onnx"
            )
    result = compare(
        file_of(bundle.folder, part),
        teacher,
        sorted(p for p in (data / "video").iterdir() if p.suffix in {".mp4", ".mov"}),
        sorted((data / "images").iterdir()),
        spec=DetectorSpec(
            size=part.input_size,
            threshold=part.threshold,
            nms_iou=part.nms_iou,
            color=part.color,
            layout=part.layout,
        ),
    )
    clips = [row for row in result["files"] if row["name"].endswith((".mp4", ".mov"))]
    faces, found = sum(row["faces"] for row in clips), sum(row["found"] for row in clips)
    empty = [row for row in result["files"] if not row["faces"]]
    alarms, frames = sum(row["alarms"] for row in empty), sum(row["frames"] for row in empty)
    where = "faces YuNet finds on video/"
    return [
        Measured("face_detector", where, "recall at IoU 0.5", round(found / faces, 4), faces),
        Measured("face_detector", "pictures without a face", "false alarms", float(alarms), frames),
    ]


def evaluate_face(bundle: Bundle, data: Path, split: str = "test") -> list[Measured]:
    """Accuracy and unweighted recall of the face encoder's own classifier on FER2013.

    `split` names the folder: ``test`` is PublicTest.
    """
    labels = bundle.manifest.labels
    images, truth = fer2013.read(data, split, labels)
    engine = bundle.engines["face_encoder"]
    pixels = np.repeat(images[..., None], 3, axis=3)
    guess = np.concatenate(
        [engine.run({"pixels": part})["logits"].argmax(1) for part in _parts(pixels)]
    )
    where = f"FER2013 {split}"
    return [
        Measured("face_encoder", where, "accuracy", _of(accuracy_score, truth, guess), len(truth)),
        Measured("face_encoder", where, "unweighted recall", _recall(truth, guess), len(truth)),
    ]


def evaluate_voice(
    bundle: Bundle, data: Path, actors: tuple[int, ...] = ravdess.VALID_ACTORS
) -> list[Measured]:
    """Unweighted recall of the voice encoder on RAVDESS `actors`, seven classes."""
    engine = bundle.engines["voice_encoder"]
    clips = ravdess.read(data, actors)
    truth = np.array([bundle.manifest.labels.index(clip.emotion) for clip in clips])
    windows = np.stack([loudest_window(clip.samples, WINDOW_SAMPLES) for clip in clips])
    guess = np.concatenate(
        [engine.run({"samples": part})["logits"].argmax(1) for part in _parts(windows)]
    )
    where = f"RAVDESS actors {min(actors)}-{max(actors)}"
    return [
        Measured("voice_encoder", where, "unweighted recall", _recall(truth, guess), len(truth)),
        Measured("voice_encoder", where, "accuracy", _of(accuracy_score, truth, guess), len(truth)),
    ]


def evaluate_text(bundle: Bundle, data: Path, split: str = "dev") -> list[Measured]:
    """Weighted F1 and accuracy of the text encoder on one utterance of MELD at a time."""
    lines = meld.read(data, split)
    encoder = TextEncoder(bundle)
    truth = np.array([bundle.manifest.labels.index(line.emotion) for line in lines])
    guess = np.array([encoder.logits(line.text).argmax() for line in lines])
    where = f"MELD {split}"
    weighted = float(f1_score(truth, guess, average="weighted", zero_division=0))
    return [
        Measured("text_encoder", where, "weighted F1", round(weighted, 4), len(truth)),
        Measured("text_encoder", where, "accuracy", _of(accuracy_score, truth, guess), len(truth)),
    ]


def _parts(array: Array) -> list[Array]:
    return [array[start : start + _PART] for start in range(0, len(array), _PART)]


def _of(metric: Callable[..., float], truth: Array, guess: Array) -> float:
    return round(float(metric(truth, guess)), 4)


def _recall(truth: NDArray[np.int64], guess: NDArray[np.int64]) -> float:
    return round(float(recall_score(truth, guess, average="macro", zero_division=0)), 4)
