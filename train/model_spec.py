"""What a network was built for: its data set, its tasks, and the options that its graph or loss depend on.

It is stored in the checkpoint and in the bundle (as ``setting``), and must be the same when a run is resumed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import cv2
import msgspec
import numpy as np
from numpy.typing import NDArray

from affectstream.engines.manifest import CropKind, Tone
from affectstream.train.data.dataset import Dataset
from affectstream.train.data.sample import decode_crop
from affectstream.train.data.sketch import fingerprints, sketch
from affectstream.train.loader.window_spec import WindowSpec
from affectstream.train.losses import LossConfig
from affectstream.train.networks.network import NetworkSpec, Value
from affectstream.train.tasks import Task, count_columns

PROBED = 64
"""Samples that are decoded to find out whether a data set is grey, or equalized."""
UNIFORM_DISTANCE = 0.1
"""Pictures count as equalized if half of them are at most this far from a uniform histogram of brightness
(largest distance of the cumulated shares). FER2013's are off by 0.04, faces on video by 0.15 to 0.9."""


@dataclass(frozen=True, slots=True)
class DataSource:
    """The data set that a network was trained on."""

    name: str
    source: str
    licence: str
    content_sha256: str
    split_sha256: str
    shared_participants: int
    languages: tuple[str, ...]
    """Languages of its texts, as far as it names them."""
    participants: int | None = None
    """How many it names; None if an older checkpoint does not say."""
    samples: str = ""
    """Sketch of the samples that trained, see `data.sketch`; empty if an older checkpoint has none."""


@dataclass(frozen=True, slots=True)
class TeacherSource:
    """A network that another one learned from."""

    recipe: str
    sha256: str
    """Of its `best.pt`."""


@dataclass(frozen=True, slots=True)
class Distillation:
    """What a network learned from beside the labels."""

    teachers: tuple[TeacherSource, ...]
    share: float
    """Of the teachers in the loss."""
    temperature: float


class ModelSpec(msgspec.Struct, frozen=True, rename={"window": "view", "loss": "emphasis"}):
    """See the module. Two names in files are older than those here: ``view`` and ``emphasis``."""

    tasks: tuple[Task, ...]
    window: WindowSpec
    hop_us: int
    crop: CropKind | None
    """Kind of the pictures: ``face``, ``person`` or ``frame``; None without pictures."""
    template: tuple[tuple[float, float], ...]
    """Of faces: where the five landmarks lie in a picture of the window's size."""
    grey: bool
    """The training pictures have no color, so color is removed from all pictures."""
    vocabulary: int
    options: Mapping[str, Value]
    weights: Mapping[str, str]
    loss: LossConfig
    data: DataSource
    distillation: Distillation | None = None

    def network_spec(self, *, load_weights: bool) -> NetworkSpec:
        """What the network's constructor needs."""
        return NetworkSpec(
            outputs=count_columns(self.tasks),
            size=self.window.size,
            frames=self.window.frames,
            samples=self.window.samples,
            tokens=self.window.tokens,
            vocabulary=self.vocabulary,
            tokenizer=self.window.tokenizer,
            metadata=len(self.window.metadata),
            grey=self.grey,
            options=self.options,
            weights=self.weights,
            load_weights=load_weights,
        )

    def task(self, name: str) -> Task | None:
        """The task of that name, if it is one of these."""
        return next((task for task in self.tasks if task.name == name), None)


def data_source(dataset: Dataset, rows: NDArray[np.int64], *, sketched: bool = True) -> DataSource:
    """The data set of the training samples `rows`. Their sketch reads those with pictures and sound."""
    info = dataset.info
    languages = set(dataset.column("language")[rows]) - {None}
    return DataSource(
        name=info.name,
        source=info.source,
        licence=info.licence,
        content_sha256=info.content_sha256,
        split_sha256=info.split_sha256,
        shared_participants=len(info.shared_participants),
        languages=tuple(sorted(languages)),
        participants=info.participants,
        samples=sketch(fingerprints(dataset.folder, rows)) if sketched else "",
    )


def grey_and_tone(dataset: Dataset, rows: NDArray[np.int64]) -> tuple[bool, Tone]:
    """Whether the pictures of samples spread over `rows` have no color, and whether they have the levels of
    equalized ones, as published FER2013 has."""
    grey = True
    distances = []  # of the cumulated histograms of brightness from a uniform one, in [0, 1]
    for row in rows[:: max(1, len(rows) // PROBED)]:
        for number, blob in enumerate(dataset.row(int(row))["crops"] or []):
            if number and not grey:
                break  # only the levels of the first picture are still to be found
            picture = decode_crop(blob)
            grey = grey and not bool((picture != picture[..., :1]).any())
            if number == 0:
                brightness = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
                shares = np.bincount(brightness.ravel(), minlength=256).cumsum() / brightness.size
                distances.append(float(np.abs(shares - np.arange(1, 257) / 256).max()))
    equalized = bool(distances) and float(np.median(distances)) < UNIFORM_DISTANCE
    return grey, "equalized" if equalized else "natural"
