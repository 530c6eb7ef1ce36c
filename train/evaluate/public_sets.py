"""Metrics of a bundle's encoders and detector on the public sets, through the engines that serving uses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from affectstream.engines.bundle.bundle import Bundle
from affectstream.engines.bundle.shapes import ENCODER_ROLES
from affectstream.engines.labels import EMOTIONS_7
from affectstream.engines.manifest import Measurement
from affectstream.engines.models.registry import part_path
from affectstream.engines.spec import Array
from affectstream.stream.faces.crop import apply_tone
from affectstream.stream.faces.detect import DetectorSpec
from affectstream.train.data.readers import fer2013, meld, ravdess
from affectstream.train.data.reading.reader import sound_of
from affectstream.train.errors import DataError
from affectstream.train.evaluate.detector import (
    Candidate,
    DetectorComparison,
    Score,
    compare_detectors,
    yunet_at,
)
from affectstream.train.loader.dialogues import tokenize
from affectstream.train.loader.pictures import resize
from affectstream.train.loader.window_spec import loudest_window
from affectstream.train.metrics import classification
from affectstream.train.predict.bundle_outputs import bundle_outputs
from affectstream.train.recipes.pocket.pocket_text import rival_f1

_BATCH = 32
_NAMES = {"accuracy": "accuracy", "uar": "unweighted recall", "weighted_f1": "weighted F1"}
"""Names of metrics in a bundle's manifest."""


def evaluate_detector(bundle: Bundle, data: Path, *, rival: bool = False) -> list[Measurement]:
    """The share of YuNet's faces on the clips that the detector finds (IoU 0.5), upright and turned, false
    alarms in pictures without a face, and the roll of turned portraits by its landmarks.

    With `rival` also the share that YuNet itself finds at the detector's input size. Raises `DataMissing`.
    """
    part = bundle.manifest.engines.face_detector
    if part is None:
        return []
    spec = DetectorSpec.of(part)
    candidates = [Candidate("face_detector", part_path(bundle.folder, part), spec)]
    if rival:
        candidates.append(yunet_at(spec.size, data))
    comparison = compare_detectors(candidates, data)
    return [
        measured
        for one, score in zip(candidates, comparison.scores, strict=True)
        for measured in _of_detector(one.name, score, comparison)
    ]


def _of_detector(name: str, score: Score, comparison: DetectorComparison) -> list[Measurement]:
    upright, *turned = score.found
    faces, portraits = comparison.faces, len(score.turned)
    slope, spread = score.roll()
    where, recall = "faces YuNet finds on video/", "recall at IoU 0.5"
    return [
        Measurement(name, where, recall, round(upright / max(1, faces), 4), faces),
        Measurement(
            name,
            "the same, turned by 90, 180, 270",
            recall,
            round(sum(turned) / max(1, 3 * faces), 4),
            3 * faces,
        ),
        Measurement(
            name,
            "pictures without a face",
            "false alarms",
            float(score.alarms),
            comparison.empty,
        ),
        Measurement(
            name, "portraits turned up to 45 degrees", "roll slope", round(slope, 3), portraits
        ),
        Measurement(
            name, "portraits turned up to 45 degrees", "roll residual", round(spread, 2), portraits
        ),
    ]


def evaluate_face(bundle: Bundle, data: Path, split: str = "test") -> list[Measurement]:
    """Accuracy and unweighted average recall on FER2013, by the face encoder's own classifier if it has one,
    else by the head.

    `split` names the folder: ``test`` is PublicTest. Empty if the bundle takes no faces.
    """
    crop = bundle.manifest.crop
    if crop is None or crop.kind != "face" or not _has_emotions(bundle, "video"):
        return []
    images, truth = fer2013.read(data, split, _labels(bundle, "FER2013"))
    if crop.size != images.shape[1]:
        images = np.stack([resize(image, crop.size) for image in images])
    pixels = np.stack(apply_tone(list(np.repeat(images[..., None], 3, axis=3)), crop.tone))
    guess = _guesses(bundle, "video", {"pixels": pixels})
    return _measured("face_encoder", f"FER2013 {split}", ("accuracy", "uar"), truth, guess)


