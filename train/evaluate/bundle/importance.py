"""How much each modality contributes: what is lost without it, and what is lost if it is another sample's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

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
from affectstream.train.statistics import Groups, Interval, bootstrap
from affectstream.train.tasks import Task

MOST_PROBED = 1000
"""Samples that are permuted; more would not fit into memory with large networks."""
SHUFFLES = 10
DRAWS = 300
"""Of the intervals, each with all shuffles."""
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
    intervals: Mapping[str, Interval] = field(default_factory=dict)
    """Of these four by name, as far as they are defined; none for a task that is not of classes."""


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
    groups: Groups,
) -> Importance | None:
    """By the first metric of the first task, of the modalities that samples have together.

    None if that is one modality, and for fewer than two samples. `truth` has the targets of all samples by
    task; the intervals draw `groups` of all samples.
    """
    task = tasks[0]
    modalities = max((subset for subset in outputs if subset), key=len, default=())
    if len(modalities) < 2:
        return None
    whole, labels = outputs[modalities], truth[task.name]

    def predicted(found: BundleOutputs, rows: NDArray[np.int64]) -> NDArray[Any]:
        every = found.predict(tasks, bundle.manifest.calibration)[task.name]
        return every[np.searchsorted(found.samples, rows)]

    feeds, numbers = probe.feeds(modalities)
    if task.labeled(labels[numbers]).sum() < 2:
        return None
    generator = np.random.default_rng(0)
    hidden: list[list[NDArray[Any]]] = []
    permuted: list[list[NDArray[Any]]] = []
    for modality in modalities:
        others = tuple(m for m in modalities if m != modality)
        hidden.append([predicted(outputs[others], whole.samples)])
        permuted.append([])
        for _ in range(SHUFFLES):
            order = generator.permutation(len(numbers))
            changed = [_with_other(feed, modality, order) for feed in feeds]
            names = (whole.modalities[0],) * len(numbers)
            of = BundleOutputs(run_heads(bundle, changed), numbers, names)
            permuted[-1].append(predicted(of, numbers))
    ablation = _Losses(task, labels[whole.samples], predicted(whole, whole.samples), hidden)
    permutation = _Losses(task, labels[numbers], predicted(whole, numbers), permuted)
    found = [
        (one.found(), one.intervals(groups, rows))
        for one, rows in ((ablation, whole.samples), (permutation, numbers))
    ]
    return Importance(
        task.name,
        ablation.metric,
        len(whole.samples),
        tuple(_of_modality(m, number, found) for number, m in enumerate(modalities)),
    )


Found = tuple[Mapping[str, float], Mapping[str, Interval]]


def _of_modality(modality: Modality, number: int, found: Sequence[Found]) -> ModalityImportance:
    """From what was lost by ablation and by permutation, with the intervals."""
    (hidden, of_hidden), (permuted, of_permuted) = found
    lost, share = f"lost/{number}", f"percent/{number}"
    intervals = {
        "ablation": of_hidden.get(lost),
        "permutation": of_permuted.get(lost),
        "ablation_percent": of_hidden.get(share),
        "permutation_percent": of_permuted.get(share),
    }
    return ModalityImportance(
        modality,
        hidden[lost],
        permuted[lost],
        _rounded(hidden.get(share)),
        _rounded(permuted.get(share)),
        {name: one for name, one in intervals.items() if one is not None},
    )


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 1)


class _Losses:
    """What is lost of a metric with other predictions than those of all modalities."""

    def __init__(
        self,
        task: Task,
        truth: NDArray[np.generic],
        whole: NDArray[Any],
        others: Sequence[Sequence[NDArray[Any]]],
    ) -> None:
        """`others` has some predictions for each modality, whose metrics are averaged."""
        self._task, self._truth, self._whole, self._others = task, truth, whole, others
        self.metric = next(iter(task.metrics(truth, whole)))

    def found(self, rows: NDArray[np.int64] | slice = slice(None)) -> dict[str, float]:
        """``lost/K`` of the K-th modality, and ``percent/K``, its share of all that is lost."""

        def value(predicted: NDArray[Any]) -> float:
            return self._task.metrics(self._truth[rows], predicted[rows])[self.metric]

        before = value(self._whole)
        lost = [before - float(np.mean([value(one) for one in each])) for each in self._others]
        gains = np.maximum(0.0, lost).tolist()
        total = sum(gains)
        shares = (
            {} if total <= 0 else {f"percent/{n}": 100 * g / total for n, g in enumerate(gains)}
        )
        return {f"lost/{n}": one for n, one in enumerate(lost)} | shares

    def intervals(self, groups: Groups, samples: NDArray[np.int64]) -> Mapping[str, Interval]:
        """Those of `found`; `samples` are the numbers of its samples among those of `groups`."""
        own = np.flatnonzero(self._task.labeled(self._truth))
        drawn = Groups(groups.numbers[samples][own], groups.by)
        if self._task.target != "class" or len(np.unique(drawn.numbers)) < 2:
            return {}
        return bootstrap(self.found, own, groups=drawn, draws=DRAWS)


def _with_other(
    feed: Mapping[str, Array], modality: str, order: NDArray[np.int64]
) -> dict[str, Array]:
    own = (modality, f"{modality}_mask")
    return {name: part[order] if name in own else part for name, part in feed.items()}
