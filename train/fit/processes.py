"""The processes and devices of a run, through Lightning Fabric, and their random states."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Any

import torch
from lightning_fabric import Fabric
from lightning_fabric.strategies.ddp import DDPStrategy
from torch import nn
from torch.multiprocessing.spawn import ProcessException

from affectstream.stream.errors import OptionError
from affectstream.train.config import FitConfig
from affectstream.train.errors import RunError
from affectstream.train.recipe import Batch, EpochBatches, Shareable


def make_fabric(config: FitConfig, accelerator: str = "auto") -> Fabric:
    """The Fabric that places the network, scales the loss and joins the gradients.

    `accelerator` is ``cpu``, or ``auto`` for a GPU where there is one. Raises `OptionError` for devices
    that do not exist, or do not have the precision.
    """
    if config.precision == "16-mixed" and (accelerator == "cpu" or not torch.cuda.is_available()):
        raise OptionError(
            "precision '16-mixed' needs a GPU, and there is none to use: give bf16-mixed or 32-true"
        )
    # Fabric would print its precision for each trial of a study.
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
    strategy: Any = "auto"
    if config.devices != "1":
        # Not every batch uses every part of a network: modalities are hidden, and parts are frozen.
        strategy = DDPStrategy(start_method="spawn", find_unused_parameters=True)
    try:
        return Fabric(
            accelerator=accelerator,
            devices=int(config.devices) if config.devices.isdigit() else config.devices,
            strategy=strategy,
            precision=config.precision,
        )
    except (ValueError, TypeError, RuntimeError) as error:  # what Fabric cannot parse or find
        raise OptionError(f"--devices {config.devices}: {' '.join(str(error).split())}") from error


def launch(fabric: Fabric, function: Callable[[Fabric], Any]) -> Any:
    """Run ``function(fabric)`` in every process; returns the result of the first.

    `function` is pickled where there are several. Raises `RunError` with the last line of the error of a
    process that failed.
    """
    try:
        return fabric.launch(function)
    except ProcessException as error:
        last = str(error).strip().splitlines()[-1]
        problem = last.removeprefix(f"{RunError.__module__}.{RunError.__name__}: ")
        raise RunError(f"a training process ended: {problem}") from error


class ProcessBatches:
    """The batches of one process; all processes have the same number."""

    def __init__(self, batches: EpochBatches, fabric: Fabric) -> None:
        self._rank, self._ranks = fabric.global_rank, fabric.world_size
        self._count = len(batches) // self._ranks
        if not self._count:
            raise RunError(
                f"{len(batches)} batches an epoch are not enough for {self._ranks} devices: give a smaller "
                "--batch-size"
            )
        self._shared = self._ranks > 1 and isinstance(batches, Shareable)
        if isinstance(batches, Shareable) and self._shared:
            batches = batches.share(self._rank, self._ranks)
        self._batches = batches

    def __len__(self) -> int:
        return self._count

    def epoch(self, number: int) -> Iterator[Batch]:
        """The batches of one epoch."""
        batches: Any = self._batches.epoch(number)
        if self._ranks > 1 and not self._shared:
            batches = islice(batches, self._rank, None, self._ranks)
        return islice(batches, self._count)


def gather_rng_states(fabric: Fabric) -> list[dict[str, torch.Tensor]]:
    """The random state of every process. Every process has to call this."""
    own = {"cpu": torch.get_rng_state()}
    if fabric.device.type == "cuda":
        own["cuda"] = torch.cuda.get_rng_state(fabric.device)
    if fabric.world_size == 1:
        return [own]
    states: list[Any] = [None] * fabric.world_size
    torch.distributed.all_gather_object(states, own)
    return states


def restore_rng_state(fabric: Fabric, states: Sequence[dict[str, torch.Tensor]]) -> bool:
    """Set this process's random state; False where `states` has none for it."""
    if fabric.global_rank >= len(states):
        return False
    own = states[fabric.global_rank]
    torch.set_rng_state(own["cpu"])
    if fabric.device.type == "cuda" and "cuda" in own:
        torch.cuda.set_rng_state(own["cuda"], fabric.device)
    return True


def device_name(device: torch.device) -> str:
    """The product name of a GPU, or ``cpu``."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def is_compiler_error(error: BaseException) -> bool:
    """Whether `torch.compile` raised `error`, for example for want of a C++ compiler."""
    from torch._dynamo.exc import TorchDynamoException

    return isinstance(error, TorchDynamoException)


def compile_parts(module: nn.Module) -> None:
    """Compile each direct part in place: a recipe's loss may call the parts one by one."""
    for part in module.children():
        if isinstance(part, (nn.ModuleList, nn.ModuleDict)):
            compile_parts(part)
        else:
            part.compile()
