"""Where a run stands: its network, its optimiser and its figures, as a checkpoint keeps and restores them."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from affectstream.train.config import FitConfig
from affectstream.train.errors import RunError
from affectstream.train.fit.memory import peak_megabytes, recompute
from affectstream.train.fit.phases import PhaseSpan, TrainableParameters, parameter_groups
from affectstream.train.fit.processes import Parcel, compile_parts, gather_random, restore_random
from affectstream.train.fit.schedule import Patience, Plateau
from affectstream.train.recipe import Phased, Recipe


class LossModule(nn.Module):
    """A batch to its loss: what is spread over processes and run in mixed precision."""

    def __init__(self, recipe: Recipe, network: nn.Module) -> None:
        super().__init__()
        self.network, self._loss = network, recipe.loss

    def forward(self, parcel: Parcel) -> Tensor:
        """The scalar loss."""
        return self._loss(self.network, parcel.batch)


@dataclass
class Progress:
    """The figures of a run so far."""

    next_epoch: int = 0
    best: float = -math.inf
    """The first figure of the best epoch; higher is better."""
    best_epoch: int = -1
    last: float = math.nan
    """The first figure of the newest epoch."""
    seconds: float = 0.0
    peak: dict[str, float] = field(default_factory=dict)
    """`peak_megabytes`, of all sittings of the run."""
    before: dict[str, float] = field(default_factory=dict)
    """Figures of the weights that were started from, where they were not random."""


class TrainState:
    """A network on its way, on the devices of `fabric`."""

    def __init__(self, fabric: Fabric, recipe: Recipe, config: FitConfig) -> None:
        """Raises `RunError` where activations are to be computed again and no part can do it."""
        self.fabric = fabric
        self.phases = tuple(recipe.phases) if isinstance(recipe, Phased) else ()
        # Pictures come as rows of pixels: convolutions take them so without rearranging them.
        self.network = recipe.module().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        average = copy.deepcopy(self.network).requires_grad_(False)
        self.learners = TrainableParameters(self.network)
        self.groups = parameter_groups(self.network, self.phases)
        if config.checkpointing and not recompute(self.network):
            raise RunError(
                f"--checkpointing: no part of {recipe.name} can compute its activations again"
            )
        if config.compile:
            compile_parts(self.network)
        optimiser = torch.optim.AdamW(
            [{"params": group.parameters} for group in self.groups],
            lr=config.learning_rate,
            weight_decay=config.weight_decay,
        )
        self.lesson, self.optimiser = fabric.setup(LossModule(recipe, self.network), optimiser)
        self.average: nn.Module = fabric.to_device(average)
        self.plateau = Plateau()
        self.patience = Patience(config.patience, config.min_delta)
        self.standing = Progress()
        self._rate = 0.0
        # Dropout is to differ between processes, weights are not.
        torch.manual_seed(config.seed + fabric.global_rank)

    def enter(self, stretch: PhaseSpan, *, anew: bool) -> int:
        """Begin a phase (`anew`), or go on in it; returns how many numbers learn."""
        if anew:
            self.plateau = Plateau()
            self.patience = Patience(self.patience.epochs, self.patience.min_delta)
        return self.learners.enter(stretch.phase)

    def push(self, epoch: int, headline: float, seconds: float) -> bool:
        """Take an epoch's first figure and how long it took; True where it is the best so far."""
        standing = self.standing
        self.plateau.push(headline)
        self.patience.push(headline)
        better = headline > standing.best
        if better:
            standing.best, standing.best_epoch = headline, epoch
        standing.next_epoch, standing.last = epoch + 1, headline
        standing.seconds += seconds
        for name, megabytes in peak_megabytes(self.fabric.device).items():
            standing.peak[name] = max(standing.peak.get(name, 0.0), megabytes)
        return better

    @property
    def rate(self) -> float:
        """The learning rate of the last step, before shares of it are taken."""
        return self._rate

    def set_rate(self, rate: float, stretch: PhaseSpan) -> None:
        """Let each group learn at its share of `rate`."""
        self._rate = rate
        for group, made in zip(self.groups, self.optimiser.param_groups, strict=True):
            made["lr"] = rate * group.shares[stretch.number]

    def state(self) -> dict[str, Any]:
        """Everything that `restore` needs; the same call in every process."""
        standing = self.standing
        return {
            "epoch": standing.next_epoch - 1,
            "best": standing.best,
            "best_epoch": standing.best_epoch,
            "seconds": standing.seconds,
            "peak": standing.peak,
            "before": standing.before,
            "module": self.network.state_dict(),
            "average": self.average.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "scaler": self.fabric.strategy.precision.state_dict(),
            "plateau": self.plateau.state(),
            "patience": self.patience.state(),
            "random": gather_random(self.fabric),
        }

    def restore(self, saved: Mapping[str, Any]) -> bool:
        """Stand where `saved` stood. False where there were fewer processes then, so that chance differs.

        Checkpoints of before there were phases and patience lack some entries.
        """
        self.network.load_state_dict(saved["module"])
        self.average.load_state_dict(saved["average"])
        self.optimiser.load_state_dict(saved["optimiser"])
        self.fabric.strategy.precision.load_state_dict(saved.get("scaler", {}))
        if "plateau" in saved:
            self.plateau.restore(saved["plateau"])
            self.patience.restore(saved["patience"])
        self.standing = Progress(
            next_epoch=saved["epoch"] + 1,
            best=saved["best"],
            best_epoch=saved.get("best_epoch", -1),
            seconds=saved.get("seconds", 0.0),
            peak=dict(saved.get("peak", {})),
            before=saved.get("before", {}),
        )
        return restore_random(self.fabric, saved.get("random") or [{"cpu": saved["rng"]}])
