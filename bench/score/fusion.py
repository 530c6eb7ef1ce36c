"""Late fusion beside its parts, and beside joining those without learning anything.

Two ways need no training: the product of the members' probabilities, each calibrated by the temperature
in its manifest (the best there is where modalities are independent given the label, as they are in
label-paired data, and the temperatures are right), and the mean of those probabilities. Every row assumes
the same prior, the shares of split train. Intervals are of 95 %, by participant from eight participants
on, else by recording of the anchor (the pairs of one recording are drawn together): those say nothing
of people never seen. The best member is chosen on the split itself, which favours it.

Of pairs that disagree it is told whose label wins, how sure the answer is, and how often it is less
sure than 90 % of the answers to the pairs that agree, which is where a bundle abstains.

Not covered: modalities of one person, whose mistakes go together.

    affectstream bench fusion --member faces --member voices --data prepared/paired \\
        --fused late --fused enhanced --conflicts prepared/paired_conflicts
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from affectstream.bench.machine import describe
from affectstream.engines.bundle.folder import Member, locate, read_manifest
from affectstream.engines.compare import softmax
from affectstream.engines.errors import UsageError
from affectstream.engines.manifest import Calibration
from affectstream.train.calibration import COVERAGE
from affectstream.train.data.dataset import Dataset
from affectstream.train.errors import DataError
from affectstream.train.fusion.member_logits import modalities_of, predict_members, rows_for
from affectstream.train.fusion.members import find_members
from affectstream.train.loader.samples import open_for
from affectstream.train.metrics import classification
from affectstream.train.predict.bundle_outputs import BundleOutputs
from affectstream.train.statistics import (
    Groups,
    bootstrap,
    groups_of,
    paired_difference,
)
from affectstream.train.tasks import Task

LEAST_PEOPLE = 8
"""Participants from which on they are what is drawn."""
PRODUCT, AVERAGE = "product of calibrated experts", "average of probabilities"

Table = NDArray[Any]


@dataclass(frozen=True, slots=True, eq=False)
class JointPredictions:
    """What everyone says of the same samples."""

    told: Mapping[str, Table]
    """Probabilities (n, C) by who says them."""
    truth: NDArray[np.int64]
    """(n,) numbers of labels."""
    ids: Sequence[str]
    people: Sequence[str | None]
    left_out: int
    """Samples for which a member had nothing to go by."""


@dataclass(frozen=True, slots=True)
class ConflictOutcome:
    """What one way to join makes of pairs that disagree: shares of them, and mean confidences."""

    anchor: float
    """Where the label of the anchor wins, which is the pair's label."""
    other: float
    neither: float
    confidence: float
    agreeing_confidence: float
    unsure: float
    """Where it is less sure than `COVERAGE` of the pairs that agree."""


def predict(
    members: Sequence[Member],
    fused: Mapping[str, Path],
    data: Path,
    split: str | None,
    prior: Table,
) -> JointPredictions:
    """What `members`, the two ways that learn nothing, and the bundles `fused` say of `split` (None: of
    all samples).

    Raises as `spoken.rows_for` and `spoken.listen`, and `DataError` where no sample has something for
    every member.
    """
    dataset = _open(members, data)
    rows = rows_for(members, dataset, split)
    labels = members[0].manifest.labels
    task = Task("emotion", labels)
    found = {
        m.name: predict_members(f"member {m.name!r}", m.folder, dataset, rows, task)
        for m in members
    }
    joined = {
        name: predict_members(f"bundle {name!r}", folder, dataset, rows, task)
        for name, folder in fused.items()
    }
    everyone = [np.isin(np.arange(len(rows)), said.samples) for said in found.values()]
    kept = np.flatnonzero(np.all(everyone, axis=0))
    if not kept.size:
        raise DataError(f"{data}: no sample has something for every member")
    own = [m.manifest.calibration for m in members]
    scaled = [_scaled(s, c, kept) for s, c in zip(found.values(), own, strict=True)]
    alone = [softmax(part + np.log(prior)) for part in scaled]
    told = dict(zip(found, alone, strict=True))
    told[PRODUCT] = softmax(np.sum(scaled, axis=0) + np.log(prior))
    told[AVERAGE] = np.mean(alone, axis=0)
    for name, said in joined.items():
        calibration = read_manifest(fused[name]).calibration
        told[name] = softmax(_scaled(said, calibration, kept) + np.log(prior))
    rows = rows[kept]
    number = {label: n for n, label in enumerate(labels)}
    return JointPredictions(
        told=told,
        truth=np.array([number[e] for e in dataset.column("emotion")[rows]], np.int64),
        ids=dataset.column("id")[rows].tolist(),
        people=dataset.column("participant")[rows].tolist(),
        left_out=len(everyone[0]) - len(rows),
    )


