"""FP16 against FP32 on real inputs: each engine alone, then encoders and head together.

The expected outputs are those of ONNX Runtime in FP32 on the CPU. The FP16 graphs are computed twice: by
ONNX Runtime, which on a CPU computes most FP16 nodes in FP32, and by `Fp16Reference`, which rounds after
every node.

- Encoders alone get FER2013 PublicTest, windows of RAVDESS and EMO-DB, and lines of MELD dev.
- A mixed hop joins 24 consecutive images, a window of sound and a line, of which one of the seven sets of
  modalities is present in turn.
- Recordings under ``video/`` are scored from their frames on. The engines that find and measure faces run in
  FP32, as on a GPU (`FP32_ROLES`). The recordings are scored once more with these in FP16, which is reported
  and has no limit: it moves landmarks by
  hundredths of a pixel and crops by a few gray levels, and a probability of a single small face may then
  differ by 0.02, which is the limit.

    affectstream bench parity --data DATA
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

from affectstream.bench.engines import inputs
from affectstream.bench.engines.agreement import Fp16Candidate
from affectstream.bench.engines.feeds import FeedRecorder, Feeds, record_feeds
from affectstream.bench.engines.fp16_reference import Fp16Reference
from affectstream.bench.machine import describe
from affectstream.engines.bundle.bundle import Bundle
from affectstream.engines.bundle.folder import engine_parts
from affectstream.engines.bundle.shapes import ENCODER_ROLES, YUNET_OUTPUTS
from affectstream.engines.devices.choose import parse_device
from affectstream.engines.devices.variant import Variant
from affectstream.engines.errors import UsageError
from affectstream.engines.fp16.derive import fp16_file
from affectstream.engines.fp16.precision import FP32_ROLES
from affectstream.engines.graphs.compare import MARGIN, MAX_DIFFERENCE, MIN_AGREEMENT, softmax
from affectstream.engines.labels import MODALITIES
from affectstream.engines.models.registry import part_path
from affectstream.engines.spec import Array, Engine
from affectstream.stream.fusion.encoders import TextEncoder
from affectstream.stream.media.types import Cue
from affectstream.stream.recognizer import Recognizer

LARGEST = 3e4
"""Largest activation that is allowed: less than half of the FP16 maximum, 65504."""
_ROWS = 32
_FAINT = 0.1
"""Detector cells whose score is below this on both sides are background and do not count."""
_DETECTOR = "face_detector"
_MIXTURES = tuple(
    tuple(m for bit, m in enumerate(MODALITIES) if number >> bit & 1) for number in range(1, 8)
)


def main(data: Path, bundle: str, device: str) -> None:
    """Measure and print. `data` holds the data sets, see `inputs`."""
    started = time.perf_counter()

    def progress(part: str) -> None:
        print(f"{part}: {time.perf_counter() - started:.0f} s so far", flush=True)

    with Recognizer.open(bundle, device="cpu", threads=1) as recognizer:
        parity = Parity(recognizer, device)
        samples = recognizer.bundle.manifest.samples_per_window
        batches = {
            "video": _batches({"pixels": inputs.faces(data)}),
            "voice": _batches({"samples": inputs.voices(data, samples)}),
            "text": _text_feeds(recognizer.bundle, inputs.lines(data)),
        }
        for modality, feeds in batches.items():
            parity.compare_encoder(modality, feeds)
            progress(modality)
        parity.compare_mixed_hops(sum(len(feeds["pixels"]) for feeds in batches["video"]))
        for path in inputs.clips(data):
            parity.compare_recording(path)
            progress(path.name)
    report(parity, bundle, device, time.perf_counter() - started)


class Parity:
    """A bundle's FP32 engines, and the candidates that compute its FP16 graphs."""

    def __init__(self, recognizer: Recognizer, device: str) -> None:
        """`device` is where ONNX Runtime computes the FP16 graphs (``cpu`` or ``cuda:N``).

        Raises `UsageError` for a bundle without the three encoders, or with members.
        """
        self._recognizer = recognizer
        self.bundle: Bundle = recognizer.bundle
        _check(self.bundle)
        graphs = {
            role: fp16_file(part_path(self.bundle.folder, part))
            for role, part in engine_parts(self.bundle.manifest).items()
        }
        self.references = {role: Fp16Reference(path) for role, path in graphs.items()}
        variant = Variant(parse_device(device), "fp16")
        opened = {role: variant.open(path) for role, path in graphs.items()}
        # "torch" computes the convolutions of the reference; results name it so.
        self.candidates = [
            Fp16Candidate("onnxruntime", opened),
            Fp16Candidate("torch", self.references),
        ]
        self._embeddings: dict[str, dict[str, list[Array]]] = {}
        """By candidate ("" is FP32) and modality."""

    def compare_encoder(self, modality: str, feeds: Iterable[Mapping[str, Array]]) -> None:
        """Compare one encoder by its own classifier, else by the head; keep its embeddings for
        `compare_mixed_hops`."""
        role = ENCODER_ROLES[modality]
        for batch in feeds:
            expected = self.bundle.engines[role].run(batch)
            self._keep_embedding("", modality, expected)
            for candidate in self.candidates:
                found = candidate.engines[role].run(batch)
                candidate.add(role, self._alone(modality, expected), self._alone(modality, found))
                self._keep_embedding(candidate.name, modality, found)

    def compare_mixed_hops(self, count: int) -> None:
        """Compare `count` hops made of the embeddings so far: encoders and head both FP16 or both FP32."""
        mixtures = [_MIXTURES[number % len(_MIXTURES)] for number in range(count)]
        expected = self._fuse(self.bundle.engines["fusion"], "", mixtures)
        for candidate in self.candidates:
            found = self._fuse(candidate.engines["fusion"], candidate.name, mixtures)
            candidate.add("mixed hops", expected, found)

    def compare_recording(self, path: Path) -> None:
        """Compare each engine on its inputs while `path` is scored, then the readings."""
        for role, feeds in record_feeds(self._recognizer, path).items():
            if role == "face_geometry":
                continue  # it gives no probabilities, and never runs in FP16
            part = f"{role} cells" if role == _DETECTOR else role
            for batch in feeds:
                expected = self._probabilities(role, self.bundle.engines[role].run(batch), batch)
                for candidate in self.candidates:
                    outputs = candidate.engines[role].run(batch)
                    found = self._probabilities(role, outputs, batch)
                    candidate.add(f"{part}, recordings", *_counted(role, expected, found))
        expected_readings = self._readings(path, self.bundle.engines)
        in_fp32 = {r: engine for r, engine in self.bundle.engines.items() if r in FP32_ROLES}
        for candidate in self.candidates:
            found_readings = self._readings(path, {**candidate.engines, **in_fp32})
            candidate.add("hops of recordings", *_matched(expected_readings, found_readings))
            found_readings = self._readings(path, candidate.engines)
            candidate.fp16_detector.add(*_matched(expected_readings, found_readings))
            candidate.unmatched += len(expected_readings.keys() ^ found_readings.keys())

    def _keep_embedding(self, name: str, modality: str, outputs: Mapping[str, Array]) -> None:
        kept = self._embeddings.setdefault(name, {}).setdefault(modality, [])
        kept.append(outputs["embedding"])

    def _fuse(self, head: Engine, name: str, mixtures: Sequence[Sequence[str]]) -> Array:
        rows = np.arange(len(mixtures))
        feeds: dict[str, Array] = {}
        for modality, batches in self._embeddings[name].items():
            pool = np.concatenate(batches)
            steps = int(head.inputs[modality].shape[1])
            mask = np.array([[modality in mixture] * steps for mixture in mixtures], np.bool_)
            places = (rows[:, None] + np.arange(steps)) % len(pool)
            feeds[modality] = np.where(mask[..., None], pool[places], np.float32(0))
            feeds[f"{modality}_mask"] = mask
        return self._calibrated(head.run(feeds)["logits"], feeds)

    def _alone(self, modality: str, outputs: Mapping[str, Array]) -> Array:
        """The probabilities (N, C) that an encoder's outputs stand for, with the FP32 head if needed."""
        if "logits" in outputs:
            return softmax(outputs["logits"])
        head, embedding = self.bundle.engines["fusion"], outputs["embedding"]
        feeds: dict[str, Array] = {}
        for name in self.bundle.modalities:
            _, steps, width = head.inputs[name].shape
            feeds[name] = np.zeros((len(embedding), int(steps), int(width)), np.float32)
            feeds[f"{name}_mask"] = np.full(feeds[name].shape[:2], name == modality)
        feeds[modality][:] = embedding[:, None]
        return self._calibrated(head.run(feeds)["logits"], feeds)

    def _calibrated(self, logits: Array, feeds: Mapping[str, Array]) -> Array:
        calibration = self.bundle.manifest.calibration
        present = {m: feeds[f"{m}_mask"].max(axis=1) for m in MODALITIES if m in feeds}
        names = ["+".join(m for m in present if present[m][row]) for row in range(len(logits))]
        temperature = np.array([[calibration.temperature.get(name, 1.0)] for name in names])
        return softmax(logits / temperature + np.log(np.asarray(calibration.prior)))

    def _probabilities(
        self, role: str, outputs: Mapping[str, Array], feeds: Mapping[str, Array]
    ) -> Array:
        """The outputs of an engine as probabilities (N, C); of a detector's cells, face or not."""
        if role == "fusion":
            return self._calibrated(outputs["logits"], feeds)
        if role != _DETECTOR:
            modality = next(m for m, encoder in ENCODER_ROLES.items() if encoder == role)
            return self._alone(modality, outputs)
        classes, objects = (
            np.concatenate([outputs[name].ravel() for name in names])
            for names in (YUNET_OUTPUTS[:3], YUNET_OUTPUTS[3:6])
        )
        score = np.sqrt(np.clip(classes * objects, 0, 1))
        return np.stack([score, 1 - score], 1)

    def _readings(
        self, path: Path, engines: Mapping[str, Engine]
    ) -> dict[tuple[int, int], tuple[float, ...]]:
        """Scores of `path` by hop and track (-1: the recording's own) with `engines`."""
        own = dict(self.bundle.engines)
        self.bundle.engines.update(engines)
        found = {}
        try:
            with self._recognizer.session(path) as session:
                for hop in session:
                    for reading, _ in hop.readings:
                        if reading.scores is not None:
                            track = -1 if reading.track is None else reading.track
                            found[reading.hop, track] = reading.scores
        finally:
            self.bundle.engines.update(own)
        return found


