"""What changes during a run, and a checkpoint holds: network, average, optimizer and progress."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from affectstream.train.config import FitConfig
from affectstream.train.errors import RunError
from affectstream.train.fit import machine
from affectstream.train.fit.phases import PhaseSpan, TrainableParameters, parameter_groups
from affectstream.train.fit.schedule import Patience, Plateau, learning_rate
from affectstream.train.networks.network import Phase
from affectstream.train.recipe import Batch, Recipe


class UncastBatch:
    """Hides a batch from Fabric, which would cast its float tensors to half precision."""

    def __init__(self, batch: Batch) -> None:
        self.batch = batch


class LossModule(nn.Module):
    """From a batch to its loss: what Fabric spreads over processes and runs in mixed precision."""

    def __init__(self, recipe: Recipe, network: nn.Module) -> None:
        super().__init__()
        self.network, self._loss = network, recipe.loss

    def forward(self, hidden: UncastBatch) -> Tensor:
        """The scalar loss."""
        return self._loss(self.network, hidden.batch)


@dataclass
class Progress:
    """How far a run has come, by the names that a checkpoint has."""

    epoch: int = -1
    """The newest finished epoch."""
    best: float = -math.inf
    """`metrics.score` of the best epoch; higher is better."""
    best_epoch: int = -1
    seconds: float = 0.0
    peak: dict[str, float] = field(default_factory=dict)
    """`peak_megabytes`, over all processes that continued the run."""
    before: dict[str, float] = field(default_factory=dict)
    """Metrics of the initial weights, where they came from `--init`."""


class TrainState:
    """Network, optimizer and progress of a run, on the devices of `fabric`."""

    def __init__(self, fabric: Fabric, recipe: Recipe, config: FitConfig) -> None:
        """Raises `RunError` where no part of the network supports `config.checkpointing`."""
        self.fabric, self.config = fabric, config
        self.phases: tuple[Phase, ...] = tuple(getattr(recipe, "phases", ()))
        # Pictures come as rows of pixels: convolutions take this layout without rearranging it.
        self.network = recipe.module().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        average = copy.deepcopy(self.network).requires_grad_(False)
        self.trainable = TrainableParameters(self.network)
        self.groups = parameter_groups(self.network, self.phases)
        if config.checkpointing and not machine.recompute_activations(self.network):
            raise RunError(
                f"--checkpointing: no part of {recipe.name} can compute its activations again"
            )
        if config.compile:
            machine.compile_parts(self.network)
        # One kernel for all parameters. It would remove a loss scale itself, too late for clipping.
        fused = fabric.device.type == "cuda" and config.precision != "16-mixed"
        optimizer = torch.optim.AdamW(
            [
                {
                    "params": group.parameters,
                    "weight_decay": config.weight_decay if group.decays else 0.0,
                }
                for group in self.groups
            ],
            lr=config.learning_rate,
            fused=fused or None,
        )
        self.loss_module, self.optimizer = fabric.setup(LossModule(recipe, self.network), optimizer)
        self.average: nn.Module = fabric.to_device(average)
        """Running average of the weights: what is validated and exported."""
        self.plateau = Plateau()
        self.patience = Patience(config.patience, config.min_delta)
        self.progress = Progress()
        self.rate = 0.0
        """Learning rate of the newest step, before the factors of the groups."""
        # Dropout differs between processes, initial weights do not.
        torch.manual_seed(config.seed + fabric.global_rank)

    def enter_phase(self, span: PhaseSpan, *, restart: bool) -> int:
        """Freeze what the phase freezes; returns the number of trainable parameters. `restart` also resets
        schedule and patience, as at the first epoch of a phase."""
        if restart:
            self.plateau = Plateau()
            self.patience = Patience(self.patience.epochs, self.patience.min_delta)
        return self.trainable.enter(span.phase)

    def set_rate(self, span: PhaseSpan, step: int, steps: int) -> None:
        """Set the learning rate of each parameter group to its factor times that of the schedule at step
        `step` of the phase, with `steps` an epoch."""
        config = self.config
        self.rate = learning_rate(
            config.schedule,
            step,
            steps=(span.end - span.first) * steps,
            steps_per_epoch=steps,
            warmup_epochs=config.warmup_epochs,
            peak=config.learning_rate,
        )
        if config.schedule == "plateau":
            self.rate *= self.plateau.scale
        for group, options in zip(self.groups, self.optimizer.param_groups, strict=True):
            options["lr"] = self.rate * group.factors[span.number]

    def end_epoch(self, epoch: int, metric: float, seconds: float) -> bool:
        """Note the score `metric` of an epoch and its duration; True where it is the best so far."""
        progress = self.progress
        self.plateau.push(metric)
        self.patience.push(metric)
        better = metric > progress.best
        if better:
            progress.best, progress.best_epoch = metric, epoch
        progress.epoch = epoch
        progress.seconds += seconds
        for name, megabytes in machine.peak_megabytes(self.fabric.device).items():
            progress.peak[name] = max(progress.peak.get(name, 0.0), megabytes)
        return better

    def state(self) -> dict[str, Any]:
        """Everything that `restore` needs. Every process has to call this."""
        return {
            **asdict(self.progress),
            "module": self.network.state_dict(),
            "average": self.average.state_dict(),
            "optimiser": self.optimizer.state_dict(),
            "scaler": self.fabric.strategy.precision.state_dict(),
            "plateau": self.plateau.state(),
            "patience": self.patience.state(),
            "random": machine.gather_rng_states(self.fabric),
        }

    def restore(self, saved: Mapping[str, Any]) -> bool:
        """Continue from a checkpoint; False where it has no random state for this process. Checkpoints from
        before there were phases and patience lack some entries."""
        self.network.load_state_dict(saved["module"])
        self.average.load_state_dict(saved["average"])
        self.optimizer.load_state_dict(saved["optimiser"])
        self.fabric.strategy.precision.load_state_dict(saved.get("scaler", {}))
        if "plateau" in saved:
            self.plateau.restore(saved["plateau"])
            self.patience.restore(saved["patience"])
        names = [part.name for part in fields(Progress) if part.name in saved]
        self.progress = Progress(**{name: saved[name] for name in names})
        return machine.restore_rng_state(
            self.fabric, saved.get("random") or [{"cpu": saved["rng"]}]
        )