def _open(members: Sequence[Member], data: Path) -> Dataset:
    return open_for(data, sorted({m for member in members for m in modalities_of(member)}))


def _scaled(said: BundleOutputs, calibration: Calibration, kept: NDArray[np.int64]) -> Table:
    """Calibrated logits (n, C) of samples `kept`."""
    place = np.searchsorted(said.samples, kept)
    names = [said.modalities[n] for n in place]
    temperature = np.array([calibration.temperature.get(name, 1.0) for name in names])
    return np.asarray(said.outputs["logits"][place].astype(np.float64) / temperature[:, None])


def label_prior(members: Sequence[Member], data: Path) -> tuple[Table, str]:
    """Shares (C,) of the labels in split train, none under one sample, and what they are."""
    labels, dataset = members[0].manifest.labels, _open(members, data)
    if not dataset.info.splits.get("train"):
        return np.full(len(labels), 1.0 / len(labels)), "alike: there is no split train"
    found = dataset.column("emotion")[rows_for(members, dataset, "train")].tolist()
    counts = np.maximum([found.count(label) for label in labels], 1.0)
    return counts / counts.sum(), "shares of split train"


def resampling_groups(asked: JointPredictions) -> Groups:
    """What intervals draw: see the module."""
    found = groups_of(asked.people)
    if found.by == "participant" and len(set(asked.people)) >= LEAST_PEOPLE:
        return found
    anchors = [name.partition("+")[0] for name in asked.ids]
    return Groups(np.unique(anchors, return_inverse=True)[1], "recording of the anchor")


