"""The processes, devices and memory of a run, and its random states."""

from __future__ import annotations

import gc
import logging
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import torch
from lightning_fabric import Fabric
from lightning_fabric.strategies.ddp import DDPStrategy
from torch import nn
from torch.multiprocessing.spawn import ProcessException
from torch.utils.checkpoint import checkpoint

from affectstream.stream.errors import OptionError
from affectstream.train.config import FitConfig
from affectstream.train.errors import RunError, first_line
from affectstream.train.fit.checkpoint import LAST
from affectstream.train.fit.step_log import NotFinite
from affectstream.train.loader.batches import ValidBatches
from affectstream.train.recipe import Batch, EpochBatches, Placeable

Result = TypeVar("Result")

_MESSAGES = ("can't allocate memory", "out of memory", "CUBLAS_STATUS_ALLOC_FAILED")
"""In the plain RuntimeErrors of the CPU's allocator and of CUDA's libraries."""
ONE_SAMPLE = "Expected more than 1 value per channel"
"""In the message of torch's batch norms."""


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
    """Run ``function(fabric)`` in every process; returns the result of the first. `function` is pickled where
    there are several. Raises `RunError` with the last line of the error of a process that failed."""
    try:
        return fabric.launch(partial(_run, function=function))
    except ProcessException as error:
        last = str(error).strip().splitlines()[-1]
        problem = last.removeprefix(f"{RunError.__module__}.{RunError.__name__}: ")
        raise RunError(f"a training process ended: {problem}") from error


def _run(fabric: Fabric, function: Callable[[Fabric], Any]) -> Any:
    """Run ``function(fabric)`` in one process, and end its connections to the others before it exits.

    Gloo's threads would otherwise outlive Python's interpreter, and abort the process when they free what
    belongs to it. Fabric ends the connections of NCCL alone.
    """
    result = function(fabric)
    if fabric.world_size > 1:
        gc.collect()  # the network, whose reducer holds the connections
        fabric.barrier()  # none leaves while another still reads
        torch.distributed.destroy_process_group()
    return result


class ProcessBatches:
    """The batches of one process; all processes have the same number."""

    def __init__(self, batches: EpochBatches, fabric: Fabric) -> None:
        rank, ranks = fabric.global_rank, fabric.world_size
        self._count = len(batches) // ranks
        if not self._count:
            raise RunError(
                f"{len(batches)} batches an epoch are not enough for {ranks} devices: give a smaller "
                "--batch-size"
            )
        self._batches, self._start, self._step = batches, rank, ranks
        if isinstance(batches, Placeable):
            self._batches, self._start, self._step = (
                batches.placed(fabric.device, rank, ranks),
                0,
                1,
            )

    def __len__(self) -> int:
        return self._count

    def epoch(self, number: int) -> Iterator[Batch]:
        """The batches of one epoch."""
        own = islice(self._batches.epoch(number), self._start, None, self._step)
        return islice(own, self._count)


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


def compile_parts(module: nn.Module) -> None:
    """Compile each direct part in place: a recipe's loss may call the parts one by one."""
    for part in module.children():
        if isinstance(part, (nn.ModuleList, nn.ModuleDict)):
            compile_parts(part)
        else:
            part.compile()


class TooLarge(Exception):
    """A training step did not fit into memory."""


