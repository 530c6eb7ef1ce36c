"""Cross-validation: one training for each fold, evaluated on the samples that it held out.

Each fold is an ordinary run, in RUN/folds/NAME, on the same samples with other splits. Its predictions for
the held-out samples are kept, so that metrics over all samples can be computed.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from affectstream.stream.errors import OptionError
from affectstream.stream.sinks.base import writing
from affectstream.train.config import SETTINGS, FitConfig, to_plain, write_toml
from affectstream.train.data.dataset import Dataset
from affectstream.train.data.resplit import resplit
from affectstream.train.errors import RunError
from affectstream.train.files import encode_csv, encode_json, write_atomically
from affectstream.train.fit.checkpoint import BEST, LAST, dataset_of, load_run, read_summary
from affectstream.train.fit.loggers import Report, Tracker, format_metrics, print_line
from affectstream.train.fit.loop import fit
from affectstream.train.fit.warm_start import read_run_or_bundle
from affectstream.train.predict.predictions import Predictions, Predictor
from affectstream.train.recipe import Bindable, Recipe
from affectstream.train.statistics import LEVEL, Interval
from affectstream.train.studies.folds import BOTH_CLASSES, Fold, Folding, Folds, make_folds

FOLDER, PLAN, RESULT, TABLE = "folds", "plan.json", "folds.json", "folds.csv"
_DATA, _DONE, _PREDICTIONS = "data", "fold.json", "held_out.npz"


@dataclass(frozen=True, slots=True)
class CrossValidation:
    """The metrics of a cross-validation."""

    folds: tuple[dict[str, Any], ...]
    """Each with ``fold``, ``samples``, ``figures``, ``epoch``, ``minutes``."""
    mean: dict[str, float]
    deviation: dict[str, float]
    """Standard deviation over the folds (n - 1)."""
    pooled: dict[str, Interval]
    """Over all held-out samples together."""
    by: str
    """What the intervals draw: ``participant`` or ``sample``."""
    samples: int


def cross_validate(
    recipe: Recipe,
    config: FitConfig,
    data: Path,
    run: Path,
    folding: Folding,
    *,
    best: bool = False,
    keep: bool = False,
    track: Tracker = "none",
    report: Report = print_line,
) -> CrossValidation:
    """Train and evaluate every fold in ``run/folds``, continuing an earlier call.

    Metrics are those of the last epoch, so that held-out samples choose nothing; with `best` they choose each
    fold's epoch, which makes the metrics too good. `keep` keeps the weights of finished folds. Raises
    `OptionError` where the settings would train on held-out samples or a fold lacks the metric of
    `--monitor`, `SplitError` or `DataError`, before any training, where a fold is impossible, `RunError`
    where ``run/folds`` holds another cross-validation, and what `fit` raises.
    """
    if not isinstance(recipe, Bindable):
        raise OptionError(
            f"{recipe.name} has its own data and splits: folds need a prepared data set"
        )
    dataset = Dataset(data, large=())
    config = _without_selection(config, dataset, best=best, report=report)
    modalities = getattr(recipe, "modalities", ())
    folds = make_folds(
        dataset, folding, tasks=config.tasks, modalities=modalities, seed=config.seed
    )
    _check_monitor(config, folds)
    report(f"{folds.samples} samples in {len(folds.folds)} folds by {folds.by}")
    if folds.by == "sample" and any(dataset.column("participant")):
        report(
            "participants are in several folds: the metrics do not apply to people outside the data set"
        )
    if folds.excluded:
        report(f"{folds.excluded} samples of split test are excluded; --test includes them")
    if copies := sum(fold.copies for fold in folds.folds):
        report(f"left out of training {copies} times: a copy of a held-out sample")
    folder = run / FOLDER
    measured = "the best epoch" if best else "the last epoch"
    own = {"folding": asdict(folding), "figures of": measured}
    check_plan(folder, plan_of(recipe, dataset, config) | own)
    write_toml(folder / "config.toml", recipe.name, data, config)
    named, several = not folding.folds.isdigit(), len(folds.folds)
    trainings = []
    for number, fold in enumerate(folds.folds, 1):
        title = f"fold {number} of {several}" + (f", participant {fold.name}" if named else "")
        trainings.append((title, fold, folder / str(number)))
    # All folds before the first is trained: one that is impossible would end the command after hours.
    for title, fold, place in trainings:
        if not (place / _DONE).is_file():
            name, may_share = f"{dataset.info.name}, {title}", folds.by == "sample"
            resplit(dataset, fold.parts.tolist(), place / _DATA, name=name, may_share=may_share)
            recipe.bind(place / _DATA, config)
        if fold.unlearned:
            report(f"{title}: only held-out samples have {', '.join(fold.unlearned)}")
    results = []
    for title, fold, place in trainings:
        report(f"{title}:")
        if not (place / _DONE).is_file():
            resume = (place / LAST).exists()
            fit(recipe, config, place / _DATA, place, resume=resume, report=report, track=track)
            _evaluate_fold(recipe, config, fold, place, best=best)
            if not keep:
                (place / LAST).unlink()
                (place / BEST).unlink()
        results.append(_read_json(place / _DONE))
        report("held out: " + format_metrics(results[-1]["figures"]))
    predictions = [Predictions.load(place / _PREDICTIONS) for _, _, place in trainings]
    validation = _summarize(results, Predictions.concatenate(predictions))
    _write(folder, recipe, data, validation, best=best)
    return validation


def held_out(folder: Path) -> tuple[dict[str, Any], list[Predictions]]:
    """The plan and each fold's predictions of a cross-validation; `RunError` if it is not finished."""
    count = len(_read_json(folder / RESULT)["folds"])
    paths = [folder / str(number) / _PREDICTIONS for number in range(1, count + 1)]
    if missing := [str(path) for path in paths if not path.is_file()]:
        raise RunError(f"{missing[0]} not found: finish 'train folds' first")
    return _read_json(folder / PLAN), [Predictions.load(path) for path in paths]


