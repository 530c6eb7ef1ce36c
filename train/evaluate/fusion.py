"""Fused bundles against their members, and against two rules that need no training.

The rules are the product of the members' probabilities, each calibrated by the temperature in its manifest,
and the mean of these probabilities. The product is optimal if the modalities are independent given the
label, as in label-paired data, and if the temperatures are right. All rows use the same prior, the label
shares of split train.

Intervals are 95 % bootstrap intervals. They resample participants if there are eight or more, otherwise
recordings of the anchor, since the pairs of one recording are alike; the latter say nothing about new
people. The best member is chosen on the evaluated split itself, which favors it.

For pairs whose members disagree the table shows whose label wins, the mean confidence, and how often the
confidence is below that of 90 % of the agreeing pairs, where a bundle would abstain.

Not covered: modalities of one person, whose errors are correlated.

    affectstream train evaluate-fusion --member faces --member voices --data prepared/paired \\
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

from affectstream.engines.bundle.folder import Member, find_bundle, read_manifest
from affectstream.engines.errors import UsageError
from affectstream.engines.graphs.compare import softmax
from affectstream.engines.manifest import Calibration
from affectstream.train.calibration import COVERAGE
from affectstream.train.data.dataset import Dataset
from affectstream.train.errors import DataError
from affectstream.train.late_fusion.member_logits import modalities_of, predict_members, rows_for
from affectstream.train.late_fusion.members import find_members
from affectstream.train.loader.rows import open_for
from affectstream.train.metrics import classification
from affectstream.train.predict.bundle_outputs import BundleOutputs
from affectstream.train.statistics import Groups, bootstrap, groups_of, paired_difference
from affectstream.train.tasks import Task

MIN_PARTICIPANTS = 8
"""With fewer participants, recordings are resampled."""
PRODUCT, AVERAGE = "product of calibrated experts", "average of probabilities"

Probabilities = NDArray[Any]


@dataclass(frozen=True, slots=True, eq=False)
class JointPredictions:
    """Predictions of every row of the table for the same samples."""

    probabilities: Mapping[str, Probabilities]
    """(n, C) by row."""
    truth: NDArray[np.int64]
    """(n,) label numbers."""
    ids: Sequence[str]
    people: Sequence[str | None]
    left_out: int
    """Samples that lack the modalities of a member."""


@dataclass(frozen=True, slots=True)
class ConflictOutcome:
    """One row on the pairs that disagree: shares of the pairs, and mean confidences."""

    anchor: float
    """Share predicted as the label of the anchor, which is the label of the pair."""
    other: float
    """Share predicted as the label of the partner."""
    neither: float
    confidence: float
    agreeing_confidence: float
    unsure: float
    """Share whose confidence is below that of `COVERAGE` of the agreeing pairs."""


def compare_fusions(
    members: Sequence[str],
    fused: Sequence[str],
    data: Path,
    conflicts: Path | None,
    split: str,
) -> None:
    """Measure, and print two tables and a line of JSON.

    Raises `UsageError` for a fused bundle with other labels or a name that is taken, and what
    `find_members` and `predict` raise.
    """
    opened = find_members(members)
    folders = _fused_folders(opened, fused)
    prior, prior_source = label_prior(opened, data)
    agreeing = predict(opened, folders, data, split, prior)
    rows = metrics_of(agreeing, [member.name for member in opened])
    result: dict[str, Any] = {
        "data": data.name,
        "split": split,
        "samples": len(agreeing.truth),
        "left_out": agreeing.left_out,
        "people": len(set(agreeing.people) - {None}),
        "drawn_by": resampling_groups(agreeing).by,
        "prior": prior_source,
        "rows": rows,
    }
    _print_metrics(rows)
    if conflicts is not None:
        pairs = predict(opened, folders, conflicts, None, prior)
        outcomes = conflict_outcomes(agreeing, pairs, opened[0].manifest.labels)
        result["conflicts"] = {
            "samples": len(pairs.truth),
            "rows": {name: asdict(row) for name, row in outcomes.items()},
        }
        _print_conflicts(outcomes)
    print(json.dumps(result))


def _fused_folders(members: Sequence[Member], fused: Sequence[str]) -> dict[str, Path]:
    folders: dict[str, Path] = {}
    taken = {PRODUCT, AVERAGE, *(member.name for member in members)}
    for given in fused:
        folder = find_bundle(given).resolve()
        if folder.name in taken or folder.name in folders:
            raise UsageError(f"--fused {given}: another row is called {folder.name}; rename one")
        labels, expected = read_manifest(folder).labels, members[0].manifest.labels
        if labels != expected:
            raise UsageError(
                f"--fused {given} has labels {', '.join(labels)}, expected those of the members: "
                f"{', '.join(expected)}"
            )
        folders[folder.name] = folder
    return folders


def label_prior(members: Sequence[Member], data: Path) -> tuple[Probabilities, str]:
    """Label shares (C,) of split train, counting at least one sample of each; and a text that says so.

    Uniform if there is no split train.
    """
    labels, dataset = members[0].manifest.labels, _open(members, data)
    if not dataset.info.splits.get("train"):
        return np.full(len(labels), 1.0 / len(labels)), "alike: there is no split train"
    found = dataset.column("emotion")[rows_for(members, dataset, "train")].tolist()
    counts = np.maximum([found.count(label) for label in labels], 1.0)
    return counts / counts.sum(), "shares of split train"


def predict(
    members: Sequence[Member],
    fused: Mapping[str, Path],
    data: Path,
    split: str | None,
    prior: Probabilities,
) -> JointPredictions:
    """Predictions of `members`, the two rules and the bundles `fused` for `split` (None: all samples).

    Raises `DataError` if no sample has the modalities of every member, and what `rows_for` and
    `predict_members` raise.
    """
    dataset = _open(members, data)
    rows = rows_for(members, dataset, split)
    labels = members[0].manifest.labels
    task = Task("emotion", labels)
    by_member = {
        m.name: predict_members(f"member {m.name!r}", m.folder, dataset, rows, task)
        for m in members
    }
    by_bundle = {
        name: predict_members(f"bundle {name!r}", folder, dataset, rows, task)
        for name, folder in fused.items()
    }
    covered = [np.isin(np.arange(len(rows)), found.samples) for found in by_member.values()]
    kept = np.flatnonzero(np.all(covered, axis=0))
    if not kept.size:
        raise DataError(f"{data}: no sample has something for every member")
    log_prior = np.log(prior)
    scaled = {
        m.name: _calibrated_logits(by_member[m.name], m.manifest.calibration, kept) for m in members
    }
    probabilities = {name: softmax(logits + log_prior) for name, logits in scaled.items()}
    average = np.mean(list(probabilities.values()), axis=0)
    probabilities[PRODUCT] = softmax(np.sum(list(scaled.values()), axis=0) + log_prior)
    probabilities[AVERAGE] = average
    for name, found in by_bundle.items():
        calibration = read_manifest(fused[name]).calibration
        probabilities[name] = softmax(_calibrated_logits(found, calibration, kept) + log_prior)
    kept_rows = rows[kept]
    number = {label: n for n, label in enumerate(labels)}
    return JointPredictions(
        probabilities=probabilities,
        truth=np.array([number[e] for e in dataset.column("emotion")[kept_rows]], np.int64),
        ids=dataset.column("id")[kept_rows].tolist(),
        people=dataset.column("participant")[kept_rows].tolist(),
        left_out=len(rows) - len(kept_rows),
    )


def _open(members: Sequence[Member], data: Path) -> Dataset:
    return open_for(data, sorted({m for member in members for m in modalities_of(member)}))


def _calibrated_logits(
    found: BundleOutputs, calibration: Calibration, kept: NDArray[np.int64]
) -> Probabilities:
    """Logits over temperature (n, C) of the samples `kept`."""
    places = np.searchsorted(found.samples, kept)
    names = [found.modalities[n] for n in places]
    temperature = np.array([calibration.temperature.get(name, 1.0) for name in names])
    return np.asarray(found.outputs["logits"][places].astype(np.float64) / temperature[:, None])


def resampling_groups(predictions: JointPredictions) -> Groups:
    """The groups of samples that the bootstrap draws as a whole, see the module."""
    found = groups_of(predictions.people)
    if found.by == "participant" and len(set(predictions.people)) >= MIN_PARTICIPANTS:
        return found
    anchors = [name.partition("+")[0] for name in predictions.ids]
    return Groups(np.unique(anchors, return_inverse=True)[1], "recording of the anchor")


def metrics_of(predictions: JointPredictions, members: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Metrics of each row with intervals, and its differences to the best member and to the product."""
    truth, groups = predictions.truth, resampling_groups(predictions)
    guesses = {name: scores.argmax(1) for name, scores in predictions.probabilities.items()}
    accuracy = {name: float((guesses[name] == truth).mean()) for name in members}
    best = max(accuracy, key=lambda name: accuracy[name])
    rows: dict[str, dict[str, Any]] = {}
    for name, guess in guesses.items():
        own = bootstrap(classification, truth, guess, groups=groups)
        rows[name] = {"figures": {metric: asdict(value) for metric, value in own.items()}}
        for key, rival in (("less_best_member", best), ("less_product", PRODUCT)):
            if name != rival:
                gap = paired_difference(classification, truth, guesses[rival], guess, groups=groups)
                rows[name][key] = {metric: asdict(value) for metric, value in gap.items()}
    return rows


