"""Cross-validation: one training for each fold, judged on the samples that it was not shown.

Each fold is a run like any other, on the same samples under other splits, in RUN/folds/NAME. What its
network says of the held-out samples is kept, so that figures over all of them can be had: every sample is
judged once, by a network that never saw it. A fold that is done is not trained again.
"""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Callable, Mapping, Sequence
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
from affectstream.train.files import encode_json, write_atomically
from affectstream.train.fit.checkpoint import BEST, LAST, dataset_of, load_run, read_summary
from affectstream.train.fit.loggers import format_metrics, print_line
from affectstream.train.fit.loop import fit
from affectstream.train.fit.warm_start import read_run_or_bundle
from affectstream.train.predict.predictions import Predictions, Predictor
from affectstream.train.recipe import Bindable, Recipe
from affectstream.train.statistics import LEVEL, Interval
from affectstream.train.studies.folds import Fold, Folding, Folds, deal

FOLDER, PLAN, RESULT, TABLE = "folds", "plan.json", "folds.json", "folds.csv"
_DATA, _DONE, _TOLD = "data", "fold.json", "held_out.npz"


@dataclass(frozen=True, slots=True)
class CrossValidation:
    """What a cross-validation came to."""

    folds: tuple[dict[str, Any], ...]
    """Of each: ``fold``, ``samples``, ``figures``, ``epoch``, ``minutes``."""
    mean: dict[str, float]
    deviation: dict[str, float]
    """Standard deviation over the folds (n - 1)."""
    pooled: dict[str, Interval]
    """Of all held-out samples together."""
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
    track: str = "none",
    report: Callable[[str], None] = print_line,
) -> CrossValidation:
    """Train and judge every fold in ``run/folds``, going on where an earlier call stopped.

    Figures are those of the last epoch, so that nothing is chosen by held-out samples; `best` takes each
    fold's best epoch by them, which flatters. `keep` keeps the weights of folds that are done. Raises
    `OptionError` for settings under which held-out samples would be learned from, `SplitError` where the
    folds cannot be dealt, `RunError` where ``run/folds`` holds another cross-validation, and what `fit`
    raises.
    """
    if not isinstance(recipe, Bindable):
        raise OptionError(
            f"{recipe.name} has its own data and splits: folds need a prepared data set"
        )
    dataset = Dataset(data, large=())
    config = _checked(config, dataset, best=best, report=report)
    folds = deal(
        dataset,
        folding,
        tasks=config.tasks,
        modalities=getattr(recipe, "modalities", ()),
        seed=config.seed,
    )
    _introduce(folds, dataset, report)
    folder = run / FOLDER
    check_plan(folder, _plan(recipe, config, dataset, folding, best=best))
    write_toml(folder / "config.toml", recipe.name, data, config)
    done, said = [], []
    for number, fold in enumerate(folds.folds, 1):
        report(f"fold {number} of {len(folds.folds)}{_who(fold, folding)}:")
        place = folder / str(number)
        if not (place / _DONE).is_file():
            name = f"{dataset.info.name}, fold {number} of {len(folds.folds)}"
            resplit(
                dataset,
                fold.parts.tolist(),
                place / _DATA,
                name=name,
                may_share=folds.by == "sample",
            )
            _train(recipe, config, fold, place, best=best, keep=keep, track=track, report=report)
        found = _read(place / _DONE)
        report("held out: " + format_metrics(found["figures"]))
        done.append(found)
        said.append(Predictions.load(place / _TOLD))
    crossed = _summed_up(done, Predictions.concatenate(said))
    _write(folder, recipe, data, crossed, best=best)
    return crossed


def _checked(
    config: FitConfig, dataset: Dataset, *, best: bool, report: Callable[[str], None]
) -> FitConfig:
    """The settings of a fold. Raises `OptionError` where held-out samples would be learned from."""
    if config.init is not None:
        begun = dataset_of(
            read_run_or_bundle(Path(config.init))
        )  # of neither run nor bundle, `fit` says so
        if begun.get("content_sha256") == dataset.info.content_sha256:
            raise OptionError(
                f"--init {config.init} was trained on samples of this data set, which would be held out: "
                "start from public weights or other data"
            )
    if best:
        return config
    if config.schedule == "plateau":
        raise OptionError(
            "--schedule plateau goes by the figures of held-out samples: take another, or say --best"
        )
    if config.patience:
        report(
            f"no early stopping (patience {config.patience}): it would go by the figures of held-out "
            f"samples; every fold trains {config.epochs} epochs"
        )
    return replace(config, patience=0)


def _introduce(folds: Folds, dataset: Dataset, report: Callable[[str], None]) -> None:
    report(f"{folds.samples} samples in {len(folds.folds)} folds by {folds.by}")
    if folds.by == "sample" and any(dataset.column("participant")):
        report("participants are in several folds: figures say nothing of people never seen")
    if folds.aside:
        report(f"{folds.aside} samples of split test stay aside; --test deals them too")
    if copies := sum(fold.copies for fold in folds.folds):
        report(f"{copies} times a sample is left out of training: a copy of it is held out")


def _who(fold: Fold, folding: Folding) -> str:
    return "" if folding.folds.isdigit() else f", participant {fold.name}"