def _without_selection(
    config: FitConfig, dataset: Dataset, *, best: bool, report: Report
) -> FitConfig:
    """`config` without early stopping. Raises `OptionError` where held-out samples would be learned."""
    if config.init is not None:
        source = dataset_of(read_run_or_bundle(Path(config.init)))  # `fit` refuses other folders
        if source.get("content_sha256") == dataset.info.content_sha256:
            raise OptionError(
                f"--init {config.init} was trained on samples of this data set, which would be held out: "
                "start from public weights or other data"
            )
    if best:
        return config
    if config.schedule == "plateau":
        raise OptionError(
            "--schedule plateau follows the metrics of held-out samples: choose another schedule, or --best"
        )
    if config.patience:
        report(
            f"no early stopping (patience {config.patience}), which would follow the metrics of held-out "
            f"samples: every fold trains {config.epochs} epochs"
        )
    return replace(config, patience=0, monitor=None)  # nothing is chosen, so nothing may be missing


def _check_monitor(config: FitConfig, folds: Folds) -> None:
    """Raise `OptionError` where a fold cannot compute the metric that picks its best epoch."""
    task, _, metric = (config.monitor or "").rpartition("/")
    for fold in folds.folds:
        if metric in BOTH_CLASSES and (task or config.tasks[0]) in fold.one_class:
            raise OptionError(
                f"--monitor {config.monitor}: the samples that fold {fold.name} holds out are all of one "
                "class, so it has no such metric: choose another one, or fewer folds"
            )


def plan_of(recipe: Recipe, dataset: Dataset, config: FitConfig) -> dict[str, Any]:
    """What all trainings of a study have in common."""
    settings = to_plain(config).items()
    return {
        "recipe": recipe.name,
        "content_sha256": dataset.info.content_sha256,
        "split_sha256": dataset.info.split_sha256,
        **{name: value for name, value in settings if SETTINGS[name].effect != "speed"},
    }


