"""The training loop, from top to bottom.

AdamW with a learning rate schedule, clipped gradients, and a running average of the weights, which is
validated and exported. After each epoch a checkpoint is written from which a run resumes to the same curve.
`fit` starts or resumes a run; `Trainer` is the run in one process: setup, epochs, steps, checkpoints.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import cast

import torch
from lightning_fabric import Fabric
from torch import Tensor

from affectstream.stream.sinks.base import writing
from affectstream.train.config import FitConfig, write_toml
from affectstream.train.errors import RunError
from affectstream.train.fit import checkpoint as files
from affectstream.train.fit import loggers, machine
from affectstream.train.fit.checkpoint import BEST, LAST, LOG, SUMMARY
from affectstream.train.fit.phases import PhaseSpan, phase_spans
from affectstream.train.fit.resume import bind, check_new, check_optimizer, check_resume
from affectstream.train.fit.step_log import MAX_SKIPPED, READ_EVERY, StepLog
from affectstream.train.fit.train_state import TrainState, UncastBatch
from affectstream.train.loader.batches import ValidBatches
from affectstream.train.metrics import score
from affectstream.train.progress import progress_bar
from affectstream.train.recipe import Bindable, Recipe, count_parameters, update_ema

EpochCallback = Callable[[int, Mapping[str, float]], None]


@dataclass(frozen=True, slots=True)
class Job:
    """The arguments of `fit`, which each process gets."""

    recipe: Recipe
    config: FitConfig
    data: Path
    run: Path
    resume: bool
    report: loggers.Report
    on_epoch: EpochCallback | None
    track: loggers.Tracker


def fit(
    recipe: Recipe,
    config: FitConfig,
    data: Path,
    run: Path,
    *,
    resume: bool = False,
    report: loggers.Report = loggers.print_line,
    on_epoch: EpochCallback | None = None,
    track: loggers.Tracker = "none",
) -> dict[str, float]:
    """Train `recipe` on `data`; `run` then holds `last.pt`, `best.pt`, `log.csv` and more.

    `on_epoch` gets the number and the metrics of each epoch after its checkpoint is written; an exception
    from it ends the run. Returns the validation metrics of the best epoch. Raises `DataMissing` for missing
    data, `OptionError` for settings that do not fit the recipe or the machine, and `RunError` where `run`
    holds a run that may not be overwritten or resumed, or where the loss is not finite.
    """
    loggers.check_tracker(track)
    if not resume:
        check_new(recipe, config, data, run)
    elif not (run / LAST).exists():
        report(f"{run} holds no finished epoch: the run starts from the beginning")
    job = Job(recipe, config, data, run, resume, report, on_epoch, track)
    try:
        while True:
            try:
                fabric = machine.make_fabric(job.config)
                metrics: dict[str, float] = machine.launch(fabric, partial(_train, job=job))
                return metrics
            except machine.TooLarge as error:
                (epoch,) = error.args
            smaller = machine.halved(job.config)
            report(
                f"out of memory in epoch {epoch}: the epoch starts again with batches of "
                f"{smaller.batch_size}, {smaller.accumulate} to a step"
            )
            job = replace(job, config=smaller, resume=(run / LAST).exists())
            del fabric
            machine.free_memory()  # the network and batch that did not fit
    except KeyboardInterrupt:
        saved = f"; {run / LAST} holds the last finished epoch: continue with --resume"
        none = f" before the first epoch was finished: {run} holds none"
        report("interrupted" + (saved if (run / LAST).exists() else none))
        raise


def _train(fabric: Fabric, job: Job) -> dict[str, float]:
    return Trainer(fabric, job).train()


class Trainer:
    """One run in one process."""

    def __init__(self, fabric: Fabric, job: Job) -> None:
        """Load the data, build the network, and restore the checkpoint of a resumed run."""
        self.fabric, self.job, self.config, self.run = fabric, job, job.config, job.run
        self.is_main = fabric.is_global_zero
        self.report: loggers.Report = job.report if self.is_main else lambda line: None
        saved = files.load(self.run / LAST) if job.resume and (self.run / LAST).exists() else None
        self.recipe = bind(job.recipe, job.data, self.config, resumed=self.run if saved else None)
        self.origin = {
            "recipe": self.recipe.name,
            "setting": self.recipe.spec_dict() if isinstance(self.recipe, Bindable) else None,
            "config": asdict(self.config),
            "data": files.data_hashes(job.data),
            "versions": files.versions(),
        }
        if saved is not None:
            check_resume(self.run, saved, self.origin, self.recipe)

        torch.manual_seed(self.config.seed)
        loaders = self.recipe.loaders(job.data, self.config)
        for note in loaders.notes:
            self.report(note)
        self.valid, self.batches = loaders.valid, machine.ProcessBatches(loaders.train, fabric)
        self.steps = math.ceil(len(self.batches) / self.config.accumulate)
        """Steps of the optimizer in an epoch."""
        if isinstance(self.valid, ValidBatches):
            self.valid.move(fabric.device)
        self.state = TrainState(fabric, self.recipe, self.config)
        load_pretrained = getattr(self.recipe, "load_pretrained", None)
        if saved is None and load_pretrained is not None:
            load_pretrained(self.state.network, job.data)
            self.state.average.load_state_dict(self.state.network.state_dict())
        self.spans = phase_spans(self.state.phases, self.config.epochs, self.config.phase_epochs)
        self.log = StepLog(
            limit=MAX_SKIPPED if self.config.precision == "16-mixed" else 0,
            every=1 if fabric.device.type == "cpu" else READ_EVERY,
        )

        if saved is not None:
            with files.version_errors(self.run / LAST, saved):
                check_optimizer(self.run, saved["optimiser"], self.state.optimizer)
                same_devices = self.state.restore(saved)
            if not same_devices:
                self.report("more devices than before: the curve will differ a little")
        if self.is_main:
            with writing(self.run):
                self.run.mkdir(parents=True, exist_ok=True)
                files.truncate_log(self.run / LOG, self.state.progress.epoch + 1)
                write_toml(self.run / files.CONFIG, self.recipe.name, job.data, self.config)
        if self.config.init is not None and saved is None:
            self.state.progress.before = self._validate()
            self.report("before: " + loggers.format_metrics(self.state.progress.before))

    def train(self) -> dict[str, float]:
        """Train epoch after epoch; returns the metrics of the best one."""
        state = self.state
        track: loggers.Tracker = self.job.track if self.is_main else "none"
        settings = asdict(self.config)
        logger = loggers.open_logger(track, self.run, self.recipe.name, settings, self.job.report)
        span: PhaseSpan | None = None
        if self.config.monitor is not None and state.progress.epoch < 0:
            # Refuses a wrong name before an epoch is lost.
            score(self._validate(), self.config.monitor)
        with logger as log_metrics:
            for epoch in range(state.progress.epoch + 1, self.config.epochs):
                if span is None or epoch == span.end:
                    span = next(part for part in self.spans if epoch < part.end)
                    self._enter_phase(span, restart=epoch == span.first)
                if state.patience.spent and span is self.spans[-1]:
                    self.report(f"stopped early: no improvement for {self.config.patience} epochs")
                    break
                start = time.perf_counter()
                loss = self._train_epoch(span, epoch)
                metrics = self._validate()
                seconds = time.perf_counter() - start
                better = state.end_epoch(epoch, score(metrics, self.config.monitor), seconds)
                row = {"epoch": epoch, "loss": loss, "rate": state.rate, **metrics}
                self._save(row, metrics, better=better)
                if not self.is_main:
                    continue
                shown = loggers.format_metrics(metrics)
                self.report(f"epoch {epoch:3d}  loss {loss:.4f}  {shown}  ({seconds:.0f} s)")
                # With teachers the training loss is another one.
                valid = 0.0 if self.config.teachers else metrics.get("valid_loss", 0.0)
                if valid > files.OVERFIT * loss:
                    self.report(
                        f"overfitting: the validation loss is {valid / loss - 1:.0%} above the training loss"
                    )
                log_metrics(epoch, row)
                if self.job.on_epoch is not None:
                    self.job.on_epoch(epoch, metrics)
        return self._finish() if self.is_main else {}

    def _enter_phase(self, span: PhaseSpan, *, restart: bool) -> None:
        trainable = self.state.enter_phase(span, restart=restart)
        if not (phases := self.state.phases):
            return
        number, every = span.number + 1, count_parameters(self.state.network, all_=True)
        self.report(
            f"phase {number} of {len(phases)}, epochs {span.first} to {span.end - 1}: {trainable:,} of "
            f"{every:,} parameters are trained"
        )
        if span is self.spans[-1] and number < len(phases):
            self.report(f"this run ends before phase {number + 1}: give more --epochs to reach it")

    def _train_epoch(self, span: PhaseSpan, epoch: int) -> float:
        """Train one epoch; returns the mean loss. For its errors see `machine.named_errors`."""
        fabric, state, log, count = self.fabric, self.state, self.log, len(self.batches)
        log.start_epoch()
        state.trainable.train_mode(span.phase)
        state.optimizer.zero_grad(set_to_none=True)
        named = machine.named_errors(self.run, epoch, count, halves=self.config.devices == "1")
        with named, progress_bar(f"epoch {epoch}", shown=self.is_main) as advance:
            for index, batch in enumerate(self.batches.epoch(epoch)):
                step = index // self.config.accumulate
                first = step * self.config.accumulate
                end = min(first + self.config.accumulate, count)
                ends_step = index + 1 == end
                with fabric.no_backward_sync(state.loss_module, enabled=not ends_step):
                    loss = state.loss_module(UncastBatch(fabric.to_device(batch)))
                    mean = fabric.all_reduce(loss.detach().float(), reduce_op="mean")
                    log.push("loss", index, cast(Tensor, mean))
                    fabric.backward(loss / (end - first))
                if ends_step:
                    log.push("norm", first, self._step(span, epoch, step))
                advance(index + 1, count, f"loss {log.newest:.4f}")
            log.read()
        return log.total / max(1, count)

    def _step(self, span: PhaseSpan, epoch: int, step: int) -> Tensor:
        """Step `step` of an epoch, of the optimizer and of the average of the weights. Returns the norm of
        the gradient."""
        state, config = self.state, self.config
        state.set_rate(span, (epoch - span.first) * self.steps + step, self.steps)
        norm = self.fabric.clip_gradients(
            state.loss_module,
            state.optimizer,
            max_norm=config.clip_norm or math.inf,
            error_if_nonfinite=False,
        )
        state.optimizer.step()
        state.optimizer.zero_grad(set_to_none=True)
        # At first the average would be mostly the initial weights: let it follow quickly.
        done = epoch * self.steps + step
        update_ema(state.average, state.network, min(config.ema_decay, (1 + done) / (10 + done)))
        return cast(Tensor, norm)

    def _validate(self) -> dict[str, float]:
        """Validation metrics of the averaged weights, the same in every process."""
        self.state.average.eval()
        validate = partial(self.recipe.validate, self.state.average, self.valid)
        metrics = machine.within_memory(validate, self.valid, self.report)
        return self.fabric.broadcast(metrics)

    def _save(self, row: Mapping[str, float], metrics: dict[str, float], *, better: bool) -> None:
        """Write the checkpoints. Every process has to call this: each adds its random state."""
        state = {**self.origin, **self.state.state(), "figures": metrics}
        if not self.is_main:
            return
        with writing(self.run / LOG):
            files.append_log(self.run / LOG, row)
        # The best epoch first: a run that is killed between the two repeats this epoch.
        if better:
            files.save({name: state[name] for name in files.BEST_KEYS}, self.run / BEST)
        files.save(state, self.run / LAST)

    def _finish(self) -> dict[str, float]:
        """Write the summary; returns the metrics of the best epoch."""
        progress, device = self.state.progress, self.fabric.device
        if not (self.run / BEST).exists():
            raise RunError(
                "no epoch could be chosen as the best: the validation metric that chooses it was never a "
                "number; check the validation split"
            )
        best = files.load(self.run / BEST)
        metrics: dict[str, float] = best["figures"]
        summary = {
            "recipe": self.recipe.name,
            "parameters": count_parameters(self.state.average, all_=True),
            "trainable": self.state.trainable.count([span.phase for span in self.spans]),
            "epochs": progress.epoch + 1,
            "best_epoch": best["epoch"],
            "figures": metrics,
            "before": progress.before,
            "minutes": round(progress.seconds / 60, 5),
            "peak_megabytes": {name: round(value) for name, value in progress.peak.items()},
            "device": "cpu" if device.type == "cpu" else torch.cuda.get_device_name(device),
            "versions": self.origin["versions"],
        }
        with writing(self.run / SUMMARY):
            (self.run / SUMMARY).write_text(json.dumps(summary, indent=2) + "\n")
        return metrics


def evaluate(recipe: Recipe, config: FitConfig, data: Path, run: Path) -> dict[str, float]:
    """Metrics of the best epoch of `run` on the validation split of `data`, without training. Raises
    `RunError` for a run that is missing or of another recipe; `DataMissing` or `DataError`."""
    trained = files.load_run(recipe, run)
    module = trained.module
    if torch.cuda.is_available():
        module = module.to("cuda")
    valid = trained.recipe.loaders(data, config).valid
    return machine.within_memory(
        partial(trained.recipe.validate, module, valid), valid, loggers.print_line
    )
