"""One epoch of training: batches, gradients, steps of the optimizer, and the average of the weights."""

from __future__ import annotations

import math
from pathlib import Path
from typing import cast

from lightning_fabric import Fabric
from torch import Tensor

from affectstream.train.config import FitConfig
from affectstream.train.errors import RunError, first_line
from affectstream.train.fit.checkpoint import LAST
from affectstream.train.fit.machine import ProcessBatches, TooLarge, out_of_memory
from affectstream.train.fit.phases import PhaseSpan
from affectstream.train.fit.schedule import learning_rate
from affectstream.train.fit.step_log import READ_EVERY, NotFinite, StepLog
from affectstream.train.fit.train_state import TrainState, UncastBatch
from affectstream.train.progress import progress_bar
from affectstream.train.recipe import Batch, update_ema

MAX_SKIPPED = 32
"""Consecutive steps that a loss scale (FP16) may skip. Each halves the scale: after these it is 2^-32 of
what it was, so the gradients are not finite for another reason."""
ONE_SAMPLE = "Expected more than 1 value per channel"
"""In the message of torch's batch norms."""


class EpochTrainer:
    """Trains the network of a `TrainState`, epoch by epoch."""

    def __init__(
        self,
        fabric: Fabric,
        config: FitConfig,
        state: TrainState,
        batches: ProcessBatches,
        run: Path,
    ) -> None:
        """`run` is the folder of the run, for messages."""
        self.fabric, self.config, self.state = fabric, config, state
        self.batches, self.run = batches, run
        self.steps = math.ceil(len(batches) / config.accumulate)
        """Optimizer steps in an epoch."""
        self.log = StepLog(
            limit=MAX_SKIPPED if config.precision == "16-mixed" else 0,
            every=1 if fabric.device.type == "cpu" else READ_EVERY,
        )

    def train(self, span: PhaseSpan, epoch: int) -> float:
        """Train one epoch; returns the mean loss. Raises `TooLarge` where memory is not enough, `RunError`
        where the loss or a gradient is not finite or the network cannot be trained with these settings."""
        count, log = len(self.batches), self.log
        log.start_epoch()
        self.state.trainable.train_mode(span.phase)
        self.state.optimizer.zero_grad(set_to_none=True)
        try:
            with progress_bar(f"epoch {epoch}", shown=self.fabric.is_global_zero) as advance:
                for index, batch in enumerate(self.batches.epoch(epoch)):
                    log.loss(index, self._backward(batch, index))
                    if self._ends_step(index):
                        first = index // self.config.accumulate * self.config.accumulate
                        log.norm(first, self._step(span, epoch, index))
                    advance(index + 1, count, f"loss {log.newest:.4f}")
                log.read()
        except NotFinite as error:
            raise self._not_finite(error, epoch) from None
        except ValueError as error:
            if ONE_SAMPLE not in str(error):
                raise
            raise RunError(
                "batch normalization needs more than one sample in a batch: give --batch-size 2 or more"
            ) from error
        except (RuntimeError, MemoryError) as error:
            if out_of_memory(error) and self.config.devices == "1":
                raise TooLarge(epoch) from None
            from torch._dynamo.exc import TorchDynamoException

            if isinstance(error, TorchDynamoException):  # for want of a C++ compiler, for example
                raise RunError(f"--compile: {first_line(error)}") from error
            raise
        return log.total / max(1, count)

    def _ends_step(self, index: int) -> bool:
        """Whether the optimizer steps after batch `index`."""
        return (index + 1) % self.config.accumulate == 0 or index + 1 == len(self.batches)

    def _backward(self, batch: Batch, index: int) -> Tensor:
        """Add the gradients of one batch; returns its loss, the mean over the processes."""
        accumulate, loss_module = self.config.accumulate, self.state.loss_module
        in_step = min(accumulate, len(self.batches) - index // accumulate * accumulate)
        with self.fabric.no_backward_sync(loss_module, enabled=not self._ends_step(index)):
            loss = loss_module(UncastBatch(self.fabric.to_device(batch)))
            mean = self.fabric.all_reduce(loss.detach().float(), reduce_op="mean")
            self.fabric.backward(loss / in_step)
        return cast(Tensor, mean)

    def _step(self, span: PhaseSpan, epoch: int, index: int) -> Tensor:
        """One step of the optimizer, after batch `index`, and of the average of the weights. Returns the norm
        of the gradient."""
        state, config = self.state, self.config
        step = index // config.accumulate
        rate = learning_rate(
            config.schedule,
            (epoch - span.first) * self.steps + step,
            steps=(span.end - span.first) * self.steps,
            steps_per_epoch=self.steps,
            warmup_epochs=config.warmup_epochs,
            peak=config.learning_rate,
        )
        state.set_rate(rate * (state.plateau.scale if config.schedule == "plateau" else 1.0), span)
        clipped = self.fabric.clip_gradients(
            state.loss_module,
            state.optimizer,
            max_norm=config.clip_norm or math.inf,
            error_if_nonfinite=False,
        )
        state.optimizer.step()
        state.optimizer.zero_grad(set_to_none=True)
        # At first the average would be mostly the initial weights: let it follow quickly.
        done = epoch * self.steps + step
        decay = min(config.ema_decay, (1 + done) / (10 + done))
        update_ema(state.average, state.network, decay)
        return cast(Tensor, clipped)

    def _not_finite(self, error: NotFinite, epoch: int) -> RunError:
        kept = f"{self.run / LAST} holds epoch {epoch - 1}" if epoch else "no epoch was saved"
        advice = "give --precision bf16-mixed or 32-true, " if error.scaled else ""
        return RunError(
            f"{error.problem} in epoch {epoch}, batch {error.index} of {len(self.batches)}; {kept}: "
            f"{advice}lower the learning rate, or check that batch"
        )