def check_plan(folder: Path, plan: dict[str, Any]) -> None:
    """Write the plan of the folds in `folder`. Raises `RunError` where it holds folds of another plan."""
    path = folder / PLAN
    plan = json.loads(encode_json(plan))  # tuples become lists, as in the file
    # The plan of a call that failed before any training may be replaced.
    if path.is_file() and any((*folder.glob(f"*/{LAST}"), *folder.glob(f"*/{_DONE}"))):
        before = _read_json(path)
        if different := [k for k in {**before, **plan} if before.get(k) != plan.get(k)]:
            raise RunError(
                f"{folder} holds folds with other settings ({', '.join(different)}): give the same to "
                "continue, or choose other --runs"
            )
        return
    with writing(path):
        folder.mkdir(parents=True, exist_ok=True)
    write_atomically(path, encode_json(plan))


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RunError(f"{path} cannot be read: {error}; choose other --runs") from error
    return content


def _evaluate_fold(
    recipe: Recipe, config: FitConfig, fold: Fold, place: Path, *, best: bool
) -> None:
    trained = load_run(recipe, place, BEST if best else LAST)
    if not isinstance(trained.recipe, Predictor):
        raise OptionError(f"{recipe.name} cannot predict sample by sample: it has no folds")
    module = trained.module.to("cuda") if torch.cuda.is_available() else trained.module
    predictions = trained.recipe.predict(module, place / _DATA, "valid", config)
    predictions.save(place / _PREDICTIONS)
    result = {
        "fold": fold.name,
        "samples": len(predictions.ids),
        "participants": len(set(predictions.participants) - {None}),
        "epoch": trained.epoch,
        "minutes": read_summary(place)["minutes"],
        "figures": predictions.metrics(),
    }
    write_atomically(place / _DONE, encode_json(result))


def _summarize(results: Sequence[Mapping[str, Any]], predictions: Predictions) -> CrossValidation:
    columns: dict[str, list[float]] = {}
    for result in results:
        for name, value in result["figures"].items():
            columns.setdefault(name, []).append(value)
    return CrossValidation(
        folds=tuple(dict(result) for result in results),
        mean={name: float(np.mean(values)) for name, values in columns.items()},
        deviation={
            name: float(np.std(values, ddof=1)) if len(values) > 1 else math.nan
            for name, values in columns.items()
        },
        pooled=predictions.intervals(),
        by=predictions.groups().by,
        samples=len(predictions.ids),
    )


def _write(
    folder: Path, recipe: Recipe, data: Path, validation: CrossValidation, *, best: bool
) -> None:
    content = {
        "recipe": recipe.name,
        "data": str(data),
        "figures of": "the best epoch, chosen by held-out samples" if best else "the last epoch",
        "samples": validation.samples,
        "folds": validation.folds,
        "mean": validation.mean,
        "deviation": validation.deviation,
        "pooled": validation.pooled,
        "interval": f"{LEVEL:.0%} bootstrap by {validation.by}",
    }
    write_atomically(folder / RESULT, encode_json(content))
    write_atomically(folder / TABLE, encode_csv(rows(validation)))


def rows(validation: CrossValidation) -> list[list[str]]:
    """A table: a row for each fold, then mean, deviation, and all samples with their interval."""
    names = list(validation.mean)

    def row(first: str, count: object, values: Mapping[str, Any]) -> list[str]:
        return [
            first,
            str(count),
            *(f"{values[name]:.4f}" if name in values else "" for name in names),
        ]

    pooled = validation.pooled.items()
    return [
        ["fold", "samples", *names],
        *(row(fold["fold"], fold["samples"], fold["figures"]) for fold in validation.folds),
        row("mean", "", validation.mean),
        row("deviation", "", validation.deviation),
        row("pooled", validation.samples, {name: one.value for name, one in pooled}),
        row("pooled, low", "", {name: one.low for name, one in pooled}),
        row("pooled, high", "", {name: one.high for name, one in pooled}),
    ]
