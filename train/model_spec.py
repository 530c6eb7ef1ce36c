"""What a network was made for: its data set, its tasks, and the options that its graph or loss depend on.

It travels inside the checkpoint and the bundle, and has to be the same when a run is resumed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import cv2
import msgspec
import numpy as np
from numpy.typing import NDArray

from affectstream.engines.manifest import Tone
from affectstream.train.data.dataset import Dataset
from affectstream.train.data.sample import decode_crop
from affectstream.train.loader.window_spec import WindowSpec
from affectstream.train.losses import LossConfig
from affectstream.train.networks.network import Plan, Value
from affectstream.train.tasks import Task, columns

LOOKED_AT = 64
"""Samples that are looked at to see whether a data set is grey, or equalized."""
UNEVEN = 0.1
"""Share of the pixels by which, at some level, half of a set's pictures are off a uniform histogram at most
if they were equalized. FER2013's are off by 0.04, faces on video by 0.15 to 0.9."""


@dataclass(frozen=True, slots=True)
class Source:
    """The data set that was learned from."""

    name: str
    source: str
    licence: str
    content_sha256: str
    split_sha256: str
    shared_participants: int
    languages: tuple[str, ...]
    """Of its texts, as far as it says."""
    participants: int | None = None
    """How many it names; None where an older checkpoint does not say."""


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """See the module."""

    tasks: tuple[Task, ...]
    view: WindowSpec
    hop_us: int
    crop: str | None
    """Kind of the pictures: ``face``, ``person`` or ``frame``; None without pictures."""
    template: tuple[tuple[float, float], ...]
    """Of faces: where the five landmarks lie in a picture of the view's size."""
    grey: bool
    """What is learned from has no colour, so none must be seen later either."""
    vocabulary: int
    options: Mapping[str, Value]
    weights: Mapping[str, str]
    emphasis: LossConfig
    data: Source

    def plan(self, *, fetch: bool) -> Plan:
        """What the network is to be built for."""
        return Plan(
            outputs=columns(self.tasks),
            size=self.view.size,
            frames=self.view.frames,
            samples=self.view.samples,
            tokens=self.view.tokens,
            vocabulary=self.vocabulary,
            metadata=len(self.view.metadata),
            grey=self.grey,
            options=self.options,
            weights=self.weights,
            fetch=fetch,
        )

    def task(self, name: str) -> Task | None:
        """The task of that name, where it is one of these."""
        return next((task for task in self.tasks if task.name == name), None)

    def plain(self) -> dict[str, Any]:
        """Everything in plain values."""
        return asdict(self)


def from_plain(values: Mapping[str, Any]) -> ModelSpec:
    """The setting of `ModelSpec.plain`. Raises `msgspec.ValidationError` for anything else."""
    return msgspec.convert(values, ModelSpec)


def source_of(dataset: Dataset, rows: NDArray[np.int64]) -> Source:
    """The data set of which `rows` are learned."""
    info = dataset.info
    spoken = set(dataset.column("language")[rows]) - {None}
    return Source(
        name=info.name,
        source=info.source,
        licence=info.licence,
        content_sha256=info.content_sha256,
        split_sha256=info.split_sha256,
        shared_participants=len(info.shared_participants),
        languages=tuple(sorted(spoken)),
        participants=info.participants,
    )


def is_grey(dataset: Dataset, rows: NDArray[np.int64]) -> bool:
    """Whether samples spread over `rows` are all without colour."""
    return not any(_coloured(_crops(dataset, row)) for row in _spread(rows))


def tone_of(dataset: Dataset, rows: NDArray[np.int64]) -> Tone:
    """Whether samples spread over `rows` have the levels of equalized pictures, as published FER2013 has."""
    pictures = (decode_crop(blob) for row in _spread(rows) for blob in _crops(dataset, row)[:1])
    off = [_unevenness(picture) for picture in pictures]
    return "equalized" if off and float(np.median(off)) < UNEVEN else "natural"


def _unevenness(picture: NDArray[np.uint8]) -> float:
    """Largest distance of the cumulated histogram of brightness from a uniform one, in [0, 1]."""
    brightness = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
    shares = np.bincount(brightness.ravel(), minlength=256).cumsum() / brightness.size
    return float(np.abs(shares - np.arange(1, 257) / 256).max())


def _crops(dataset: Dataset, row: np.int64) -> list[bytes]:
    return dataset.row(int(row))["crops"] or []


def _spread(rows: NDArray[np.int64]) -> NDArray[np.int64]:
    return rows[:: max(1, len(rows) // LOOKED_AT)]


def _coloured(blobs: Iterable[bytes]) -> bool:
    pictures = (decode_crop(blob) for blob in blobs)
    return any(bool((picture != picture[..., :1]).any()) for picture in pictures)