def conflict_outcomes(
    agreeing: JointPredictions, pairs: JointPredictions, labels: Sequence[str]
) -> dict[str, ConflictOutcome]:
    """Each row on the pairs that disagree. Raises `DataError` if there are none."""
    partners = [_partner_label(name) for name in pairs.ids]
    rows = np.flatnonzero([label is not None for label in partners])
    if not rows.size:
        raise DataError(
            "no sample's id ends in ' label/other': make pairs that disagree with 'train prepare paired "
            "--conflicts 1'"
        )
    number = {label: n for n, label in enumerate(labels)}
    partner = np.array([number.get(partners[row] or "", -1) for row in rows])
    outcomes = {}
    for name, scores in pairs.probabilities.items():
        confidence, guess = scores[rows].max(1), scores[rows].argmax(1)
        agreeing_confidence = agreeing.probabilities[name].max(1)
        threshold = np.quantile(agreeing_confidence, 1.0 - COVERAGE)
        is_anchor, is_partner = guess == pairs.truth[rows], guess == partner
        outcomes[name] = ConflictOutcome(
            anchor=float(is_anchor.mean()),
            other=float(is_partner.mean()),
            neither=float((~is_anchor & ~is_partner).mean()),
            confidence=float(confidence.mean()),
            agreeing_confidence=float(agreeing_confidence.mean()),
            unsure=float((confidence < threshold).mean()),
        )
    return outcomes


