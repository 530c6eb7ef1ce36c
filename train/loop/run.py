"""The training loop: read it from top to bottom.

AdamW with a schedule, clipped gradients, and a running average of the weights, which is what gets
validated and exported. After each epoch a checkpoint is left from which a run resumes to the same loss
curve: weights, average, optimiser, loss scale, schedule, random state and epoch are all in it. A loss
that is no number ends the run before it reaches the weights.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, replace
from typing import cast

import torch
from lightning_fabric import Fabric
from torch import Tensor

from affectstream.train.config import FitConfig, write_toml
from affectstream.train.errors import RunError
from affectstream.train.loop.checkpoint import (
    BEST,
    CONFIG,
    LAST,
    LOG,
    OF_BEST,
    SUMMARY,
    append_row,
    check_same,
    cut_log,
    data_hashes,
    first_line,
    load,
    save,
    versions,
)
from affectstream.train.loop.course import Course
from affectstream.train.loop.job import Job, spelled
from affectstream.train.loop.machine import Parcel, Part, device_name, of_compiler, several
from affectstream.train.loop.memory import TooLarge, out_of_memory
from affectstream.train.loop.phases import Stretch, stretches
from affectstream.train.loop.progress import bar
from affectstream.train.loop.schedule import learning_rate
from affectstream.train.loop.track import Track, open_track
from affectstream.train.recipe import Batch, DataBound, average_into, parameters

OVERFIT = 1.2
"""A validation loss of more than this many training losses is told of."""

_ONE_SAMPLE = "Expected more than 1 value per channel"
"""How torch's batch norms put it."""


def _silent(line: str) -> None:
    """What all processes but the first say."""


