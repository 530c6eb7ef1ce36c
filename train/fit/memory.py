"""Memory of a run: what to do when it is not enough, and how much was used."""

from __future__ import annotations

import resource
from dataclasses import replace
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from affectstream.train.config import FitConfig
from affectstream.train.errors import RunError

_SAID = ("can't allocate memory", "out of memory", "CUBLAS_STATUS_ALLOC_FAILED")
"""How allocators that raise a plain RuntimeError put it: the CPU's, CUDA's libraries."""


class TooLarge(Exception):
    """A training step did not fit into memory."""

    def __init__(self, epoch: int) -> None:
        super().__init__(epoch)
        self.epoch = epoch


def out_of_memory(error: BaseException) -> bool:
    """Whether `error` is an allocator's."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(said in str(error) for said in _SAID)


def halved(config: FitConfig) -> FitConfig:
    """Batches of half the size or less, and as many more to a step: each step sees as much as before.

    Raises `RunError` where a batch is one sample already.
    """
    if config.batch_size == 1:
        raise RunError(
            "one sample does not fit into memory: give a smaller --size, --checkpointing, a lower "
            "--precision, or a smaller network"
        )
    step = config.batch_size * config.accumulate
    batch = next(n for n in range(config.batch_size // 2, 0, -1) if step % n == 0)
    return replace(config, batch_size=batch, accumulate=step // batch)


def recompute(module: nn.Module) -> int:
    """Have activations computed again in the backward pass instead of kept; returns in how many parts.

    An encoder with a switch of its own, `checkpointing`, does it as that says. Elsewhere it is every block of
    a chain of like blocks. Blocks with batch statistics are left out: those would be gathered twice.
    """
    own = [part for part in module.modules() if hasattr(type(part), "checkpointing")]
    for part in own:
        part.checkpointing = True  # type: ignore[assignment]
    inside = {id(inner) for part in own for inner in part.modules()}
    blocks = [
        block
        for chain in module.modules()
        if isinstance(chain, (nn.Sequential, nn.ModuleList)) and id(chain) not in inside
        for block in _alike(chain)
    ]
    for block in blocks:
        _recomputed(block)
    return len(own) + len(blocks)


def _alike(chain: nn.Sequential | nn.ModuleList) -> list[nn.Module]:
    """Blocks of a chain, where they are of one class with parts of their own."""
    blocks = list(chain)
    one_class = len(blocks) > 1 and len({type(block) for block in blocks}) == 1
    if not one_class or not any(True for _ in blocks[0].children()):
        return []
    norm = nn.modules.batchnorm._BatchNorm
    return [b for b in blocks if not any(isinstance(part, norm) for part in b.modules())]


def _recomputed(block: nn.Module) -> None:
    plain = block.forward

    def forward(*args: Any, **kwargs: Any) -> Any:
        if not (block.training and torch.is_grad_enabled()):
            return plain(*args, **kwargs)
        return checkpoint(plain, *args, use_reentrant=False, **kwargs)

    block.forward = forward  # type: ignore[method-assign]


def peak_megabytes(device: torch.device) -> dict[str, float]:
    """The most memory that this process has held since it began, ``ram``, and on a GPU ``gpu``."""
    found = {"ram": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6}
    if device.type == "cuda":
        found["gpu"] = torch.cuda.max_memory_allocated(device) / 1e6
    return found