def evaluate_voice(
    bundle: Bundle, data: Path, actors: tuple[int, ...] = ravdess.VALID_ACTORS
) -> list[Measurement]:
    """Unweighted average recall and accuracy of the voice on RAVDESS `actors`, as `evaluate_face`."""
    if not _has_emotions(bundle, "voice"):
        return []
    labels, clips = _labels(bundle, "RAVDESS"), ravdess.read(data, actors)
    truth = np.array([labels.index(str(clip.emotion)) for clip in clips])
    length = bundle.manifest.samples_per_window
    windows = np.stack([loudest_window(sound_of(clip), length) for clip in clips])
    guess = _guesses(bundle, "voice", {"samples": windows})
    where = f"RAVDESS actors {min(actors)}-{max(actors)}"
    return _measured("voice_encoder", where, ("uar", "accuracy"), truth, guess)


def evaluate_text(
    bundle: Bundle, data: Path, split: str = "dev", *, rival: bool = False
) -> list[Measurement]:
    """Weighted F1 and accuracy of the words of single utterances of MELD, as `evaluate_face`; with
    `rival` also the weighted F1 of `pocket_text.rival_f1`, trained on MELD's split train."""
    part = bundle.manifest.engines.text_encoder
    if part is None or bundle.tokenizer is None or not _has_emotions(bundle, "text"):
        return []
    labels, lines = _labels(bundle, "MELD"), meld.read(data, split)
    truth = np.array([labels.index(str(line.emotion)) for line in lines])
    ids, mask = tokenize(
        bundle.tokenizer.to_str(), [line.text for line in lines], part.max_tokens, joined=False
    )
    guess = _guesses(bundle, "text", {"ids": ids, "mask": mask})
    where = f"MELD {split}"
    found = _measured("text_encoder", where, ("weighted_f1", "accuracy"), truth, guess)
    if rival:
        f1 = round(rival_f1(meld.read(data, "train"), lines), 4)
        found.append(Measurement("TF-IDF, logistic", where, "weighted F1", f1, len(truth)))
    return found


def _measured(
    part: str, where: str, names: Sequence[str], truth: Array, guess: Array
) -> list[Measurement]:
    found = classification(truth, guess)
    return [
        Measurement(part, where, _NAMES[name], round(found[name], 4), len(truth)) for name in names
    ]


def _has_emotions(bundle: Bundle, modality: str) -> bool:
    """Whether the bundle predicts emotions from this modality."""
    return bool(bundle.manifest.labels) and ENCODER_ROLES[modality] in bundle.engines


def _labels(bundle: Bundle, data: str) -> tuple[str, ...]:
    """The bundle's labels. Raises `DataError` if one of the seven emotions of `data` is not among them."""
    labels = bundle.manifest.labels
    if unknown := [label for label in EMOTIONS_7 if label not in labels]:
        raise DataError(
            f"{data} has samples of {', '.join(unknown)}; bundle {bundle.manifest.name!r} knows "
            f"{', '.join(labels)}"
        )
    return labels


def _guesses(bundle: Bundle, modality: str, feeds: Mapping[str, Array]) -> NDArray[np.int64]:
    """The most likely label (n,) of each sample, from one modality alone."""
    engine = bundle.engines[ENCODER_ROLES[modality]]
    parts = [
        {name: array[start : start + _BATCH] for name, array in feeds.items()}
        for start in range(0, len(next(iter(feeds.values()))), _BATCH)
    ]
    if "logits" in engine.outputs:
        return np.concatenate([engine.run(part)["logits"].argmax(1) for part in parts])
    batches = [_as_batch(modality, part) for part in parts]
    outputs = bundle_outputs(bundle, batches, missing=False)[None].outputs
    if "logits" not in outputs:
        raise DataError(f"bundle {bundle.manifest.name!r} does not predict one emotion of several")
    prior = np.log(np.asarray(bundle.manifest.calibration.prior))
    return np.asarray((outputs["logits"] + prior).argmax(1), np.int64)


def _as_batch(modality: str, part: Mapping[str, Array]) -> dict[str, Tensor]:
    """One modality of some samples as `Network.encode` takes them."""
    tensors = {name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in part.items()}
    present = torch.ones(len(next(iter(tensors.values()))), 1, dtype=torch.bool)
    if modality == "video":
        return {"pixels": tensors["pixels"].unsqueeze(1), "video_mask": present}
    if modality == "voice":
        return {"samples": tensors["samples"], "voice_mask": present}
    return {"ids": tensors["ids"], "tokens_mask": tensors["mask"], "text_mask": present}
