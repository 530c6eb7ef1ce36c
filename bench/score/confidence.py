"""Whether confidence is a probability, for each set of a bundle's modalities, on clean and degraded input.

    affectstream bench confidence --data prepared/paired --output confidence

The data is made by ``train prepare paired --part unseen --degrade 0.5``: people from whom no encoder has
learned, dealt into two halves. What joins and calibrates the modalities is fitted anew on one half (`pool`)
and measured on the other, both ways, so that no person, picture or dialogue is in both. Labels are as
frequent as the bundle assumes, and speakers count the same. `reliability` compares confidence with accuracy.
Beside the pool stand the best of its modalities alone (chosen on the same samples, which favors it), the
product of the modalities' probabilities, each calibrated alone, and the bundle as it is, with its own head
and temperatures, in whose calibration some of these people may have been.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from affectstream.bench.machine import describe
from affectstream.bench.output import finish
from affectstream.bench.score.diagrams import draw, table
from affectstream.bench.score.pool import Pool, fit_pool
from affectstream.bench.score.reliability import Reliability, reliability
from affectstream.engines.bundle.bundle import Bundle
from affectstream.engines.errors import UsageError
from affectstream.engines.labels import subsets
from affectstream.train.calibration import (
    contradictory,
    drawn_by_prior,
    people_in,
    probabilities,
)
from affectstream.train.data.degrade import PAIRED_FACES, VOICES
from affectstream.train.predict.bundle_outputs import bundle_outputs
from affectstream.train.predict.bundle_samples import bundle_samples, valid_batches
from affectstream.train.statistics import Groups, paired_difference

HALVES = "train", "valid"
DEGRADED = " ~"
"""In the id of a pair whose modalities are degraded, before the names of what was done to each."""
KINDS: Mapping[str, Sequence[str]] = {
    "video": list(PAIRED_FACES),
    "voice": list(VOICES),
    "text": ["missing_words"],
}

Scores = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Half:
    """The samples of one half that have all modalities, with the logits (n, C) of each modality alone."""

    alone: dict[str, Scores]
    labels: NDArray[np.int64]
    people: list[str]
    degraded: list[str]
    """What was done to a sample, such as ``blur,telephone``; empty if it is clean."""
    fused: dict[str, Scores] = field(default_factory=dict)
    """The logits (n, C) of the bundle's own head for each set of modalities."""


@dataclass(frozen=True, slots=True, eq=False)
class Measured:
    """One set of modalities over both halves, each row by what was fitted on the other half."""

    modalities: tuple[str, ...]
    pooled: Scores
    product: Scores
    alone: tuple[Scores, ...]
    limits: Scores
    """(n,) the confidence that a label needs."""
    labels: NDArray[np.int64]
    people: tuple[str, ...]
    degraded: tuple[str, ...]

    def inputs(self) -> dict[str, NDArray[np.bool_]]:
        """Which samples (n,) are clean and which degraded, as far as there are any."""
        worse = np.array([bool(done) for done in self.degraded])
        return {name: of for name, of in (("clean", ~worse), ("degraded", worse)) if of.any()}

    def reliability(self, chosen: NDArray[np.bool_], prior: Scores) -> Reliability:
        """Of the `chosen` samples (n,)."""
        pooled, labels = self.pooled[chosen], self.labels[chosen]
        people = np.asarray(self.people)[chosen].tolist()
        return reliability(pooled.max(1), pooled.argmax(1) == labels, labels, people, prior)


def main(bundle: str, data: Path, output: Path | None) -> None:
    """Measure and print; with `output` also write `confidence.json` and `confidence.png` into it."""
    with Bundle.open(bundle) as opened:
        manifest = opened.manifest
        halves = [read_half(opened, data, split) for split in HALVES]
    prior = np.asarray(manifest.calibration.prior)
    measured = cross_fitted(halves, prior)
    rows = {name: metrics(found, prior) for name, found in measured.items()}
    for name, found in measured.items():
        temperature = manifest.calibration.temperature.get(name, 1.0)
        logits = np.concatenate([half.fused[name] for half in halves])
        own = replace(found, pooled=probabilities(logits, prior, temperature))
        rows[name]["bundle"] = {
            kind: own.reliability(chosen, prior).to_dict() for kind, chosen in own.inputs().items()
        }
    print(table(rows))
    result = {
        "bench": "confidence",
        "bundle": f"{manifest.name} {manifest.version}",
        "data": data.name,
        "samples": sum(len(half.labels) for half in halves),
        "people": len({person for half in halves for person in half.people}),
        "rows": rows,
        "machine": describe(),
    }
    finish("confidence", result, output, lambda path: draw(rows, path))


