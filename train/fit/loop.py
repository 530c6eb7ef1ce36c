"""The training loop: read it from top to bottom.

AdamW with a schedule, clipped gradients, and a running average of the weights, which is what gets
validated and exported; `epoch` has what happens in one epoch. After each, a checkpoint is left from which a
run resumes to the same loss curve: weights, average, optimiser, loss scale, schedule, random state and
epoch are all in it.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, replace
from typing import Any

import torch
from lightning_fabric import Fabric

from affectstream.stream.sinks.base import writing
from affectstream.train.config import write_toml
from affectstream.train.errors import RunError
from affectstream.train.fit.checkpoint import (
    BEST,
    CONFIG,
    LAST,
    LOG,
    OF_BEST,
    SUMMARY,
    append_row,
    cut_log,
    data_hashes,
    load,
    of_this_version,
    save,
    versions,
)
from affectstream.train.fit.epoch import Epochs
from affectstream.train.fit.job import Job, spelled
from affectstream.train.fit.loggers import RunLogger, open_board
from affectstream.train.fit.phases import PhaseSpan, phase_spans
from affectstream.train.fit.processes import Part, device_name
from affectstream.train.fit.resume_check import check_same
from affectstream.train.fit.train_state import TrainState
from affectstream.train.recipe import DataBound, Recipe, parameters

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
            "setting": self.recipe.setting() if isinstance(self.recipe, DataBound) else None,
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
            with of_this_version(self.folder / LAST, saved):
                same = self.course.restore(saved)
            if not same:
                self.report(
                    "more devices than before: the curve will not be quite what it would have been"
                )
        if self.first:
            self._open_folder()
        if self.config.init is not None and saved is None:
            self.course.standing.before = self._judge()
            self.report("before: " + spelled(self.course.standing.before))

    def _bound(self, *, going_on: bool) -> Recipe:
        """The recipe, for the data set where it depends on one.

        A run that is gone on with takes the place of what it started from: no weights need be at hand then.
        """
        recipe, config = self.job.recipe, self.config
        if not isinstance(recipe, DataBound):
            return recipe
        if not going_on:
            return recipe.for_data(self.job.data, config)
        begun = config if config.init is None else replace(config, init=str(self.folder))
        recipe = recipe.for_data(self.job.data, begun)
        return recipe.restored(recipe.setting())

    def _of_now(self, saved: dict[str, Any]) -> dict[str, Any]:
        """A checkpoint whose setting has all that this version knows: an older one lacks what came later."""
        if not isinstance(self.recipe, DataBound) or saved["recipe"] != self.recipe.name:
            return saved
        with of_this_version(self.folder / LAST, saved):
            return {**saved, "setting": self.recipe.restored(saved["setting"]).setting()}

    def _open_folder(self) -> None:
        with writing(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            cut_log(self.folder / LOG, self.course.standing.next_epoch)
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
        if phases := self.course.phases:
            self.report(
                f"phase {stretch.number + 1} of {len(phases)}, epochs {stretch.first} to "
                f"{stretch.end - 1}: {learning:,} of {parameters(self.course.network, all_=True):,} learn"
            )
            if stretch is self.plan[-1] and stretch.number + 1 < len(phases):
                self.report(
                    f"this run ends before phase {stretch.number + 2}: more --epochs reach it"
                )

    def _judge(self) -> dict[str, float]:
        """Validation figures of the average, the same in every process."""
        self.course.average.eval()
        with torch.no_grad():
            found = self.recipe.score(self.course.average, self.valid)
        return self.fabric.broadcast(found)

    def _keep(self, row: Mapping[str, float], figures: dict[str, float], *, better: bool) -> None:
        """Write the checkpoints; every process has its random state in them."""
        state = {**self.fixed, **self.course.state(), "figures": figures}
        if self.first:
            with writing(self.folder / LOG):
                append_row(self.folder / LOG, row)
            # The best one first: cut short between the two, a run does this epoch once more.
            if better:
                save({name: state[name] for name in OF_BEST}, self.folder / BEST)
            save(state, self.folder / LAST)

    def _tell(
        self,
        row: Mapping[str, float],
        figures: Mapping[str, float],
        seconds: float,
        board: RunLogger | None,
    ) -> None:
        epoch, loss = int(row["epoch"]), row["loss"]
        self.report(f"epoch {epoch:3d}  loss {loss:.4f}  {spelled(figures)}  ({seconds:.0f} s)")
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
        board = open_board(
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
            "parameters": parameters(self.course.average, all_=True),
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
