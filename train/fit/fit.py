"""A whole run: begun or resumed, with smaller batches where memory does not suffice, and judged again."""

from __future__ import annotations

import gc
import json
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric

from affectstream.train.config import FitConfig
from affectstream.train.errors import DataMissing, RunError
from affectstream.train.fit.checkpoint import LAST, SUMMARY, load_run
from affectstream.train.fit.job import Job, OnEpoch, Report, tell
from affectstream.train.fit.loggers import check_board
from affectstream.train.fit.loop import Run
from affectstream.train.fit.memory import TooLarge, halved
from affectstream.train.fit.processes import launch, make_fabric
from affectstream.train.recipe import DataBound, Recipe


def fit(
    recipe: Recipe,
    config: FitConfig,
    data: Path,
    run: Path,
    *,
    resume: bool = False,
    report: Report = tell,
    on_epoch: OnEpoch | None = None,
    track: str = "none",
) -> dict[str, float]:
    """Train `recipe` on `data`, leaving `last.pt`, `best.pt`, `log.csv` and more in `run`.

    `on_epoch` gets the number and the figures of each epoch once they are kept; what it raises ends the
    run. `track` is one of `board.BOARDS`. Returns the validation figures of the best epoch. Raises
    `DataMissing` where the data is absent, `OptionError` for settings that do not fit the recipe or the
    machine, and `RunError` where `run` already holds a run and `resume` was not asked for, holds one that
    this cannot go on with, or where the loss is no number any more.
    """
    check_board(track)
    if (run / LAST).exists() and not resume:
        _check(recipe, config, data)
        raise RunError(
            f"{run} already holds a run: go on with it by --resume, or choose another folder with --runs"
        )
    if resume and not (run / LAST).exists():
        report(f"{run} holds no epoch yet: this run begins")
    job = Job(recipe, config, data, run, resume, report, on_epoch, track)
    try:
        while isinstance(done := _attempt(job), Job):
            gc.collect()  # what did not fit, with the network it was for
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
            job = done
        return done
    except KeyboardInterrupt:
        if (run / LAST).exists():
            report(f"interrupted; {run / LAST} holds the last whole epoch: go on with --resume")
        else:
            report(f"interrupted before the first epoch was whole: {run} holds none")
        raise


def _check(recipe: Recipe, config: FitConfig, data: Path) -> None:
    """Raise what is wrong with the data or the settings, as far as that is known before training."""
    if isinstance(recipe, DataBound):
        recipe.for_data(data, config)
    elif not data.is_dir():
        raise DataMissing(f"{data} is no folder: expected the data sets of {recipe.name} in it")


def _attempt(job: Job) -> dict[str, float] | Job:
    """Run to the end, or return the same with smaller batches where memory did not suffice."""
    try:
        # The parts of pocket are small, and judged by code that knows no GPU.
        fabric = make_fabric(job.config, "auto" if isinstance(job.recipe, DataBound) else "cpu")
        found: dict[str, float] = launch(fabric, partial(_run, job=job))
        return found
    except TooLarge as error:
        epoch = error.epoch
    smaller = halved(job.config)
    job.report(
        f"out of memory in epoch {epoch}: it begins again with batches of {smaller.batch_size}, "
        f"{smaller.accumulate} to a step"
    )
    return replace(job, config=smaller, resume=(job.run / LAST).exists())


def _run(fabric: Fabric, job: Job) -> dict[str, float]:
    """One run, in each of its processes."""
    return Run(fabric, job).go()


def evaluate(recipe: Recipe, config: FitConfig, data: Path, run: Path) -> dict[str, float]:
    """Figures of the best epoch of `run` on the validation split of `data`; nothing is trained.

    Raises `RunError` for a run that is missing or another recipe's; `DataMissing` or `DataError`.
    """
    trained = load_run(recipe, run)
    module = trained.module
    if torch.cuda.is_available() and isinstance(recipe, DataBound):
        module = module.to("cuda")
    with torch.no_grad():
        return trained.recipe.score(module, trained.recipe.loaders(data, config).valid)


def summary(run: Path) -> dict[str, Any]:
    """What a finished run came to: figures, parameters, minutes, memory, versions."""
    found: dict[str, Any] = json.loads((run / SUMMARY).read_text())
    return found