def read_half(bundle: Bundle, data: Path, split: str) -> Half:
    """The logits of each modality of `bundle` alone. Raises `UsageError` if no sample has all modalities."""
    samples, _ = bundle_samples(bundle, data, split)
    outputs = bundle_outputs(bundle, *valid_batches(samples), missing=True)
    whole = outputs.get(bundle.modalities)
    if whole is None:
        raise UsageError(
            f"{data}: no sample of split {split} has {' and '.join(bundle.modalities)}: make it with "
            "'affectstream train prepare paired --part unseen --degrade 0.5'"
        )
    fused: dict[str, Scores] = {}
    for subset in subsets(bundle.modalities):
        found = outputs[subset]
        rows = np.searchsorted(found.samples, whole.samples)
        fused["+".join(subset)] = found.outputs["logits"][rows].astype(np.float64)
    dataset, numbers = samples[0].dataset, samples[0].rows[whole.samples]
    ids = dataset.column("id")[numbers].tolist()
    people = [str(person) for person in dataset.column("participant")[numbers]]
    labels = samples[0].truth["emotion"][whole.samples].numpy()
    degraded = [name.partition(DEGRADED)[2].split(" ")[0] for name in ids]
    return Half({m: fused[m] for m in bundle.modalities}, labels, people, degraded, fused)


def cross_fitted(halves: Sequence[Half], prior: Scores) -> dict[str, Measured]:
    """Every set of modalities, by name, fitted on each half and measured on the other."""
    pools = [fit_pool(half.alone, half.labels, prior, half.people) for half in halves]
    pairs = list(zip(reversed(pools), halves, strict=True))
    found = {}
    for subset in sorted(subsets(list(halves[0].alone)), key=len):
        name = "+".join(subset)
        alone = [
            np.concatenate([_chances(pool, half, (m,), prior) for pool, half in pairs])
            for m in subset
        ]
        product = np.log(np.array(alone)).sum(0) - (len(subset) - 1) * np.log(prior)
        found[name] = Measured(
            modalities=subset,
            pooled=np.concatenate([_chances(pool, half, subset, prior) for pool, half in pairs]),
            product=probabilities(product, np.ones(len(prior)), 1.0),
            alone=tuple(alone),
            limits=np.concatenate(
                [np.full(len(h.labels), p.calibrated[name].min_confidence) for p, h in pairs]
            ),
            labels=np.concatenate([half.labels for half in halves]),
            people=_people(subset, halves),
            degraded=tuple(done for half in halves for done in half.degraded),
        )
    return found


def _people(subset: Sequence[str], halves: Sequence[Half]) -> tuple[str, ...]:
    """Who counts as one person: the speaker, or each sample where faces or words are of others."""
    people = [person for half in halves for person in half.people]
    who = people_in(subset, list(halves[0].alone), people)
    return tuple(map(str, range(len(people)) if who is None else who))


def _chances(pool: Pool, half: Half, subset: Sequence[str], prior: Scores) -> Scores:
    temperature = pool.calibrated["+".join(subset)].temperature
    return probabilities(pool.logits(half.alone, subset), prior, temperature) + 1e-12


def metrics(found: Measured, prior: Scores) -> dict[str, Any]:
    """Accuracy, calibration on clean and degraded samples, coverage, and the differences to both rivals."""
    inputs = found.inputs()
    drawn = {name: _drawn(found, chosen, prior) for name, chosen in inputs.items()}
    rows = np.concatenate(list(drawn.values()))
    confidence, correct = found.pooled.max(1), found.pooled.argmax(1) == found.labels
    labeled = confidence >= found.limits
    right = [float((p.argmax(1) == found.labels)[rows].mean()) for p in found.alone]
    best = found.alone[int(np.argmax(right))]
    result: dict[str, Any] = {
        "accuracy": float(correct[rows].mean()),
        "reliability": {
            name: found.reliability(chosen, prior).to_dict() for name, chosen in inputs.items()
        },
        "accuracy_by_input": {name: float(correct[of].mean()) for name, of in drawn.items()},
        "with_label": float(labeled[rows].mean()),
        "accuracy_of_labels": float(correct[rows][labeled[rows]].mean()),
    }
    if len(found.alone) == 1:
        result |= _apart(found, prior)
    else:
        against = [contradictory(*pair) for pair in combinations(found.alone, 2)]
        result["contradictory"] = float(np.any(against, axis=0)[rows].mean())
        for name, rival in (("less_best", best), ("less_product", found.product)):
            result[name] = _difference(found, rival, rows)
    return result


def _drawn(found: Measured, chosen: NDArray[np.bool_], prior: Scores) -> NDArray[np.int64]:
    people = np.asarray(found.people)[chosen].tolist()
    return np.flatnonzero(chosen)[drawn_by_prior(found.labels[chosen], prior, people)]


def _apart(found: Measured, prior: Scores) -> dict[str, Any]:
    """The reliability of one modality under each degradation, and of each person, without the bins."""
    done = [set(names.split(",")) for names in found.degraded]
    people = np.asarray(found.people)
    several = sorted(set(found.people)) if len(set(found.people)) < len(people) else []
    kinds = KINDS.get(found.modalities[0], ())
    parts = {
        "degradations": {kind: np.array([kind in names for names in done]) for kind in kinds},
        "by_person": {person: people == person for person in several},
    }
    rows: dict[str, Any] = {}
    for part, chosen in parts.items():
        rows[part] = {
            name: found.reliability(of, prior).to_dict() for name, of in chosen.items() if of.any()
        }
        for row in rows[part].values():
            del row["bins"]
    return rows


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
