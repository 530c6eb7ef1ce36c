"""FP16 against FP32 on real inputs: each engine by itself, then whole hops, encoders and head.

The reference is ONNX Runtime in FP32 on the CPU. Judged are the FP16 graphs by ONNX Runtime (which,
on a CPU, computes most FP16 nodes in FP32) and by `Fp16Reference`, which rounds after every node. Inputs
are FER2013 PublicTest, windows of RAVDESS and EMO-DB, lines of MELD dev and all that the recordings
under ``video/`` feed each engine with. A mixed hop takes 24 pictures, a window of sound and a line
in a row, one of the seven mixtures of modalities in turn. A recording's hops are scored from its
frames on, with the faces cut where the FP32 detector finds them, as on a GPU; then once more with an
FP16 detector, which is told and not judged. It would move landmarks by hundredths of a pixel and the
crop by grey levels, and a lone small face may answer to those by a fiftieth: the limit.

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
from affectstream.bench.engines.feeds import FeedRecorder, Feeds, record
from affectstream.bench.engines.fp16_reference import Fp16Reference
from affectstream.bench.machine import describe
from affectstream.engines.bundle.bundle import ENCODERS, MODALITIES, YUNET, Bundle
from affectstream.engines.bundle.folder import engine_parts
from affectstream.engines.choose import parse_device
from affectstream.engines.compare import AGREEMENT, DIFFERENCE, MARGIN, softmax
from affectstream.engines.errors import UsageError
from affectstream.engines.fp16 import fp16_file
from affectstream.engines.models.registry import file_of
from affectstream.engines.rivals import Rival, open_engine
from affectstream.engines.spec import Array, Engine
from affectstream.stream.fusion.encoders import TextEncoder
from affectstream.stream.recognizer import Recognizer

LARGEST = 3e4
"""The largest activation that leaves FP16 (65504) room."""
_ROWS = 32
_FAINT = 0.1
"""Cells of the detector that score less on both sides are ground and count for nothing."""
_MIXTURES = tuple(
    tuple(m for bit, m in enumerate(MODALITIES) if number >> bit & 1) for number in range(1, 8)
)


class Parity:
    """One bundle, its FP32 engines and those that are judged."""

    def __init__(self, recognizer: Recognizer, device: str) -> None:
        """`device` is where the FP16 graphs run (``cpu`` or ``cuda:N``)."""
        self._recognizer = recognizer
        self.bundle: Bundle = recognizer.bundle
        _check(self.bundle)
        parts = engine_parts(self.bundle.manifest)
        halves = {
            role: fp16_file(file_of(self.bundle.folder, part)) for role, part in parts.items()
        }
        self.graphs = {role: Fp16Reference(path) for role, path in halves.items()}
        rival = Rival(parse_device(device), half=True)
        half = {role: open_engine(rival, path) for role, path in halves.items()}
        self.judged = [Fp16Candidate("onnxruntime", half), Fp16Candidate("torch", self.graphs)]
        self._embeddings: dict[str, dict[str, list[Array]]] = {}

    def encoder(self, modality: str, feeds: Iterable[Mapping[str, Array]]) -> None:
        """One encoder by its own classifier; its embeddings are kept for `mixed_hops`."""
        role = ENCODERS[modality]
        for given in feeds:
            expected = self.bundle.engines[role].run(given)
            self._keep("", modality, expected)
            for judged in self.judged:
                found = judged.engines[role].run(given)
                judged.add(role, softmax(expected["logits"]), softmax(found["logits"]))
                self._keep(judged.name, modality, found)

    def _keep(self, who: str, modality: str, outputs: Mapping[str, Array]) -> None:
        self._embeddings.setdefault(who, {}).setdefault(modality, []).append(outputs["embedding"])

    def mixed_hops(self, count: int) -> None:
        """`count` hops from the embeddings so far, encoders and head both FP16 or both FP32."""
        mixtures = [_MIXTURES[number % len(_MIXTURES)] for number in range(count)]
        expected = self._hops(self.bundle.engines["fusion"], "", mixtures)
        for judged in self.judged:
            found = self._hops(judged.engines["fusion"], judged.name, mixtures)
            judged.add("mixed hops", expected, found)

    def _hops(self, head: Engine, who: str, mixtures: Sequence[Sequence[str]]) -> Array:
        rows = np.arange(len(mixtures))
        feeds: dict[str, Array] = {}
        for modality, batches in self._embeddings[who].items():
            pool = np.concatenate(batches)
            steps = int(head.inputs[modality].shape[1])
            there = [[modality in mixture] * steps for mixture in mixtures]
            mask = np.array(there, np.bool_)
            places = (rows[:, None] + np.arange(steps)) % len(pool)
            feeds[modality] = np.where(mask[..., None], pool[places], np.float32(0))
            feeds[f"{modality}_mask"] = mask
        return self._calibrated(head.run(feeds)["logits"], feeds)

    def _calibrated(self, logits: Array, feeds: Mapping[str, Array]) -> Array:
        calibration = self.bundle.manifest.calibration
        present = {m: feeds[f"{m}_mask"].max(axis=1) for m in MODALITIES if m in feeds}
        names = ["+".join(m for m in present if present[m][row]) for row in range(len(logits))]
        temperature = np.array([[calibration.temperature.get(name, 1.0)] for name in names])
        return softmax(logits / temperature + np.log(np.asarray(calibration.prior)))

    def recording(self, path: Path) -> None:
        """Each engine on what it is fed while `path` is scored, then its readings."""
        fed = record(self._recognizer, path)
        for role, feeds in fed.items():
            for given in feeds:
                expected = self.bundle.engines[role].run(given)
                for judged in self.judged:
                    found = judged.engines[role].run(given)
                    a, b = (self._likely(role, side, given) for side in (expected, found))
                    what = "face_detector cells" if role == "face_detector" else role
                    judged.add(f"{what}, recordings", *_worth(role, a, b))
        expected_readings = self._readings(path, self.bundle.engines)
        detector = {r: e for r, e in self.bundle.engines.items() if r == "face_detector"}
        for judged in self.judged:
            cut_alike = self._readings(path, {**judged.engines, **detector})
            judged.add("hops of recordings", *_matched(expected_readings, cut_alike))
            found_readings = self._readings(path, judged.engines)
            judged.recropped.add(*_matched(expected_readings, found_readings))
            judged.unmatched += len(expected_readings.keys() ^ found_readings.keys())

    def _likely(self, role: str, outputs: Mapping[str, Array], given: Mapping[str, Array]) -> Array:
        """What an engine says as probabilities (N, C); a detector's cells as face or none."""
        if role == "fusion":
            return self._calibrated(outputs["logits"], given)
        if role != "face_detector":
            return softmax(outputs["logits"])
        kinds = [
            np.concatenate([outputs[n].ravel() for n in part]) for part in (YUNET[:3], YUNET[3:6])
        ]
        score = np.sqrt(np.clip(kinds[0] * kinds[1], 0, 1))
        return np.stack([score, 1 - score], 1)

    def _readings(
        self, path: Path, engines: Mapping[str, Engine]
    ) -> dict[tuple[int, int], tuple[float, ...]]:
        """Scores by hop and track (-1: the recording's)."""
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
    """Raise `UsageError` for a bundle whose parts cannot be judged by their labels."""
    parts = [*ENCODERS.values(), "fusion"]
    mute = [
        r for r in parts if r not in bundle.engines or "logits" not in bundle.engines[r].outputs
    ]
    if bundle.members or mute:
        found = (
            f"members {', '.join(bundle.manifest.members)}"
            if bundle.members
            else (f"no logits of {', '.join(mute)}")
        )
        raise UsageError(
            f"bench parity judges the labels of three encoders and their head; bundle "
            f"{bundle.manifest.name!r} has {found}: see affectstream engines compare"
        )