def metrics_of(asked: JointPredictions, members: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Figures of each row with their intervals, and each row's less those of the best of `members` and of
    the product."""
    guesses = {name: scores.argmax(1) for name, scores in asked.told.items()}
    right = {name: float((guesses[name] == asked.truth).mean()) for name in members}
    best, drawn = max(right, key=lambda name: right[name]), resampling_groups(asked)
    found: dict[str, dict[str, Any]] = {}
    for name, guess in guesses.items():
        own = bootstrap(classification, asked.truth, guess, groups=drawn)
        found[name] = {"figures": {metric: asdict(value) for metric, value in own.items()}}
        for key, rival in (("less_best_member", best), ("less_product", PRODUCT)):
            if name != rival:
                apart = paired_difference(
                    classification, asked.truth, guesses[rival], guess, groups=drawn
                )
                found[name][key] = {metric: asdict(value) for metric, value in apart.items()}
    return found


def conflict_outcomes(
    agreeing: JointPredictions, pairs: JointPredictions, labels: Sequence[str]
) -> dict[str, ConflictOutcome]:
    """What each row makes of the pairs that disagree. Raises `DataError` where there are none."""
    others = [_other(name) for name in pairs.ids]
    rows = np.flatnonzero([other is not None for other in others])
    if not rows.size:
        raise DataError(
            "no sample's id ends in ' label/other': make pairs that disagree with 'train prepare paired "
            "--conflicts 1'"
        )
    number = {label: n for n, label in enumerate(labels)}
    other = np.array([number.get(others[row] or "", -1) for row in rows])
    found = {}
    for name, scores in pairs.told.items():
        said, guess = scores[rows].max(1), scores[rows].argmax(1)
        usual = agreeing.told[name].max(1)
        anchor, partner = guess == pairs.truth[rows], guess == other
        found[name] = ConflictOutcome(
            anchor=float(anchor.mean()),
            other=float(partner.mean()),
            neither=float((~anchor & ~partner).mean()),
            confidence=float(said.mean()),
            agreeing_confidence=float(usual.mean()),
            unsure=float((said < np.quantile(usual, 1.0 - COVERAGE)).mean()),
        )
    return found


def _other(name: str) -> str | None:
    """What the partner shows, by the id of a pair; None of one that agrees."""
    _, slash, other = name.rpartition(" ")[2].partition("/")
    return other if slash else None


def main(
    members: Sequence[str],
    fused: Sequence[str],
    data: Path,
    conflicts: Path | None,
    split: str,
) -> None:
    """Measure and print. Raises as `members.find` and `predict`; `UsageError` for a fused bundle of other
    labels or a name that is there twice."""
    found = find_members(members)
    joined = _joined(found, fused)
    prior, assumed = label_prior(found, data)
    agreeing = predict(found, joined, data, split, prior)
    names = [member.name for member in found]
    rows = metrics_of(agreeing, names)
    result: dict[str, Any] = {
        "bench": "fusion",
        "data": data.name,
        "split": split,
        "samples": len(agreeing.truth),
        "left_out": agreeing.left_out,
        "people": len(set(agreeing.people) - {None}),
        "drawn_by": resampling_groups(agreeing).by,
        "prior": assumed,
        "rows": rows,
    }
    _print_figures(rows)
    if conflicts is not None:
        pairs = predict(found, joined, conflicts, None, prior)
        labels = found[0].manifest.labels
        clash = conflict_outcomes(agreeing, pairs, labels)
        result["conflicts"] = {
            "samples": len(pairs.truth),
            "rows": {name: asdict(row) for name, row in clash.items()},
        }
        _print_clashes(clash)
    print(json.dumps({**result, "machine": describe()}))


def _joined(members: Sequence[Member], fused: Sequence[str]) -> dict[str, Path]:
    found: dict[str, Path] = {}
    taken = {PRODUCT, AVERAGE, *(member.name for member in members)}
    for given in fused:
        folder = locate(given).resolve()
        if folder.name in taken or folder.name in found:
            raise UsageError(f"--fused {given}: another row is called {folder.name}; rename one")
        if read_manifest(folder).labels != members[0].manifest.labels:
            raise UsageError(
                f"--fused {given} has labels {', '.join(read_manifest(folder).labels)}, expected those of "
                f"the members: {', '.join(members[0].manifest.labels)}"
            )
        found[folder.name] = folder
    return found


def _print_figures(rows: Mapping[str, Mapping[str, Any]]) -> None:
    print(
        "| | accuracy | weighted F1 | macro F1 | UAR | accuracy less the best member's | less the "
        "product's |"
    )
    print("|---|---|---|---|---|---|---|")
    for name, row in rows.items():
        parts = [
            _spelled(row["figures"][m]) for m in ("accuracy", "weighted_f1", "macro_f1", "uar")
        ]
        for rival in ("less_best_member", "less_product"):
            parts.append(_spelled(row[rival]["accuracy"], sign="+") if rival in row else "(it)")
        print(f"| {name} | {' | '.join(parts)} |")


def _spelled(value: Mapping[str, float], sign: str = "") -> str:
    return " ".join(
        [f"{value['value']:{sign}.3f}", f"[{value['low']:{sign}.3f}, {value['high']:{sign}.3f}]"]
    )


def _print_clashes(rows: Mapping[str, ConflictOutcome]) -> None:
    print()
    print("| pairs that disagree | anchor's | other's | neither | confidence (agreeing) | unsure |")
    print("|---|---|---|---|---|---|")
    for name, row in rows.items():
        print(
            f"| {name} | {row.anchor:.3f} | {row.other:.3f} | {row.neither:.3f} | {row.confidence:.3f} "
            f"({row.agreeing_confidence:.3f}) | {row.unsure:.3f} |"
        )
