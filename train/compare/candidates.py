"""What can be compared: evaluations, runs, cross-validations and bundles, on one data set and split."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from affectstream.engines.bundle.bundle import Bundle
from affectstream.engines.bundle.folder import MANIFEST
from affectstream.engines.errors import AffectstreamError
from affectstream.stream.errors import OptionError
from affectstream.train.compare.run_bundle import measure_run
from affectstream.train.config import FitConfig
from affectstream.train.data.dataset import read_info
from affectstream.train.errors import DataError, RunError
from affectstream.train.evaluate.bundle.bundle_metrics import measure_bundle
from affectstream.train.evaluate.bundle.cost import Cost, measure_cost
from affectstream.train.evaluate.bundle.evaluation_files import METRICS, PREDICTIONS
from affectstream.train.evaluate.bundle.importance import Importance
from affectstream.train.fit.checkpoint import BEST, SUMMARY, Trained, load, load_run
from affectstream.train.fit.unseen import check_unseen, taught_samples_of
from affectstream.train.fit.warm_start import fit_records
from affectstream.train.predict.predictions import Predictions, Predictor
from affectstream.train.recipe import Bindable
from affectstream.train.recipes.registry import recipes
from affectstream.train.studies import cross_validation


@dataclass(frozen=True, slots=True, eq=False)
class Candidate:
    """One network to compare."""

    name: str
    predictions: Predictions
    content: str | None
    """Hash of the samples, and of their splits."""
    splits: str | None
    split: str
    """Name of the split; ``folds`` for a cross-validation."""
    cost: Cost | None = None
    """None for folds whose weights were not kept, and for what cannot be measured."""
    parameters: int | None = None
    trainable: int | None = None
    frozen: int | None = None
    """As far as the run, or the bundle's `training/`, tells it; of folds, those of the first."""
    importance: Importance | None = None
    taught_in_doubt: int = 0
    """Coded recordings that taught it, if samples may be from them."""
    folds: NDArray[np.int64] | None = None
    """(n,) the fold of each sample of a cross-validation."""


def open_candidates(names: Sequence[str], data: Path | None, split: str) -> list[Candidate]:
    """Open folders, or ``pocket``, by name; runs and bundles are measured on `split` of `data`.

    Raises `OptionError` without `data` where it is needed, `RunError` for another folder, and for a network
    that was trained on the same samples; `DataMissing`, `DataError` or `BundleError`.
    """
    short = [Path(name).name or name for name in names]
    if len(set(names)) < len(names):
        raise OptionError(f"{' '.join(names)}: a network is named twice; name each once")
    shown = short if len(set(short)) == len(short) else list(names)
    return [
        replace(_open(Path(name), data, split), name=label)
        for name, label in zip(names, shown, strict=True)
    ]


def _open(folder: Path, data: Path | None, split: str) -> Candidate:
    if (folder / METRICS).is_file():
        return _evaluation(folder)
    folds = folder if (folder / cross_validation.RESULT).is_file() else folder / "folds"
    is_network = str(folder) == "pocket" or any((folder / f).is_file() for f in (BEST, MANIFEST))
    if (folds / cross_validation.RESULT).is_file() and (folds == folder or not is_network):
        return _folds(folds)
    if not is_network:
        raise RunError(
            f"{folder} is neither a run nor a bundle: expected {BEST} or {MANIFEST} in it, or 'pocket'; nor "
            f"an evaluation ({METRICS}) or folds ({cross_validation.RESULT})"
        )
    if data is None:
        raise OptionError(f"{folder} is not evaluated yet: give --data, or its evaluation")
    check_unseen(folder, data, split)
    info = read_info(data)
    return replace(
        _run(folder, data, split) if (folder / BEST).is_file() else _bundle(folder, data, split),
        content=info.content_sha256,
        splits=info.split_sha256,
    )


