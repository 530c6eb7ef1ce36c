"""How well a face encoder reads prepared faces: as they are, degraded, by a linear layer; and its cost."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from affectstream.engines.bundle.folder import find_bundle, read_manifest
from affectstream.engines.labels import EMOTIONS_7
from affectstream.engines.manifest import Tone
from affectstream.engines.runtimes.onnx import OnnxEngine
from affectstream.stream.faces.crop import apply_tone
from affectstream.stream.sinks.base import writing
from affectstream.train.data.dataset import Dataset
from affectstream.train.data.degrade import FACES, degrade_faces
from affectstream.train.data.sample import decode_crop
from affectstream.train.errors import DataError
from affectstream.train.evaluate.bundle.evaluation_files import draw_confusion
from affectstream.train.files import write_atomically
from affectstream.train.metrics import classification
from affectstream.train.statistics import Interval, bootstrap

BATCH = 128
TIMED_BATCH = 16
TIMED_RUNS = 40

Crops = NDArray[np.uint8]
Numbers = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Agreement:
    """How often an encoder agrees with the labels of some pictures."""

    pictures: str
    count: int
    accuracy: Interval
    uar: Interval


@dataclass(frozen=True, slots=True)
class FaceReport:
    """See the module."""

    labels: tuple[str, ...]
    agreements: tuple[Agreement, ...]
    """As they are, with the mean of both mirror images, and degraded."""
    confusion: tuple[tuple[int, ...], ...]
    """Pictures of each label (rows) by what the encoder saw (columns)."""
    linear: Agreement | None
    """A linear layer on the embedding, fitted on other labels."""
    megabytes: float
    milliseconds: float
    """For one face on one core, in batches of `TIMED_BATCH`."""


class FaceEncoder:
    """The face encoder of a bundle, or one ONNX file; on one core."""

    def __init__(self, source: str) -> None:
        """`source` is ``pocket``, a bundle's folder, or a file. Raises `DataError` if it has no logits."""
        path = Path(source)
        self.labels: tuple[str, ...] = EMOTIONS_7
        self._tone: Tone = "natural"
        if path.suffix != ".onnx":
            folder = find_bundle(source)
            manifest = read_manifest(folder)
            part = manifest.engines.face_encoder
            if part is None:
                raise DataError(f"bundle {manifest.name!r} has no face encoder")
            path, self.labels = folder / part.file, manifest.labels
            self._tone = "natural" if manifest.crop is None else manifest.crop.tone
        self.path, self._engine = path, OnnxEngine(path, threads=1)
        if "logits" not in self._engine.outputs:
            raise DataError(f"{path}: the face encoder has no output 'logits' of its own")

    def __call__(self, crops: Crops) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Embeddings (n, D) and logits (n, C) of crops (n, S, S, 3)."""
        crops = np.stack(apply_tone(list(crops), self._tone))
        parts = [
            self._engine.run({"pixels": crops[at : at + BATCH]})
            for at in range(0, len(crops), BATCH)
        ]
        embeddings, logits = (
            np.concatenate([np.asarray(part[name], np.float32) for part in parts])
            for name in ("embedding", "logits")
        )
        return embeddings, logits

    def milliseconds(self, crops: Crops) -> float:
        """Median time for one face in batches of `TIMED_BATCH`."""
        feed = {"pixels": np.ascontiguousarray(crops[:TIMED_BATCH])}
        times = []
        for _ in range(TIMED_RUNS):
            start = time.thread_time()
            self._engine.run(feed)
            times.append(time.thread_time() - start)
        return 1e3 * float(np.median(times)) / len(feed["pixels"])


def evaluate(encoder: FaceEncoder, data: Path, split: str, linear: Path | None) -> FaceReport:
    """Measure `encoder` on `split` of the prepared faces in `data`, on pictures with an emotion.

    `linear` is the same set prepared with other labels: a linear layer on the embedding learns those of its
    split train. Raises `DataMissing` or `DataError`.
    """
    crops, truth = read_faces(data, split, encoder.labels)
    _, logits = encoder(crops)
    _, of_mirror = encoder(degrade_faces(crops, "mirrored"))
    guesses = {"as they are": logits, "mean of both mirror images": logits + of_mirror}
    for name in FACES:
        guesses[name] = of_mirror if name == "mirrored" else encoder(degrade_faces(crops, name))[1]
    classes = len(encoder.labels)
    confusion = np.zeros((classes, classes), np.int64)
    np.add.at(confusion, (truth, logits.argmax(1)), 1)
    return FaceReport(
        labels=encoder.labels,
        agreements=tuple(_agreement(name, truth, part.argmax(1)) for name, part in guesses.items()),
        confusion=tuple(map(tuple, confusion.tolist())),
        linear=None if linear is None else _linear(encoder, linear, split),
        megabytes=encoder.path.stat().st_size / 1e6,
        milliseconds=encoder.milliseconds(crops),
    )


def read_faces(data: Path, split: str, labels: tuple[str, ...]) -> tuple[Crops, Numbers]:
    """The first crop (n, S, S, 3) of each sample of `split` with an emotion, and its number in `labels`."""
    dataset = Dataset(data, large=["crops"])
    rows = dataset.rows_of(split, task="emotion")
    emotions = dataset.column("emotion")[rows]
    if unknown := sorted(set(emotions) - set(labels)):
        raise DataError(
            f"data set {dataset.info.name!r} has samples of {', '.join(unknown)}; the encoder knows "
            f"{', '.join(labels)}"
        )
    blobs = [dataset.row(int(row))["crops"] for row in rows]
    if not all(blobs):
        raise DataError(f"data set {dataset.info.name!r} has samples without pictures")
    crops = np.stack([decode_crop(found[0]) for found in blobs])
    return crops, np.asarray([labels.index(emotion) for emotion in emotions], np.int64)


def _agreement(pictures: str, truth: Numbers, guess: Numbers) -> Agreement:
    found: Mapping[str, Interval] = bootstrap(classification, truth, guess)
    return Agreement(pictures, len(truth), found["accuracy"], found["uar"])


def _linear(encoder: FaceEncoder, data: Path, split: str) -> Agreement:
    """Agreement of multinomial logistic regression on the frozen, standardized embedding."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    crops, truth = read_faces(data, "train", encoder.labels)
    layer = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=200))
    layer.fit(encoder(crops)[0], truth)
    crops, truth = read_faces(data, split, encoder.labels)
    guess = np.asarray(layer.predict(encoder(crops)[0]), np.int64)
    return _agreement("a linear layer on the embedding", truth, guess)


