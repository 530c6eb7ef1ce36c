"""The training loop: read it from top to bottom.

AdamW with a schedule, clipped gradients, and a running average of the weights, which is what gets
validated and exported; `epoch` has what happens in one epoch. After each, a checkpoint is left from which a
run resumes to the same loss curve: weights, average, optimiser, loss scale, schedule, random state and
epoch are all in it.
"""

from __future__ import annotations

import gc
import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric

from affectstream.stream.sinks.base import writing
from affectstream.train.config import FitConfig, write_toml
from affectstream.train.errors import DataMissing, RunError
from affectstream.train.fit.checkpoint import (
    BEST,
    BEST_KEYS,
    CONFIG,
    LAST,
    LOG,
    SUMMARY,
    append_log,
    data_hashes,
    load,
    load_run,
    save,
    truncate_log,
    version_errors,
    versions,
)
from affectstream.train.fit.epoch import Epochs
from affectstream.train.fit.job import EpochCallback, Job, Report, format_metrics, print_line
from affectstream.train.fit.loggers import RunLogger, check_tracker, open_logger
from affectstream.train.fit.memory import TooLarge, halved
from affectstream.train.fit.phases import PhaseSpan, phase_spans
from affectstream.train.fit.processes import Part, device_name, launch, make_fabric
from affectstream.train.fit.resume_check import check_same
from affectstream.train.fit.train_state import TrainState
from affectstream.train.recipe import Bindable, Recipe, count_parameters

OVERFIT = 1.2
"""A validation loss of more than this many training losses is told of."""


def _silent(line: str) -> None:
    """What all processes but the first say."""


