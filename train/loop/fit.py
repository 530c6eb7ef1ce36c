"""The training loop: read it from top to bottom.

AdamW with a schedule, clipped gradients, and a running average of the weights, which is what gets
validated and exported. After each epoch a checkpoint is left from which a run resumes to the same loss
curve: weights, average, optimiser, loss scale, schedule, random state and epoch are all in it. A loss
that is no number ends the run before it reaches the weights, and a batch that does not fit into memory
is halved.
"""

from __future__ import annotations

import gc
import json
import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, cast

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
    load_run,
    save,
    versions,
)
from affectstream.train.loop.course import Course
from affectstream.train.loop.machine import (
    Parcel,
    Part,
    device_name,
    launch,
    make_fabric,
    of_compiler,
    several,
)
from affectstream.train.loop.memory import TooLarge, halved, out_of_memory
from affectstream.train.loop.phases import Stretch, stretches
from affectstream.train.loop.progress import bar
from affectstream.train.loop.schedule import learning_rate
from affectstream.train.loop.track import Track, check_track, open_track
from affectstream.train.recipe import Batch, DataBound, Recipe, average_into, parameters

OVERFIT = 1.2
"""A validation loss of more than this many training losses is told of."""

Report = Callable[[str], None]
OnEpoch = Callable[[int, Mapping[str, float]], None]


def tell(line: str) -> None:
    """Print at once, so that a run can be followed in a file too."""
    print(line, flush=True)


def _silent(line: str) -> None:
    """What all processes but the first say."""


@dataclass(frozen=True, slots=True)
class Job:
    """What `fit` was asked for."""

    recipe: Recipe
    config: FitConfig
    data: Path
    run: Path
    resume: bool
    report: Report
    on_epoch: OnEpoch | None
    track: str


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
    run. `track` is one of `track.TRACKS`. Returns the validation figures of the best epoch. Raises
    `DataMissing` where the data is absent, `OptionError` for settings that do not fit the recipe or the
    machine, and `RunError` where `run` already holds a run and `resume` was not asked for, holds one that
    this cannot go on with, or where the loss is no number any more.
    """
    check_track(track)
    if (run / LAST).exists() and not resume:
        raise RunError(f"{run} already holds a run: resume it, or choose another folder")
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


class Run:
    """One run in one process."""

    def __init__(self, fabric: Fabric, job: Job) -> None:
        """Read the data, make the network, and stand where the run's last epoch ended."""
        self.job, self.config, self.folder = job, job.config, job.run
        self.fabric, self.first = fabric, fabric.is_global_zero
        self.report = job.report if self.first else _silent
        recipe, setting = job.recipe, None
        if isinstance(recipe, DataBound):
            recipe = recipe.for_data(job.data, self.config)
            setting = recipe.setting()
        self.fixed = {
            "recipe": recipe.name,
            "setting": setting,
            "config": asdict(self.config),
            "data": data_hashes(job.data),
            "versions": versions(),
        }
        saved = load(self.folder / LAST) if job.resume and (self.folder / LAST).exists() else None
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


def judge(recipe: Recipe, config: FitConfig, data: Path, run: Path) -> dict[str, float]:
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


def spelled(figures: Mapping[str, float]) -> str:
    """Figures in a line."""
    return "  ".join(f"{name} {value:.4f}" for name, value in figures.items())