def _check(bundle: Bundle) -> None:
    """Raise `UsageError` for a bundle without labels to compare."""
    missing = [role for role in (*ENCODER_ROLES.values(), "fusion") if role not in bundle.engines]
    if bundle.members:
        found = f"members {', '.join(bundle.manifest.members)}"
    elif missing:
        found = f"no {', '.join(missing)}"
    else:
        return
    raise UsageError(
        f"bench parity compares the labels of three encoders and their head; bundle "
        f"{bundle.manifest.name!r} has {found}: see affectstream engines compare"
    )


def _matched(
    expected: Mapping[tuple[int, int], tuple[float, ...]],
    found: Mapping[tuple[int, int], tuple[float, ...]],
) -> tuple[Array, Array]:
    """Scores (N, C) of the readings that both sides have."""
    both = sorted(expected.keys() & found.keys())
    classes = len(next(iter(expected.values()), ()))
    first, second = (
        np.array([side[key] for key in both]).reshape(len(both), classes)
        for side in (expected, found)
    )
    return first, second


def _counted(role: str, expected: Array, found: Array) -> tuple[Array, Array]:
    """The rows that count."""
    if role == _DETECTOR:
        keep = np.maximum(expected[:, 0], found[:, 0]) >= _FAINT
        return expected[keep], found[keep]
    return expected, found