def _matched(
    expected: Mapping[tuple[int, int], tuple[float, ...]],
    found: Mapping[tuple[int, int], tuple[float, ...]],
) -> tuple[Array, Array]:
    """Scores (N, C) of the readings that both have."""
    both = sorted(expected.keys() & found.keys())
    classes = len(next(iter(expected.values()), ()))
    first, second = (
        np.array([side[key] for key in both]).reshape(len(both), classes)
        for side in (expected, found)
    )
    return first, second


def _worth(role: str, expected: Array, found: Array) -> tuple[Array, Array]:
    if role == "face_detector":
        keep = np.maximum(expected[:, 0], found[:, 0]) >= _FAINT
        return expected[keep], found[keep]
    return expected, found


def _text_feeds(bundle: Bundle, lines: Iterable[str]) -> Feeds:
    """Lines as the text encoder is fed with them, in batches."""
    recorder = FeedRecorder(bundle.engines["text_encoder"], [])
    bundle.engines["text_encoder"], own = recorder, bundle.engines["text_encoder"]
    try:
        encoder = TextEncoder(bundle)
        for line in lines:
            encoder.logits(line)
    finally:
        bundle.engines["text_encoder"] = own
    names = recorder.inputs
    joined = {name: np.concatenate([fed[name] for _, fed in recorder.calls]) for name in names}
    return _batches(joined)


