"""Memory of a run: what to do when there is not enough, and how much was used."""

from __future__ import annotations

import resource
from dataclasses import replace
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from affectstream.train.config import FitConfig
from affectstream.train.errors import RunError

_MESSAGES = ("can't allocate memory", "out of memory", "CUBLAS_STATUS_ALLOC_FAILED")
"""In the plain RuntimeErrors of the CPU's allocator and of CUDA's libraries."""


class TooLarge(Exception):
    """A training step did not fit into memory."""

    def __init__(self, epoch: int) -> None:
        super().__init__(epoch)
        self.epoch = epoch


def out_of_memory(error: BaseException) -> bool:
    """Whether `error` says that memory ran out."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(text in str(error) for text in _MESSAGES)


def halved(config: FitConfig) -> FitConfig:
    """Batches of at most half the size, accumulated so that each step sees as many samples as before.

    Raises `RunError` where a batch is already one sample.
    """
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
    """Peak memory of this process since its start in MB: ``ram``, and on a GPU ``gpu``."""
    peak = {"ram": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6}
    if device.type == "cuda":
        peak["gpu"] = torch.cuda.max_memory_allocated(device) / 1e6
    return peak