def out_of_memory(error: BaseException) -> bool:
    """Whether `error` says that memory ran out."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(text in str(error) for text in _MESSAGES)


@contextmanager
def named_errors(run: Path, epoch: int, batches: int, *, halves: bool) -> Iterator[None]:
    """Name the cause of what ends an epoch of so many batches: `RunError` where the loss or a gradient is not
    finite or the network cannot be trained with these settings, `TooLarge` where memory is not enough and the
    batch `halves`."""
    try:
        yield
    except NotFinite as error:
        kept = f"{run / LAST} holds epoch {epoch - 1}" if epoch else "no epoch was saved"
        advice = "give --precision bf16-mixed or 32-true, " if error.scaled else ""
        raise RunError(
            f"{error.problem} in epoch {epoch}, batch {error.index} of {batches}; {kept}: {advice}lower the "
            "learning rate, or check that batch"
        ) from None
    except (RuntimeError, ValueError, MemoryError) as error:
        if out_of_memory(error) and halves:
            raise TooLarge(epoch) from None
        if isinstance(error, ValueError) and ONE_SAMPLE in str(error):
            raise RunError(
                "batch normalization needs more than one sample in a batch: give --batch-size 2 or more"
            ) from error
        from torch._dynamo.exc import TorchDynamoException

        if isinstance(error, TorchDynamoException):  # for want of a C++ compiler, for example
            raise RunError(f"--compile: {first_line(error)}") from error
        raise


def free_memory() -> None:
    """Free what nothing refers to any more."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def within_memory(
    compute: Callable[[], Result], batches: Sequence[Batch], report: Callable[[str], object]
) -> Result:
    """What `compute` makes of `batches`, which get half the size as long as they do not fit into memory.
    Raises `RunError` where one sample does not fit."""
    while True:
        try:
            with torch.no_grad():
                return compute()
        except (RuntimeError, MemoryError) as error:
            if not (out_of_memory(error) and isinstance(batches, ValidBatches)):
                raise
        # After the error, which holds what did not fit.
        if batches.halve() == 1:
            raise RunError(
                "one sample does not fit into memory in validation: give a smaller --size"
            )
        free_memory()
        report("out of memory in validation: it starts again with batches of half the size")


def halved(config: FitConfig) -> FitConfig:
    """Batches of at most half the size, accumulated so that each step sees as many samples as before. Raises
    `RunError` where a batch is already one sample."""
    if config.batch_size == 1:
        raise RunError(
            "one sample does not fit into memory: give a smaller --size, --checkpointing, a lower "
            "--precision, or a smaller network"
        )
    step = config.batch_size * config.accumulate
    size = next(n for n in range(config.batch_size // 2, 0, -1) if step % n == 0)
    return replace(config, batch_size=size, accumulate=step // size)


def recompute_activations(module: nn.Module) -> int:
    """Let the backward pass compute activations again instead of keeping them; returns in how many parts.

    Encoders with an attribute `checkpointing` do it themselves. Elsewhere it is every block in a chain of
    blocks of one class, except blocks with batch statistics: those would be updated twice.
    """
    own = [part for part in module.modules() if hasattr(type(part), "checkpointing")]
    for part in own:
        part.checkpointing = True  # type: ignore[assignment]
    inside = {id(inner) for part in own for inner in part.modules()}
    blocks = [
        block
        for chain in module.modules()
        if isinstance(chain, (nn.Sequential, nn.ModuleList)) and id(chain) not in inside
        for block in _same_blocks(chain)
    ]
    for block in blocks:
        _checkpoint_block(block)
    return len(own) + len(blocks)


def _same_blocks(chain: nn.Sequential | nn.ModuleList) -> list[nn.Module]:
    """The blocks of a chain where all are of one class that has parts."""
    blocks = list(chain)
    one_class = len(blocks) > 1 and len({type(block) for block in blocks}) == 1
    if not one_class or not any(True for _ in blocks[0].children()):
        return []
    norm = nn.modules.batchnorm._BatchNorm
    return [b for b in blocks if not any(isinstance(part, norm) for part in b.modules())]


def _checkpoint_block(block: nn.Module) -> None:
    original = block.forward

    def forward(*args: Any, **kwargs: Any) -> Any:
        if not (block.training and torch.is_grad_enabled()):
            return original(*args, **kwargs)
        return checkpoint(original, *args, use_reentrant=False, **kwargs)

    block.forward = forward  # type: ignore[method-assign]


def peak_megabytes(device: torch.device) -> dict[str, float]:
    """Peak memory of this process since its start in MB: ``ram``, except on Windows, and on a GPU ``gpu``."""
    peak = {}
    if sys.platform != "win32":
        import resource

        unit = 1 if sys.platform == "darwin" else 1024  # bytes
        peak["ram"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6
    if device.type == "cuda":
        peak["gpu"] = torch.cuda.max_memory_allocated(device) / 1e6
    return peak