def _plan(
    recipe: Recipe, config: FitConfig, dataset: Dataset, folding: Folding, *, best: bool
) -> dict[str, Any]:
    """What has to be the same for folds to be of one cross-validation."""
    return {
        "recipe": recipe.name,
        "folding": asdict(folding),
        "figures of": "the best epoch" if best else "the last epoch",
        "content_sha256": dataset.info.content_sha256,
        "split_sha256": dataset.info.split_sha256,
        **{
            name: value
            for name, value in to_plain(config).items()
            if SETTINGS[name].effect != "speed"
        },
    }


def check_plan(folder: Path, plan: dict[str, Any]) -> None:
    """Write down what the folds in `folder` are of. Raises `RunError` where it holds some of another plan."""
    path = folder / PLAN
    plan = json.loads(encode_json(plan))  # tuples are lists there
    # A call that failed before it learned anything binds nobody.
    if path.is_file() and any((*folder.glob(f"*/{LAST}"), *folder.glob(f"*/{_DONE}"))):
        before = _read(path)
        if different := [k for k in {**before, **plan} if before.get(k) != plan.get(k)]:
            raise RunError(
                f"{folder} holds folds with other settings ({', '.join(different)}): give the same to go "
                "on, or choose other --runs"
            )
        return
    with writing(path):
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(path, encode_json(plan))


def _read(path: Path) -> dict[str, Any]:
    """What an earlier call wrote into `path`. Raises `RunError` where it cannot be read."""
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RunError(f"{path} cannot be read: {error}; choose other --runs") from error
    return found


def _train(
    recipe: Recipe,
    config: FitConfig,
    fold: Fold,
    place: Path,
    *,
    best: bool,
    keep: bool,
    track: str,
    report: Callable[[str], None],
) -> None:
    """Train one fold, from where it stopped, and write down what it says of the held-out samples."""
    data = place / _DATA
    fit(recipe, config, data, place, resume=(place / LAST).exists(), report=report, track=track)
    trained = load_run(recipe, place, BEST if best else LAST)
    module = trained.module.to("cuda") if torch.cuda.is_available() else trained.module
    if not isinstance(trained.recipe, Predictor):
        raise OptionError(
            f"{recipe.name} does not tell its answers sample by sample: no folds of it"
        )
    told = trained.recipe.predict(module, data, "valid", config)
    told.save(place / _TOLD)
    come_to = read_summary(place)
    said = {
        "fold": fold.name,
        "samples": len(told.ids),
        "participants": len({who for who in told.participants if who is not None}),
        "epoch": trained.epoch,
        "minutes": come_to["minutes"],
        "figures": told.metrics(),
    }
    write_atomically(place / _DONE, encode_json(said))
    if not keep:
        (place / LAST).unlink()
        (place / BEST).unlink()


def _summed_up(done: Sequence[Mapping[str, Any]], told: Predictions) -> CrossValidation:
    names = list(dict.fromkeys(name for fold in done for name in fold["figures"]))
    columns = {
        name: [fold["figures"][name] for fold in done if name in fold["figures"]] for name in names
    }
    return CrossValidation(
        folds=tuple(dict(fold) for fold in done),
        mean={name: float(np.mean(values)) for name, values in columns.items()},
        deviation={
            name: float(np.std(values, ddof=1)) if len(values) > 1 else math.nan
            for name, values in columns.items()
        },
        pooled=told.intervals(),
        by=told.groups().by,
        samples=len(told.ids),
    )


def _write(
    folder: Path, recipe: Recipe, data: Path, crossed: CrossValidation, *, best: bool
) -> None:
    """`folds.json` with everything, `folds.csv` with a line a fold and the sums under them."""
    said = {
        "recipe": recipe.name,
        "data": str(data),
        "figures of": "the best epoch, chosen by held-out samples" if best else "the last epoch",
        "samples": crossed.samples,
        "folds": crossed.folds,
        "mean": crossed.mean,
        "deviation": crossed.deviation,
        "pooled": {name: asdict(one) for name, one in crossed.pooled.items()},
        "interval": f"{LEVEL:.0%} bootstrap by {crossed.by}",
    }
    with writing(folder):
        write_atomically(folder / RESULT, encode_json(said))
        with (folder / TABLE).open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows(rows(crossed))


def rows(crossed: CrossValidation) -> list[list[str]]:
    """A table: a line for each fold, then mean, deviation, and all samples with their interval."""
    names = list(crossed.mean)

    def line(first: str, count: object, values: Mapping[str, Any]) -> list[str]:
        cells = [f"{values[name]:.4f}" if name in values else "" for name in names]
        return [first, str(count), *cells]

    found = [["fold", "samples", *names]]
    found += [line(fold["fold"], fold["samples"], fold["figures"]) for fold in crossed.folds]
    found.append(line("mean", "", crossed.mean))
    found.append(line("deviation", "", crossed.deviation))
    for part in ("value", "low", "high"):
        label = {"value": "pooled", "low": "pooled, low", "high": "pooled, high"}[part]
        values = {name: getattr(one, part) for name, one in crossed.pooled.items()}
        found.append(line(label, crossed.samples if part == "value" else "", values))
    return found
