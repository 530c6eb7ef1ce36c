"""The processors of a run, through Lightning Fabric: which, how many, and their random state."""

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
from affectstream.train.recipe import Batch, Shareable, TrainBatches


def several(config: FitConfig) -> bool:
    """Whether a run is spread over processes."""
    return config.devices != "1"


def make_fabric(config: FitConfig, accelerator: str = "auto") -> Fabric:
    """What places the network, scales the loss and joins the gradients.

    `accelerator` is ``cpu``, or ``auto`` for a GPU where there is one. Raises `OptionError` for devices
    that are not there, or a precision that they do not have.
    """
    if config.precision == "16-mixed" and (accelerator == "cpu" or not torch.cuda.is_available()):
        raise OptionError(
            "precision '16-mixed' needs a GPU, and there is none to use: give bf16-mixed or 32-true"
        )
    # Which precision it uses is among the settings: no line for each of a study's trials.
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
    devices: int | str = int(config.devices) if config.devices.isdigit() else config.devices
    # Not every part of a network is used in every batch: modalities are hidden, and parts rest.
    strategy: Any = (
        DDPStrategy(start_method="spawn", find_unused_parameters=True)
        if several(config)
        else "auto"
    )
    try:
        return Fabric(
            accelerator=accelerator,
            devices=devices,
            strategy=strategy,
            precision=config.precision,  # type: ignore[arg-type]
        )
    except (
        ValueError,
        TypeError,
        RuntimeError,
    ) as error:  # of Lightning: what it cannot parse or find
        said = " ".join(str(error).split())
        raise OptionError(f"--devices {config.devices}: {said}") from error


def launch(fabric: Fabric, function: Callable[[Fabric], Any]) -> Any:
    """``function(fabric)`` in every process; what the first one returns.

    `function` is pickled where there are several. Raises `RunError` with the last line of what a process
    said that broke down.
    """
    try:
        return fabric.launch(function)
    except ProcessException as error:
        last = str(error).strip().splitlines()[-1]
        said = last.removeprefix(f"{RunError.__module__}.{RunError.__name__}: ")
        raise RunError(f"a training process ended: {said}") from error


class Parcel:
    """Carries a batch past whoever would halve its precision on the way into a network."""

    def __init__(self, batch: Batch) -> None:
        self.batch = batch


class Part:
    """The batches of one of several processes; all processes have the same number."""

    def __init__(self, whole: TrainBatches, fabric: Fabric) -> None:
        self._rank, self._ranks = fabric.global_rank, fabric.world_size
        self._whole, self._own = whole, False
        if self._ranks > 1 and isinstance(whole, Shareable):
            self._whole, self._own = whole.share(self._rank, self._ranks), True
        self._count = len(whole) // self._ranks
        if not self._count:
            raise RunError(
                f"{len(whole)} batches an epoch are not enough for {self._ranks} devices: give a smaller "
                "--batch-size"
            )

    def __len__(self) -> int:
        return self._count

    def epoch(self, number: int) -> Iterator[Batch]:
        """One epoch of them."""
        batches: Any = self._whole.epoch(number)
        if self._ranks > 1 and not self._own:
            batches = islice(batches, self._rank, None, self._ranks)
        return islice(batches, self._count)


def gather_random(fabric: Fabric) -> list[dict[str, torch.Tensor]]:
    """The random state of every process."""
    own = {"cpu": torch.get_rng_state()}
    if fabric.device.type == "cuda":
        own["cuda"] = torch.cuda.get_rng_state(fabric.device)
    if fabric.world_size == 1:
        return [own]
    states: list[Any] = [None] * fabric.world_size
    torch.distributed.all_gather_object(states, own)
    return states


def restore_random(fabric: Fabric, states: Sequence[dict[str, torch.Tensor]]) -> bool:
    """Set this process's random state; False where `states` has none for it."""
    if fabric.global_rank >= len(states):
        return False
    own = states[fabric.global_rank]
    torch.set_rng_state(own["cpu"])
    if fabric.device.type == "cuda" and "cuda" in own:
        torch.cuda.set_rng_state(own["cuda"], fabric.device)
    return True


def device_name(device: torch.device) -> str:
    """What a device is called."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def of_compiler(error: BaseException) -> bool:
    """Whether `error` is of `torch.compile`: no C++ compiler, say."""
    from torch._dynamo.exc import TorchDynamoException

    return isinstance(error, TorchDynamoException)


def compile_parts(module: nn.Module) -> None:
    """Put each direct part through `torch.compile`, in place: a recipe's loss may call them one by one."""
    for part in module.children():
        if isinstance(part, (nn.ModuleList, nn.ModuleDict)):
            compile_parts(part)
        else:
            part.compile()
