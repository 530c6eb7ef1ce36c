"""Whether confidence is a probability, for each set of a bundle's modalities, on clean and degraded input.

    affectstream bench confidence --data prepared/paired --output confidence

The data is made by ``train prepare paired --part valid --degrade 0.5``: people from whom no encoder has
learned, dealt into two halves. What joins and calibrates the modalities is fitted anew on one half (`pool`)
and measured on the other, both ways, so that no person, picture or dialogue is in both. Labels are as
frequent as the bundle assumes. Beside the pool stand the best of its modalities alone (chosen on the same
samples, which favors it) and the product of the modalities' probabilities, each calibrated alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from affectstream.bench.machine import describe
from affectstream.bench.output import finish
from affectstream.bench.score.pool import Pool, fit_pool, subsets
from affectstream.engines.bundle.bundle import Bundle
from affectstream.engines.errors import UsageError
from affectstream.train.calibration import (
    contradictory,
    drawn_by_prior,
    expected_calibration_error,
    probabilities,
)
from affectstream.train.predict.bundle_outputs import bundle_outputs
from affectstream.train.predict.bundle_samples import bundle_samples, valid_batches
from affectstream.train.statistics import Groups, paired_difference

HALVES = "train", "valid"
DEGRADED = " ~"
"""In the id of a pair whose modalities are degraded."""
_BINS = 10

Scores = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Half:
    """The samples of one half that have all modalities, with the logits (n, C) of each modality alone."""

    alone: dict[str, Scores]
    labels: NDArray[np.int64]
    people: list[str]
    degraded: NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Measured:
    """One set of modalities over both halves, each row by what was fitted on the other half."""

    pooled: Scores
    product: Scores
    alone: tuple[Scores, ...]
    limits: Scores
    """(n,) the confidence that a label needs."""
    labels: NDArray[np.int64]
    people: tuple[str, ...]
    degraded: NDArray[np.bool_]


def main(bundle: str, data: Path, output: Path | None) -> None:
    """Measure and print; with `output` also write `confidence.json` and `confidence.png` into it."""
    with Bundle.open(bundle) as opened:
        manifest = opened.manifest
        halves = [read_half(opened, data, split) for split in HALVES]
    prior = np.asarray(manifest.calibration.prior)
    measured = cross_fitted(halves, prior)
    rows = {name: metrics(found, prior) for name, found in measured.items()}
    _print(rows)
    result = {
        "bench": "confidence",
        "bundle": f"{manifest.name} {manifest.version}",
        "data": data.name,
        "samples": sum(len(half.labels) for half in halves),
        "people": len({person for half in halves for person in half.people}),
        "rows": rows,
        "machine": describe(),
    }
    finish("confidence", result, output, lambda path: draw(measured, prior, path))


def read_half(bundle: Bundle, data: Path, split: str) -> Half:
    """The logits of each modality of `bundle` alone. Raises `UsageError` if no sample has all modalities."""
    samples, _ = bundle_samples(bundle, data, split)
    outputs = bundle_outputs(bundle, *valid_batches(samples), missing=True)
    whole = outputs.get(bundle.modalities)
    if whole is None:
        raise UsageError(
            f"{data}: no sample of split {split} has {' and '.join(bundle.modalities)}: make it with "
            "'affectstream train prepare paired --part valid --degrade 0.5'"
        )
    alone: dict[str, Scores] = {}
    for modality in bundle.modalities:
        found = outputs[(modality,)]
        rows = np.searchsorted(found.samples, whole.samples)
        alone[modality] = found.outputs["logits"][rows].astype(np.float64)
    dataset, numbers = samples[0].dataset, samples[0].rows[whole.samples]
    ids = dataset.column("id")[numbers].tolist()
    people = [str(person) for person in dataset.column("participant")[numbers]]
    labels = samples[0].truth["emotion"][whole.samples].numpy()
    return Half(alone, labels, people, np.array([DEGRADED in name for name in ids]))


def cross_fitted(halves: Sequence[Half], prior: Scores) -> dict[str, Measured]:
    """Every set of modalities, by name, fitted on each half and measured on the other."""
    pools = [fit_pool(half.alone, half.labels, prior) for half in halves]
    pairs = list(zip(reversed(pools), halves, strict=True))
    found = {}
    for subset in subsets(list(halves[0].alone)):
        name = "+".join(subset)
        alone = [
            np.concatenate([_chances(pool, half, (m,), prior) for pool, half in pairs])
            for m in subset
        ]
        product = np.log(np.array(alone)).sum(0) - (len(subset) - 1) * np.log(prior)
        found[name] = Measured(
            pooled=np.concatenate([_chances(pool, half, subset, prior) for pool, half in pairs]),
            product=probabilities(product, np.ones(len(prior)), 1.0),
            alone=tuple(alone),
            limits=np.concatenate(
                [np.full(len(h.labels), p.calibrated[name].min_confidence) for p, h in pairs]
            ),
            labels=np.concatenate([half.labels for half in halves]),
            people=tuple(person for half in halves for person in half.people),
            degraded=np.concatenate([half.degraded for half in halves]),
        )
    return found


def _chances(pool: Pool, half: Half, subset: Sequence[str], prior: Scores) -> Scores:
    temperature = pool.calibrated["+".join(subset)].temperature
    return probabilities(pool.logits(half.alone, subset), prior, temperature) + 1e-12


def metrics(found: Measured, prior: Scores) -> dict[str, Any]:
    """Accuracy, calibration on clean and degraded samples, coverage, and the differences to both rivals."""
    drawn = {
        name: np.flatnonzero(chosen)[drawn_by_prior(found.labels[chosen], prior)]
        for name, chosen in (("clean", ~found.degraded), ("degraded", found.degraded))
        if chosen.any()
    }
    rows = np.concatenate(list(drawn.values()))
    confidence, correct = found.pooled.max(1), found.pooled.argmax(1) == found.labels
    labeled = confidence >= found.limits
    right = [float((p.argmax(1) == found.labels)[rows].mean()) for p in found.alone]
    best = found.alone[int(np.argmax(right))]
    result: dict[str, Any] = {
        "accuracy": float(correct[rows].mean()),
        "ece": {
            name: expected_calibration_error(confidence[of], correct[of], _BINS)
            for name, of in drawn.items()
        },
        "accuracy_by_input": {name: float(correct[of].mean()) for name, of in drawn.items()},
        "with_label": float(labeled[rows].mean()),
        "accuracy_of_labels": float(correct[rows][labeled[rows]].mean()),
    }
    if len(found.alone) > 1:
        against = [contradictory(*pair) for pair in combinations(found.alone, 2)]
        result["contradictory"] = float(np.any(against, axis=0)[rows].mean())
        for name, rival in (("less_best", best), ("less_product", found.product)):
            result[name] = _difference(found, rival, rows)
    return result


def _difference(found: Measured, rival: Scores, rows: NDArray[np.int64]) -> dict[str, float]:
    """Accuracy of the pool less the rival's, with its interval over people."""
    people = np.unique(np.asarray(found.people)[rows], return_inverse=True)[1]
    gap = paired_difference(
        lambda truth, guess: {"accuracy": float((truth == guess).mean())},
        found.labels[rows],
        rival.argmax(1)[rows],
        found.pooled.argmax(1)[rows],
        groups=Groups(people, "participant"),
    )["accuracy"]
    return {"value": gap.value, "low": gap.low, "high": gap.high}