def _batches(arrays: Mapping[str, Array]) -> Feeds:
    count = len(next(iter(arrays.values())))
    return [
        {name: array[start : start + _ROWS] for name, array in arrays.items()}
        for start in range(0, count, _ROWS)
    ]


def main(data: Path, bundle: str, device: str) -> None:
    """Measure and print."""
    started = time.perf_counter()
    with Recognizer.open(bundle, device="cpu", threads=1) as recognizer:
        parity = Parity(recognizer, device)
        samples = recognizer.bundle.manifest.samples_per_window
        given = {
            "video": _batches({"pixels": inputs.faces(data)}),
            "voice": _batches({"samples": inputs.voices(data, samples)}),
            "text": _text_feeds(recognizer.bundle, inputs.lines(data)),
        }
        for modality, feeds in given.items():
            parity.encoder(modality, feeds)
            print(f"{modality}: {time.perf_counter() - started:.0f} s so far", flush=True)
        parity.mixed_hops(sum(len(feeds["pixels"]) for feeds in given["video"]))
        for path in inputs.clips(data):
            parity.recording(path)
            print(f"{path.name}: {time.perf_counter() - started:.0f} s so far", flush=True)
    report(parity, bundle, device, time.perf_counter() - started)


def report(parity: Parity, bundle: str, device: str, seconds: float) -> None:
    """Print the table, and one line of JSON."""
    largest = {role: graph.largest for role, graph in parity.graphs.items()}
    peak = max(value for tensors in largest.values() for value in tensors.values())
    for judged in parity.judged:
        print(f"FP16 by {judged.name}, {device}")
        print(f"  {'':32}{'inputs':>8}{'clear':>8}{'agree':>10}{'difference':>12}")
        for what, a in judged.agreements.items():
            verdict = "" if a.passed else "  <- out of limits"
            row = f"  {what:32}{a.rows:8}{a.decided:8}{a.share:10.4%}{a.largest:12.2g}"
            print(row + verdict)
        a = judged.recropped
        row = f"  {'were the detector in FP16':32}{a.rows:8}{a.decided:8}{a.share:10.4%}{a.largest:12.2g}"
        print(f"{row}, {a.beyond} beyond {DIFFERENCE}, {judged.unmatched} on one side only")
    print(f"largest activation {peak:.4g} (at most {LARGEST:g})")
    print(
        json.dumps(
            {
                "bench": "parity",
                "bundle": bundle,
                "device": device,
                "passed": peak <= LARGEST and all(j.passed for j in parity.judged),
                "limits": {
                    "margin": MARGIN,
                    "agreement": AGREEMENT,
                    "difference": DIFFERENCE,
                    "activation": LARGEST,
                },
                "fp16": {judged.name: judged.figures() for judged in parity.judged},
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