def _evaluation(folder: Path) -> Candidate:
    path = folder / METRICS
    if not (folder / PREDICTIONS).is_file():
        raise RunError(f"{folder} has no {PREDICTIONS}: evaluate it again with this version")
    try:
        document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        cost = Cost.of(document["cost"])
        importance = document["importance"]
        return Candidate(
            folder.name,
            Predictions.load(folder / PREDICTIONS),
            document["content_sha256"],
            document["split_sha256"],
            document["split"],
            cost,
            cost.parameters,
            *_trained(document.get("training", {})),
            importance=importance and msgspec.convert(importance, Importance),
            taught_in_doubt=document.get(
                "taught_recordings_in_doubt", document.get("taught_with_recordings", 0)
            ),
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunError(f"{path} cannot be read ({error!r}): evaluate the bundle again") from error


def _folds(folder: Path) -> Candidate:
    plan, parts = cross_validation.held_out(folder)
    numbers = np.concatenate([np.full(len(part.ids), i) for i, part in enumerate(parts)])
    first, recipe = folder / "1", str(plan.get("recipe"))
    cost = None
    if (first / BEST).is_file():
        cost, _ = _measured(folder, lambda: _saved(recipe, first), None, "valid")
    return Candidate(
        folder.name,
        Predictions.concatenate(parts),
        plan.get("content_sha256"),
        plan.get("split_sha256"),
        "folds",
        cost,
        *_counts(first),
        folds=numbers,
    )


def _bundle(folder: Path, data: Path, split: str) -> Candidate:
    with Bundle.open(folder) as bundle:
        found = measure_bundle(bundle, data, split)
        cost = measure_cost(bundle.folder)
        records = fit_records(bundle.folder)
        taught = taught_samples_of(bundle.folder, data, split)
    return Candidate(
        *(folder.name, found.predictions, None, None, split),
        cost,
        cost.parameters,
        *_trained(records),
        importance=found.importance,
        taught_in_doubt=taught.in_doubt,
    )


def _trained(records: Mapping[str, Mapping[str, Any]]) -> tuple[int | None, int | None]:
    """How many parameters of a bundle were trained, and were frozen, from what its networks say."""
    counts = [(one.get("trainable"), one.get("parameters")) for one in records.values()]
    known = [(own, every) for own, every in counts if own is not None and every is not None]
    if not known or len(known) < len(counts):
        return None, None
    trainable = sum(int(own) for own, _ in known)
    return trainable, sum(int(every) for _, every in known) - trainable


def _run(folder: Path, data: Path, split: str) -> Candidate:
    recipe = load(folder / BEST)["recipe"]
    trained = _saved(recipe, folder)
    if not isinstance(trained.recipe, Predictor):
        raise RunError(f"{folder}: {recipe} cannot predict sample by sample: export it first")
    predicted = trained.recipe.predict(trained.module, data, split, FitConfig(**trained.config))
    cost, importance = _measured(folder, lambda: trained, data, split)
    return Candidate(
        folder.name,
        predicted,
        *(None, None, split),
        cost,
        *_counts(folder),
        importance,
    )


def _saved(recipe: str, run: Path) -> Trained:
    """The network of a run of `recipe`. Raises `RunError`."""
    known = recipes()
    if recipe not in known or not isinstance(known[recipe], Bindable):
        raise RunError(
            f"{run} is a run of {recipe}, which has its own data: export it, and compare the bundle"
        )
    return load_run(known[recipe], run)


def _measured(
    folder: Path, load_trained: Callable[[], Trained], data: Path | None, split: str
) -> tuple[Cost | None, Importance | None]:
    """What the network costs and its modalities are worth. What cannot be measured is compared without."""
    try:
        found = measure_run(load_trained(), data, split)
        return found.cost, found.importance
    except AffectstreamError as error:
        print(f"{folder}: cost not measured: {error}", file=sys.stderr)
        return None, None


def _counts(run: Path) -> tuple[int | None, int | None, int | None]:
    """How many parameters a run has, and how many were trained and frozen, as far as it tells."""
    path = run / SUMMARY
    summary = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return summary.get("parameters"), *_trained({run.name: summary})


def check_same(candidates: Sequence[Candidate], *, common: bool) -> None:
    """Raise `DataError` unless all were measured on the same samples, splits and folds.

    With `common` some may have fewer samples, for instance for want of a modality.
    """
    first = candidates[0]
    for other in candidates[1:]:
        pair = f"{first.name} and {other.name}"
        if first.content != other.content or first.splits != other.splits:
            raise DataError(f"{pair} were measured on different data sets: evaluate both on one")
        if first.split != other.split:
            raise DataError(
                f"{pair} were measured on different splits, {first.split} and {other.split}: expected one"
            )
        ours, theirs = (set(one.predictions.ids.astype(str)) for one in (first, other))
        if ours != theirs and not common:
            raise DataError(
                f"{pair} have different samples: {len(ours - theirs)} only in the first, "
                f"{len(theirs - ours)} only in the second, since they take different "
                "modalities; --common compares those of both"
            )
        if first.folds is not None and other.folds is not None:
            fold_of = dict(zip(other.predictions.ids.astype(str), other.folds, strict=True))
            pairs = {
                (int(fold), int(fold_of[name]))
                for name, fold in zip(first.predictions.ids.astype(str), first.folds, strict=True)
                if name in fold_of
            }
            if len(pairs) > len({a for a, _ in pairs}) or len(pairs) > len({b for _, b in pairs}):
                raise DataError(
                    f"{pair} have different folds: train both with the same --folds and --seed"
                )
