"""Figures of a bundle on the public sets, through its own engines as they will run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.metrics import accuracy_score, f1_score, recall_score
from torch import Tensor

from affectstream.engines.bundle.bundle import ENCODERS, Bundle
from affectstream.engines.labels import EMOTIONS_7
from affectstream.engines.manifest import Measured
from affectstream.engines.models.registry import file_of
from affectstream.engines.spec import Array
from affectstream.stream.faces.crop import apply_tone
from affectstream.stream.faces.detect import DetectorSpec
from affectstream.train.data.readers import fer2013, meld, ravdess
from affectstream.train.data.reading.reader import sound_of
from affectstream.train.errors import DataError, DataMissing
from affectstream.train.evaluate.detector import compare
from affectstream.train.loader.pictures import resize
from affectstream.train.loader.words import tokenize
from affectstream.train.predict.bundle_outputs import bundle_outputs
from affectstream.train.recipes.pocket.mels import loudest_window
from affectstream.train.recipes.pocket.pocket_text import rival_f1

_PART = 32


def evaluate_detector(bundle: Bundle, data: Path, *, rival: bool = False) -> list[Measured]:
    """How many of YuNet's faces on the clips ours finds (IoU 0.5), and false alarms where none is.

    Every fifth frame of each clip under ``video/``; every frame of clips without a face. With `rival`
    also how many YuNet itself finds at our size.
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
    where, metric = "faces YuNet finds on video/", "recall at IoU 0.5"
    measured = [
        Measured("face_detector", where, metric, round(found / faces, 4), faces),
        Measured("face_detector", "pictures without a face", "false alarms", float(alarms), frames),
    ]
    if rival:
        again = sum(row["teacher_found"] for row in clips)
        name = f"YuNet, {part.input_size} px"
        measured.append(Measured(name, where, metric, round(again / faces, 4), faces))
    return measured


def evaluate_face(bundle: Bundle, data: Path, split: str = "test") -> list[Measured]:
    """Accuracy and unweighted recall on FER2013, by the face encoder's own classifier where it has one,
    else by the head.

    `split` names the folder: ``test`` is PublicTest. Nothing where the bundle takes no faces.
    """
    crop = bundle.manifest.crop
    if crop is None or crop.kind != "face" or not _tells(bundle, "video"):
        return []
    images, truth = fer2013.read(data, split, _labels(bundle, EMOTIONS_7, "FER2013"))
    if crop.size != images.shape[1]:
        images = np.stack([resize(image, crop.size) for image in images])
    pixels = np.stack(apply_tone(list(np.repeat(images[..., None], 3, axis=3)), crop.tone))
    guess = _guesses(bundle, "video", {"pixels": pixels})
    where = f"FER2013 {split}"
    return [
        Measured("face_encoder", where, "accuracy", _of(accuracy_score, truth, guess), len(truth)),
        Measured("face_encoder", where, "unweighted recall", _recall(truth, guess), len(truth)),
    ]


def evaluate_voice(
    bundle: Bundle, data: Path, actors: tuple[int, ...] = ravdess.VALID_ACTORS
) -> list[Measured]:
    """Unweighted recall of the voice on RAVDESS `actors`, seven classes, as `evaluate_face`."""
    if not _tells(bundle, "voice"):
        return []
    labels, clips = _labels(bundle, EMOTIONS_7, "RAVDESS"), ravdess.read(data, actors)
    truth = np.array([labels.index(str(clip.emotion)) for clip in clips])
    length = bundle.manifest.samples_per_window
    windows = np.stack([loudest_window(sound_of(clip), length) for clip in clips])
    guess = _guesses(bundle, "voice", {"samples": windows})
    where = f"RAVDESS actors {min(actors)}-{max(actors)}"
    return [
        Measured("voice_encoder", where, "unweighted recall", _recall(truth, guess), len(truth)),
        Measured("voice_encoder", where, "accuracy", _of(accuracy_score, truth, guess), len(truth)),
    ]