class Run:
    """One run in one process."""

    def __init__(self, fabric: Fabric, job: Job) -> None:
        """Read the data, make the network, and stand where the run's last epoch ended."""
        self.job, self.config, self.folder = job, job.config, job.run
        self.fabric, self.first = fabric, fabric.is_global_zero
        self.report = job.report if self.first else _silent
        recipe, setting = job.recipe, None
        going_on = job.resume and (self.folder / LAST).exists()
        saved = load(self.folder / LAST) if going_on else None
        if isinstance(recipe, DataBound):
            recipe = recipe.for_data(job.data, self._as_begun() if going_on else self.config)
            setting = recipe.setting()
            if going_on:  # no weights to start from need be at hand: the checkpoint brings them
                recipe = recipe.restored(setting)
        self.fixed = {
            "recipe": recipe.name,
            "setting": setting,
            "config": asdict(self.config),
            "data": data_hashes(job.data),
            "versions": versions(),
        }
        if saved is not None:
            check_same(self.folder, saved, self.fixed, self.config)
        torch.manual_seed(self.config.seed)
        loaders = recipe.loaders(job.data, self.config)
        self.recipe, self.valid = recipe, loaders.valid
        self.course = Course(fabric, recipe, self.config)
        self.batches = Part(loaders.train, fabric)
        self.plan = stretches(self.course.phases, self.config.epochs, self.config.phase_epochs)
        self.steps = math.ceil(len(self.batches) / self.config.accumulate)
        """Of the optimiser, in an epoch."""
        if saved is not None and not self.course.restore(saved):
            self.report(
                "more devices than before: the curve will not be quite what it would have been"
            )
        if self.first:
            self.folder.mkdir(parents=True, exist_ok=True)
            cut_log(self.folder / LOG, self.course.standing.next_epoch)
            write_toml(self.folder / CONFIG, recipe.name, job.data, self.config)
        if self.config.init is not None and saved is None:
            self.course.standing.before = self._judge()
            self.report("before: " + spelled(self.course.standing.before))

    def _as_begun(self) -> FitConfig:
        """The settings of a run that is gone on with, which then takes the place of what it started from."""
        if self.config.init is None:
            return self.config
        return replace(self.config, init=str(self.folder))

    def go(self) -> dict[str, float]:
        """Epoch after epoch; returns the figures of the best."""
        standing, patience = self.course.standing, self.config.patience
        entered: Stretch | None = None
        with self._tracked() as track:
            for epoch in range(standing.next_epoch, self.config.epochs):
                stretch = next(part for part in self.plan if epoch < part.end)
                if stretch is not entered:
                    self._enter(stretch, anew=epoch == stretch.first)
                    entered = stretch
                if self.course.patience.spent and stretch is self.plan[-1]:
                    self.report(f"stopped early: nothing better for {patience} epochs")
                    break
                started = time.perf_counter()
                loss = self._learn(stretch, epoch)
                figures = self._judge()
                seconds = time.perf_counter() - started
                better = self.course.push(epoch, next(iter(figures.values())), seconds)
                row = {"epoch": epoch, "loss": loss, "rate": self.course.rate, **figures}
                self._keep(row, figures, better=better)
                if self.first:
                    self._tell(row, figures, seconds, track)
        return self._finish()

    def _enter(self, stretch: Stretch, *, anew: bool) -> None:
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

    def _learn(self, stretch: Stretch, epoch: int) -> float:
        """One epoch of training; returns the mean loss. Raises `TooLarge` where memory does not suffice."""
        course, count = self.course, len(self.batches)
        course.learners.train_mode(stretch.phase)
        course.optimiser.zero_grad(set_to_none=True)
        total = 0.0
        try:
            with bar(epoch, count, shown=self.first) as advance:
                for index, batch in enumerate(self.batches.epoch(epoch)):
                    loss = self._backward(batch, epoch, index)
                    if (index + 1) % self.config.accumulate == 0 or index + 1 == count:
                        self._step(stretch, epoch, index // self.config.accumulate)
                    total += loss
                    advance(loss)
        except ValueError as error:
            if _ONE_SAMPLE in str(error):
                raise RunError(
                    "a batch of one sample has no statistics for this network's normalisation: give "
                    "--batch-size 2 or more"
                ) from error
            raise
        except (RuntimeError, MemoryError) as error:
            if out_of_memory(error) and not several(self.config):
                raise TooLarge(epoch) from None
            if self.config.compile and of_compiler(error):
                raise RunError(f"--compile: {first_line(error)}") from error
            raise
        return total / max(1, count)

    def _backward(self, batch: Batch, epoch: int, index: int) -> float:
        """Add the gradients of one batch; returns its loss, the mean over the processes."""
        course, accumulate, count = self.course, self.config.accumulate, len(self.batches)
        together = min(accumulate, count - index // accumulate * accumulate)
        waits = (index + 1) % accumulate != 0 and index + 1 != count
        with self.fabric.no_backward_sync(course.lesson, enabled=waits):
            loss = course.lesson(Parcel(self.fabric.to_device(batch)))
            mean = self.fabric.all_reduce(loss.detach().float(), reduce_op="mean")
            value = float(cast(Tensor, mean))
            if not math.isfinite(value):
                raise self._lost(f"the loss is {value}", epoch, index)
            self.fabric.backward(loss / together)
        return value

    def _step(self, stretch: Stretch, epoch: int, step: int) -> None:
        """One step of the optimiser, and of the average of the weights."""
        course, config = self.course, self.config
        rate = learning_rate(
            config.schedule,
            (epoch - stretch.first) * self.steps + step,
            steps=(stretch.end - stretch.first) * self.steps,
            steps_per_epoch=self.steps,
            warmup_epochs=config.warmup_epochs,
            peak=config.learning_rate,
        )
        course.set_rate(
            rate * (course.plateau.scale if config.schedule == "plateau" else 1.0), stretch
        )
        norm = self.fabric.clip_gradients(
            course.lesson,
            course.optimiser,
            max_norm=config.clip_norm or math.inf,
            error_if_nonfinite=False,
        )
        assert norm is not None  # it is, of a longest one
        # With a loss scale such a step is left out, and the scale lowered.
        if config.precision != "16-mixed" and not bool(torch.isfinite(norm)):
            raise self._lost(f"the gradient is {float(norm)}", epoch, step * config.accumulate)
        course.optimiser.step()
        course.optimiser.zero_grad(set_to_none=True)
        # A young average would be mostly the random start: let it follow quickly at first.
        seen = epoch * self.steps + step
        average_into(
            course.average, course.network, min(config.ema_decay, (1 + seen) / (10 + seen))
        )

    def _lost(self, what: str, epoch: int, index: int) -> RunError:
        kept = f"{self.folder / LAST} holds epoch {epoch - 1}" if epoch else "nothing was kept"
        return RunError(
            f"{what} in epoch {epoch}, batch {index} of {len(self.batches)}; {kept}: lower the learning "
            "rate, or look at that batch"
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
        track: Track | None,
    ) -> None:
        epoch, loss = int(row["epoch"]), row["loss"]
        self.report(f"epoch {epoch:3d}  loss {loss:.4f}  {spelled(figures)}  ({seconds:.0f} s)")
        if (valid := figures.get("valid_loss", 0.0)) > OVERFIT * loss:
            self.report(
                f"overfitting: the validation loss is {valid / loss - 1:.0%} above training"
            )
        if track is not None:
            track.figures(epoch, row)
        if self.job.on_epoch is not None:
            self.job.on_epoch(epoch, figures)

    @contextmanager
    def _tracked(self) -> Iterator[Track | None]:
        if not self.first:
            yield None
            return
        track = open_track(
            self.job.track, self.folder, self.recipe.name, asdict(self.config), self.report
        )
        try:
            yield track
        finally:
            if track is not None:
                track.close()

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
        (self.folder / SUMMARY).write_text(json.dumps(said, indent=2) + "\n")
        return found
