"""How much each modality contributes: what is lost without it, and what is lost if it is another sample's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from affectstream.engines.bundle.bundle import Bundle
from affectstream.engines.labels import Modality
from affectstream.engines.spec import Array
from affectstream.train.predict.bundle_outputs import (
    BundleOutputs,
    HeadFeeds,
    Subset,
    present_rows,
    run_heads,
)
from affectstream.train.tasks import Task

MOST_PROBED = 1000
"""Samples that are permuted; more would not fit into memory with large networks."""
SHUFFLES = 10
SOURCE = "45 / 35 / 20 %"
"""What source S3 reports for the three modalities of its ensemble, on MELD."""


@dataclass(frozen=True, slots=True)
class ModalityImportance:
    """Of one modality, on the samples that have all of them."""

    modality: Modality
    ablation: float
    """How much the metric falls if the modality is hidden."""
    permutation: float
    """How much it falls if the modality is that of another sample (Breiman, 2001), mean of `SHUFFLES`."""
    ablation_percent: float | None
    """Its share of all that is lost; 0 if nothing is lost, None if no modality loses anything."""
    permutation_percent: float | None


@dataclass(frozen=True, slots=True)
class Importance:
    """Of the modalities that samples have together."""

    task: str
    metric: str
    samples: int
    """Samples with all modalities; of these at most `MOST_PROBED` are permuted."""
    modalities: tuple[ModalityImportance, ...]


class HeadProbe:
    """Keeps every k-th of the heads' inputs, so that about `MOST_PROBED` of `total` samples are kept."""

    def __init__(self, total: int) -> None:
        self._step = max(1, -(-total // MOST_PROBED))
        self._seen = 0
        self._kept: list[list[dict[str, Array]]] = []
        self._numbers: list[NDArray[np.int64]] = []

    def observe(self, feeds: HeadFeeds) -> None:
        """Take a batch of all samples, as `bundle_outputs` gives it."""
        count = len(next(iter(feeds[0].values())))
        rows = np.arange(-self._seen % self._step, count, self._step)
        self._kept.append([{name: part[rows] for name, part in feed.items()} for feed in feeds])
        self._numbers.append(rows + self._seen)
        self._seen += count

    def feeds(
        self, modalities: Sequence[Modality]
    ) -> tuple[list[dict[str, Array]], NDArray[np.int64]]:
        """The kept inputs of the samples that have all `modalities`, and the numbers of these samples."""
        joined = [
            {name: np.concatenate([feed[name] for feed in expert]) for name in expert[0]}
            for expert in zip(*self._kept, strict=True)
        ]
        complete = np.all([present_rows(joined, modality) for modality in modalities], axis=0)
        numbers = np.concatenate(self._numbers)[complete]
        return [{n: part[complete] for n, part in feed.items()} for feed in joined], numbers


def measure_importance(
    bundle: Bundle,
    outputs: Mapping[Subset, BundleOutputs],
    probe: HeadProbe,
    truth: Mapping[str, NDArray[np.generic]],
    tasks: Sequence[Task],
) -> Importance | None:
    """By the first metric of the first task, of the modalities that samples have together.

    None if that is one modality, and for fewer than two samples. `truth` has the targets of all samples by
    task.
    """
    task = tasks[0]
    modalities = max((subset for subset in outputs if subset), key=len, default=())
    if len(modalities) < 2:
        return None
    whole, labels = outputs[modalities], truth[task.name]

    def metrics(found: BundleOutputs, rows: NDArray[np.int64]) -> dict[str, float]:
        predicted = found.predict(tasks, bundle.manifest.calibration)[task.name]
        return task.metrics(labels[rows], predicted[np.searchsorted(found.samples, rows)])

    feeds, numbers = probe.feeds(modalities)
    if task.labeled(labels[numbers]).sum() < 2:
        return None
    metric = next(iter(metrics(whole, numbers)))

    def value(found: BundleOutputs, rows: NDArray[np.int64]) -> float:
        return metrics(found, rows)[metric]

    generator = np.random.default_rng(0)
    with_all, before = value(whole, whole.samples), value(whole, numbers)
    lost: dict[Modality, tuple[float, float]] = {}
    for modality in modalities:
        others = tuple(m for m in modalities if m != modality)
        hidden = with_all - value(outputs[others], whole.samples)
        permuted = []
        for _ in range(SHUFFLES):
            order = generator.permutation(len(numbers))
            changed = [_with_other(feed, modality, order) for feed in feeds]
            names = (whole.modalities[0],) * len(numbers)
            of = BundleOutputs(run_heads(bundle, changed), numbers, names)
            permuted.append(before - value(of, numbers))
        lost[modality] = hidden, float(np.mean(permuted))
    shares = [_percent([one[column] for one in lost.values()]) for column in (0, 1)]
    return Importance(
        task.name,
        metric,
        len(whole.samples),
        tuple(
            ModalityImportance(modality, *lost[modality], ablated, permuted_share)
            for modality, ablated, permuted_share in zip(modalities, *shares, strict=True)
        ),
    )


def _with_other(
    feed: Mapping[str, Array], modality: str, order: NDArray[np.int64]
) -> dict[str, Array]:
    own = (modality, f"{modality}_mask")
    return {name: part[order] if name in own else part for name, part in feed.items()}


def _percent(lost: Sequence[float]) -> list[float | None]:
    gains = np.maximum(0.0, lost)
    total = float(gains.sum())
    return [round(100 * float(gain) / total, 1) if total > 0 else None for gain in gains]