def evaluate_text(
    bundle: Bundle, data: Path, split: str = "dev", *, rival: bool = False
) -> list[Measured]:
    """Weighted F1 and accuracy of the words of one utterance of MELD at a time, as `evaluate_face`; with
    `rival` also the weighted F1 of `pocket_text.rival_f1`, which learns MELD's split train for it."""
    part = bundle.manifest.engines.text_encoder
    if part is None or bundle.tokenizer is None or not _tells(bundle, "text"):
        return []
    labels, lines = _labels(bundle, EMOTIONS_7, "MELD"), meld.read(data, split)
    truth = np.array([labels.index(str(line.emotion)) for line in lines])
    ids, mask = tokenize(
        bundle.tokenizer.to_str(), [line.text for line in lines], part.max_tokens, joined=False
    )
    guess = _guesses(bundle, "text", {"ids": ids, "mask": mask})
    where = f"MELD {split}"
    weighted = float(f1_score(truth, guess, average="weighted", zero_division=0))
    measured = [
        Measured("text_encoder", where, "weighted F1", round(weighted, 4), len(truth)),
        Measured("text_encoder", where, "accuracy", _of(accuracy_score, truth, guess), len(truth)),
    ]
    if rival:
        plain = rival_f1(meld.read(data, "train"), lines)
        measured.append(
            Measured("TF-IDF, logistic", where, "weighted F1", round(plain, 4), len(truth))
        )
    return measured


def _tells(bundle: Bundle, modality: str) -> bool:
    """Whether the bundle tells emotions from this modality."""
    return bool(bundle.manifest.labels) and ENCODERS[modality] in bundle.engines


def _labels(bundle: Bundle, needed: Sequence[str], name: str) -> tuple[str, ...]:
    """The bundle's labels. Raises `DataError` where it does not know all that a set is labelled with."""
    labels = bundle.manifest.labels
    if unknown := [label for label in needed if label not in labels]:
        raise DataError(
            f"{name} has samples of {', '.join(unknown)}; bundle {bundle.manifest.name!r} knows "
            f"{', '.join(labels)}"
        )
    return labels


def _guesses(bundle: Bundle, modality: str, feeds: Mapping[str, Array]) -> NDArray[np.int64]:
    """The most likely label (n,) of each sample, from one modality alone."""
    engine = bundle.engines[ENCODERS[modality]]
    parts = [
        {name: array[start : start + _PART] for name, array in feeds.items()}
        for start in range(0, len(next(iter(feeds.values()))), _PART)
    ]
    if "logits" in engine.outputs:
        return np.concatenate([engine.run(part)["logits"].argmax(1) for part in parts])
    said = bundle_outputs(bundle, [_as_batch(modality, part) for part in parts], missing=False)[
        None
    ]
    if "logits" not in said.outputs:
        raise DataError(f"bundle {bundle.manifest.name!r} does not tell one emotion of several")
    prior = np.log(np.asarray(bundle.manifest.calibration.prior))
    return np.asarray((said.outputs["logits"] + prior).argmax(1), np.int64)


def _as_batch(modality: str, part: Mapping[str, Array]) -> dict[str, Tensor]:
    """One modality of some samples as `Network.encode` takes them."""
    tensors = {name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in part.items()}
    there = torch.ones(len(next(iter(tensors.values()))), 1, dtype=torch.bool)
    if modality == "video":
        return {"pixels": tensors["pixels"].unsqueeze(1), "video_mask": there}
    if modality == "voice":
        return {"samples": tensors["samples"], "voice_mask": there}
    return {"ids": tensors["ids"], "tokens_mask": tensors["mask"], "text_mask": there}


def _of(metric: Callable[..., float], truth: Array, guess: Array) -> float:
    return round(float(metric(truth, guess)), 4)


def _recall(truth: NDArray[np.int64], guess: NDArray[np.int64]) -> float:
    return round(float(recall_score(truth, guess, average="macro", zero_division=0)), 4)
