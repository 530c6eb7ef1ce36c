"""One epoch of training: batches become gradients, gradients become steps.

A loss or a gradient that is no number ends the run before it reaches the weights. Under a loss scale (FP16)
some gradients are too large while the scale finds its size: those steps are left out, and only many of them
one after another end the run.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import cast

from lightning_fabric import Fabric
from torch import Tensor

from affectstream.train.config import FitConfig
from affectstream.train.errors import RunError, first_line
from affectstream.train.fit.memory import TooLarge, out_of_memory
from affectstream.train.fit.phases import PhaseSpan
from affectstream.train.fit.processes import Parcel, Part, of_compiler, several
from affectstream.train.fit.progress import bar
from affectstream.train.fit.schedule import learning_rate
from affectstream.train.fit.train_state import TrainState
from affectstream.train.recipe import Batch, update_ema

MOST_LEFT_OUT = 32
"""Steps one after another that a loss scale may leave out. Each halves it, so after these it is 2^-32 of
what it was: gradients that are no numbers even so have another reason."""

_ONE_SAMPLE = "Expected more than 1 value per channel"
"""How torch's batch norms put it."""


class SkippedSteps:
    """Counts steps whose gradient is no number, one after another, and says when there are too many."""

    def __init__(self, most: int) -> None:
        """`most` may be left out; 0 where nothing is."""
        self.most, self.count = most, 0

    def push(self, norm: float) -> bool:
        """Take the length of a step's gradient; True where the run has to end."""
        self.count = 0 if math.isfinite(norm) else self.count + 1
        return self.count > self.most


class Epochs:
    """Learns from `batches`, an epoch at a time."""

    def __init__(
        self, fabric: Fabric, course: TrainState, batches: Part, config: FitConfig, last: Path
    ) -> None:
        """`last` is where the newest whole epoch is kept."""
        self.fabric, self.course, self.batches = fabric, course, batches
        self.config, self.last = config, last
        self.steps = math.ceil(len(batches) / config.accumulate)
        """Of the optimiser, in an epoch."""
        self.left_out = SkippedSteps(MOST_LEFT_OUT if config.precision == "16-mixed" else 0)

    def learn(self, stretch: PhaseSpan, epoch: int) -> float:
        """One epoch; returns the mean loss.

        Raises `TooLarge` where memory does not suffice, `RunError` for what is no number and for what the
        network cannot be trained with.
        """
        course, count = self.course, len(self.batches)
        course.learners.train_mode(stretch.phase)
        course.optimiser.zero_grad(set_to_none=True)
        total = 0.0
        try:
            with bar(epoch, count, shown=self.fabric.is_global_zero) as advance:
                for index, batch in enumerate(self.batches.epoch(epoch)):
                    loss = self._backward(batch, epoch, index)
                    if self._steps_after(index):
                        self._step(stretch, epoch, index)
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

    def _steps_after(self, index: int) -> bool:
        """Whether the gradients up to batch `index` make a step."""
        return (index + 1) % self.config.accumulate == 0 or index + 1 == len(self.batches)

    def _backward(self, batch: Batch, epoch: int, index: int) -> float:
        """Add the gradients of one batch; returns its loss, the mean over the processes."""
        course, accumulate, count = self.course, self.config.accumulate, len(self.batches)
        together = min(accumulate, count - index // accumulate * accumulate)
        waits = not self._steps_after(index)
        with self.fabric.no_backward_sync(course.lesson, enabled=waits):
            loss = course.lesson(Parcel(self.fabric.to_device(batch)))
            mean = self.fabric.all_reduce(loss.detach().float(), reduce_op="mean")
            value = float(cast(Tensor, mean))
            if not math.isfinite(value):
                raise self._lost(f"the loss is {value}", epoch, index)
            self.fabric.backward(loss / together)
        return value

    def _step(self, stretch: PhaseSpan, epoch: int, index: int) -> None:
        """One step of the optimiser, after batch `index`, and of the average of the weights."""
        course, config = self.course, self.config
        step = index // config.accumulate
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
        self._check(float(cast(Tensor, norm)), epoch, step * config.accumulate)
        course.optimiser.step()
        course.optimiser.zero_grad(set_to_none=True)
        # A young average would be mostly the random start: let it follow quickly at first.
        seen = epoch * self.steps + step
        update_ema(course.average, course.network, min(config.ema_decay, (1 + seen) / (10 + seen)))

    def _check(self, norm: float, epoch: int, index: int) -> None:
        """Raise `RunError` for a gradient that is no number, or the last of too many of them."""
        if not self.left_out.push(norm):
            return
        if self.left_out.most:
            raise self._lost(
                f"the gradient is {norm} at every loss scale, {self.left_out.count} steps one after "
                "another,",
                epoch,
                index,
                "give --precision bf16-mixed or 32-true, ",
            )
        raise self._lost(f"the gradient is {norm}", epoch, index)

    def _lost(self, what: str, epoch: int, index: int, first: str = "") -> RunError:
        kept = f"{self.last} holds epoch {epoch - 1}" if epoch else "nothing was kept"
        return RunError(
            f"{what} in epoch {epoch}, batch {index} of {len(self.batches)}; {kept}: {first}lower the "
            "learning rate, or look at that batch"
        )