def _partner_label(sample_id: str) -> str | None:
    """The label of the partner, from the id of a pair; None if the pair agrees."""
    _, slash, other = sample_id.rpartition(" ")[2].partition("/")
    return other if slash else None


def _print_metrics(rows: Mapping[str, Mapping[str, Any]]) -> None:
    print(
        "| | accuracy | weighted F1 | macro F1 | UAR | accuracy less the best member's | less the "
        "product's |"
    )
    print("|---|---|---|---|---|---|---|")
    for name, row in rows.items():
        cells = [
            _interval(row["figures"][m]) for m in ("accuracy", "weighted_f1", "macro_f1", "uar")
        ]
        for rival in ("less_best_member", "less_product"):
            cells.append(_interval(row[rival]["accuracy"], sign="+") if rival in row else "(it)")
        print(f"| {name} | {' | '.join(cells)} |")


def _interval(value: Mapping[str, float], sign: str = "") -> str:
    return f"{value['value']:{sign}.3f} [{value['low']:{sign}.3f}, {value['high']:{sign}.3f}]"


def _print_conflicts(rows: Mapping[str, ConflictOutcome]) -> None:
    print()
    print("| pairs that disagree | anchor's | other's | neither | confidence (agreeing) | unsure |")
    print("|---|---|---|---|---|---|")
    for name, row in rows.items():
        print(
            f"| {name} | {row.anchor:.3f} | {row.other:.3f} | {row.neither:.3f} | {row.confidence:.3f} "
            f"({row.agreeing_confidence:.3f}) | {row.unsure:.3f} |"
        )