def _print(rows: Mapping[str, Mapping[str, Any]]) -> None:
    print(
        "| modalities | accuracy | ECE clean | ECE degraded | with a label | accuracy of labels | less the "
        "best alone | less the product |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for name, row in rows.items():
        ece = [
            f"{row['ece'][kind]:.3f}" if kind in row["ece"] else ""
            for kind in ("clean", "degraded")
        ]
        gaps = [
            f"{row[r]['value']:+.3f} [{row[r]['low']:+.3f}, {row[r]['high']:+.3f}]"
            if r in row
            else ""
            for r in ("less_best", "less_product")
        ]
        print(
            f"| {name} | {row['accuracy']:.3f} | {' | '.join(ece)} | {row['with_label']:.3f} | "
            f"{row['accuracy_of_labels']:.3f} | {' | '.join(gaps)} |"
        )


def draw(measured: Mapping[str, Measured], prior: Scores, path: Path) -> None:
    """Reliability diagrams: for each set of modalities the accuracy of hops by their confidence."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    columns = 4
    lines = -(-len(measured) // columns)
    figure, axes = pyplot.subplots(
        lines, columns, figsize=(3 * columns, 3.1 * lines), squeeze=False
    )
    for axis in axes.flat[len(measured) :]:
        axis.axis("off")
    for axis, (name, found) in zip(axes.flat, measured.items(), strict=False):
        axis.plot([0, 1], [0, 1], color="0.7", linewidth=1)
        for kind, chosen in (("clean", ~found.degraded), ("degraded", found.degraded)):
            if not chosen.any():
                continue
            rows = np.flatnonzero(chosen)[drawn_by_prior(found.labels[chosen], prior)]
            confidence = found.pooled[rows].max(1)
            correct = found.pooled[rows].argmax(1) == found.labels[rows]
            index = np.minimum((confidence * _BINS).astype(int), _BINS - 1)
            used = [n for n in range(_BINS) if (index == n).mean() > 0.01]
            axis.plot(
                [confidence[index == n].mean() for n in used],
                [correct[index == n].mean() for n in used],
                marker="o",
                label=f"{kind}: {expected_calibration_error(confidence, correct, _BINS):.3f}",
            )
        axis.set(title=name, xlim=(0, 1), ylim=(0, 1), xlabel="confidence", ylabel="right")
        axis.legend(title="ECE", fontsize=8)
    figure.tight_layout()
    figure.savefig(path, dpi=100)
    pyplot.close(figure)