class Run:
    """One run in one process."""

    def __init__(self, fabric: Fabric, job: Job) -> None:
        """Read the data, make the network, and stand where the run's last epoch ended."""
        self.job, self.config, self.folder = job, job.config, job.run
        self.fabric, self.first = fabric, fabric.is_global_zero
        self.report = job.report if self.first else _silent
        going_on = job.resume and (self.folder / LAST).exists()
        saved = load(self.folder / LAST) if going_on else None
        self.recipe = self._bound(going_on=going_on)
        self.fixed = {
            "recipe": self.recipe.name,
            "setting": self.recipe.spec_dict() if isinstance(self.recipe, Bindable) else None,
            "config": asdict(self.config),
            "data": data_hashes(job.data),
            "versions": versions(),
        }
        if saved is not None:
            check_same(self.folder, self._of_now(saved), self.fixed, self.config)
        torch.manual_seed(self.config.seed)
        loaders = self.recipe.loaders(job.data, self.config)
        self.valid = loaders.valid
        self.course = TrainState(fabric, self.recipe, self.config)
        self.epochs = Epochs(
            fabric, self.course, Part(loaders.train, fabric), self.config, self.folder / LAST
        )
        self.plan = phase_spans(self.course.phases, self.config.epochs, self.config.phase_epochs)
        if saved is not None:
            with version_errors(self.folder / LAST, saved):
                same = self.course.restore(saved)
            if not same:
                self.report(
                    "more devices than before: the curve will not be quite what it would have been"
                )
        if self.first:
            self._open_folder()
        if self.config.init is not None and saved is None:
            self.course.standing.before = self._judge()
            self.report("before: " + format_metrics(self.course.standing.before))

    def _bound(self, *, going_on: bool) -> Recipe:
        """The recipe, for the data set where it depends on one.

        A run that is gone on with takes the place of what it started from: no weights need be at hand then.
        """
        recipe, config = self.job.recipe, self.config
        if not isinstance(recipe, Bindable):
            return recipe
        if not going_on:
            return recipe.bind(self.job.data, config)
        begun = config if config.init is None else replace(config, init=str(self.folder))
        recipe = recipe.bind(self.job.data, begun)
        return recipe.restore(recipe.spec_dict())

    def _of_now(self, saved: dict[str, Any]) -> dict[str, Any]:
        """A checkpoint whose setting has all that this version knows: an older one lacks what came later."""
        if not isinstance(self.recipe, Bindable) or saved["recipe"] != self.recipe.name:
            return saved
        with version_errors(self.folder / LAST, saved):
            return {**saved, "setting": self.recipe.restore(saved["setting"]).spec_dict()}

    def _open_folder(self) -> None:
        with writing(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            truncate_log(self.folder / LOG, self.course.standing.next_epoch)
            write_toml(self.folder / CONFIG, self.recipe.name, self.job.data, self.config)

    def go(self) -> dict[str, float]:
        """Epoch after epoch; returns the figures of the best."""
        standing, patience = self.course.standing, self.config.patience
        entered: PhaseSpan | None = None
        with self._board() as board:
            for epoch in range(standing.next_epoch, self.config.epochs):
                stretch = next(part for part in self.plan if epoch < part.end)
                if stretch is not entered:
                    self._enter(stretch, anew=epoch == stretch.first)
                    entered = stretch
                if self.course.patience.spent and stretch is self.plan[-1]:
                    self.report(f"stopped early: nothing better for {patience} epochs")
                    break
                started = time.perf_counter()
                loss = self.epochs.learn(stretch, epoch)
                figures = self._judge()
                seconds = time.perf_counter() - started
                better = self.course.push(epoch, next(iter(figures.values())), seconds)
                row = {"epoch": epoch, "loss": loss, "rate": self.course.rate, **figures}
                self._keep(row, figures, better=better)
                if self.first:
                    self._tell(row, figures, seconds, board)
        return self._finish()

    def _enter(self, stretch: PhaseSpan, *, anew: bool) -> None:
        learning = self.course.enter(stretch, anew=anew)
        total = count_parameters(self.course.network, all_=True)
        if phases := self.course.phases:
            self.report(
                f"phase {stretch.number + 1} of {len(phases)}, epochs {stretch.first} to "
                f"{stretch.end - 1}: {learning:,} of {total:,} learn"
            )
            if stretch is self.plan[-1] and stretch.number + 1 < len(phases):
                self.report(
                    f"this run ends before phase {stretch.number + 2}: more --epochs reach it"
                )

    def _judge(self) -> dict[str, float]:
        """Validation figures of the average, the same in every process."""
        self.course.average.eval()
        with torch.no_grad():
            found = self.recipe.validate(self.course.average, self.valid)
        return self.fabric.broadcast(found)

    def _keep(self, row: Mapping[str, float], figures: dict[str, float], *, better: bool) -> None:
        """Write the checkpoints; every process has its random state in them."""
        state = {**self.fixed, **self.course.state(), "figures": figures}
        if self.first:
            with writing(self.folder / LOG):
                append_log(self.folder / LOG, row)
            # The best one first: cut short between the two, a run does this epoch once more.
            if better:
                save({name: state[name] for name in BEST_KEYS}, self.folder / BEST)
            save(state, self.folder / LAST)

    def _tell(
        self,
        row: Mapping[str, float],
        figures: Mapping[str, float],
        seconds: float,
        board: RunLogger | None,
    ) -> None:
        epoch, loss = int(row["epoch"]), row["loss"]
        self.report(
            f"epoch {epoch:3d}  loss {loss:.4f}  {format_metrics(figures)}  ({seconds:.0f} s)"
        )
        if (valid := figures.get("valid_loss", 0.0)) > OVERFIT * loss:
            self.report(
                f"overfitting: the validation loss is {valid / loss - 1:.0%} above training"
            )
        if board is not None:
            board.figures(epoch, row)
        if self.job.on_epoch is not None:
            self.job.on_epoch(epoch, figures)

    @contextmanager
    def _board(self) -> Iterator[RunLogger | None]:
        if not self.first:
            yield None
            return
        board = open_logger(
            self.job.track, self.folder, self.recipe.name, asdict(self.config), self.report
        )
        try:
            yield board
        finally:
            if board is not None:
                board.close()

    def _finish(self) -> dict[str, float]:
        """Write what the run came to; returns the figures of the best epoch."""
        standing = self.course.standing
        if not self.first:
            return {}
        if not (self.folder / BEST).exists():
            raise RunError(
                f"no epoch had a figure to be chosen by (the last: {standing.last}): "
                "look at the validation split"
            )
        best = load(self.folder / BEST)
        found: dict[str, float] = best["figures"]
        said = {
            "recipe": self.recipe.name,
            "parameters": count_parameters(self.course.average, all_=True),
            "trainable": self.course.learners.ever([part.phase for part in self.plan]),
            "epochs": standing.next_epoch,
            "best_epoch": best["epoch"],
            "figures": found,
            "before": standing.before,
            "minutes": round(standing.seconds / 60, 5),
            "peak_megabytes": {k: round(v) for k, v in standing.peak.items()},
            "device": device_name(self.fabric.device),
            "versions": self.fixed["versions"],
        }
        with writing(self.folder / SUMMARY):
            (self.folder / SUMMARY).write_text(json.dumps(said, indent=2) + "\n")
        return found


def fit(
    recipe: Recipe,
    config: FitConfig,
    data: Path,
    run: Path,
    *,
    resume: bool = False,
    report: Report = print_line,
    on_epoch: EpochCallback | None = None,
    track: str = "none",
) -> dict[str, float]:
    """Train `recipe` on `data`, leaving `last.pt`, `best.pt`, `log.csv` and more in `run`.

    `on_epoch` gets the number and the figures of each epoch once they are kept; what it raises ends the
    run. `track` is one of `board.BOARDS`. Returns the validation figures of the best epoch. Raises
    `DataMissing` where the data is absent, `OptionError` for settings that do not fit the recipe or the
    machine, and `RunError` where `run` already holds a run and `resume` was not asked for, holds one that
    this cannot go on with, or where the loss is no number any more.
    """
    check_tracker(track)
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
    if isinstance(recipe, Bindable):
        recipe.bind(data, config)
    elif not data.is_dir():
        raise DataMissing(f"{data} is no folder: expected the data sets of {recipe.name} in it")


def _attempt(job: Job) -> dict[str, float] | Job:
    """Run to the end, or return the same with smaller batches where memory did not suffice."""
    try:
        # The parts of pocket are small, and judged by code that knows no GPU.
        fabric = make_fabric(job.config, "auto" if isinstance(job.recipe, Bindable) else "cpu")
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
    if torch.cuda.is_available() and isinstance(recipe, Bindable):
        module = module.to("cuda")
    with torch.no_grad():
        return trained.recipe.validate(module, trained.recipe.loaders(data, config).valid)


def read_summary(run: Path) -> dict[str, Any]:
    """What a finished run came to: figures, parameters, minutes, memory, versions."""
    found: dict[str, Any] = json.loads((run / SUMMARY).read_text())
    return found