def write(report: FaceReport, folder: Path) -> None:
    """Write ``face_encoder.json`` and ``confusion.png``. Raises `OutputError` where the disk refuses."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 5), layout="constrained")
    axes = figure.subplots()
    draw_confusion(axes, report.labels, report.confusion)
    plain = report.agreements[0]
    axes.set_title(
        f"{plain.count} faces: accuracy {plain.accuracy.value:.3f}, UAR {plain.uar.value:.3f}"
    )
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        figure.savefig(folder / "confusion.png", dpi=120)
    write_atomically(folder / "face_encoder.json", msgspec.json.encode(report) + b"\n")


def lines(report: FaceReport) -> list[str]:
    """The report as text."""
    named = [*report.agreements, *([] if report.linear is None else [report.linear])]
    shown = [f"{'pictures':34} {'n':>5}  {'accuracy':26}{'unweighted average recall'}"]
    shown += [f"{a.pictures:34} {a.count:5}  {a.accuracy!s:26}{a.uar!s}" for a in named]
    shown += ["", "rows: label; columns: what the encoder saw"]
    head = "".join(f"{label[:8]:>9}" for label in report.labels)
    shown += [f"{'':10}{head}   recall"]
    for label, row in zip(report.labels, report.confusion, strict=True):
        recall = row[report.labels.index(label)] / max(1, sum(row))
        shown.append(f"{label:10}{''.join(f'{count:9}' for count in row)}   {recall:.3f}")
    return [
        *shown,
        "",
        f"{report.megabytes:.2f} MB; {report.milliseconds:.2f} ms for one face on one core, in batches of "
        f"{TIMED_BATCH}",
    ]