def _text_feeds(bundle: Bundle, lines: Iterable[str]) -> Feeds:
    """The inputs of the text encoder for `lines`, in batches."""
    recorder = FeedRecorder(bundle.engines["text_encoder"], [])
    bundle.engines["text_encoder"], own = recorder, bundle.engines["text_encoder"]
    try:
        encoder = TextEncoder(bundle)
        for line in lines:
            encoder.encode((Cue(0, 1, line),))
    finally:
        bundle.engines["text_encoder"] = own
    names = recorder.inputs
    return _batches(
        {name: np.concatenate([feeds[name] for _, feeds in recorder.calls]) for name in names}
    )


def _batches(arrays: Mapping[str, Array]) -> Feeds:
    count = len(next(iter(arrays.values())))
    return [
        {name: array[start : start + _ROWS] for name, array in arrays.items()}
        for start in range(0, count, _ROWS)
    ]


def report(parity: Parity, bundle: str, device: str, seconds: float) -> None:
    """Print the table, and one line of JSON."""
    largest = {role: graph.largest for role, graph in parity.references.items()}
    peak = max(value for tensors in largest.values() for value in tensors.values())
    for candidate in parity.candidates:
        print(f"FP16 by {candidate.name}, {device}")
        print(candidate.table())
    print(f"largest activation {peak:.4g} (at most {LARGEST:g})")
    print(
        json.dumps(
            {
                "bench": "parity",
                "bundle": bundle,
                "device": device,
                "passed": peak <= LARGEST and all(c.passed for c in parity.candidates),
                "limits": {
                    "margin": MARGIN,
                    "agreement": MIN_AGREEMENT,
                    "difference": MAX_DIFFERENCE,
                    "activation": LARGEST,
                },
                "fp16": {c.name: c.metrics() for c in parity.candidates},
                "largest_activation": {
                    role: {
                        name: float(f"{value:.3g}")
                        for name, value in sorted(tensors.items(), key=lambda pair: -pair[1])
                    }
                    for role, tensors in largest.items()
                },
                "seconds": round(seconds),
                "machine": {**describe(), "torch": torch.__version__},
            }
        )
    )
