"""Attention of vision transformers: of each layer and head, how much heads differ, and rollout.

Rollout: Abnar and Zuidema, Quantifying Attention Flow in Transformers, ACL 2020.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from numpy.typing import NDArray
from torch import Tensor, nn

Weights = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class LayerAttention:
    """What one layer of a vision transformer attended to, in each picture."""

    name: str
    weights: Weights
    """(pictures, heads, tokens, tokens): each row adds up to 1; token 0 is the class token."""

    @property
    def side(self) -> int:
        """Patches down and across the picture."""
        return round((self.weights.shape[-1] - 1) ** 0.5)

    @property
    def maps(self) -> Weights:
        """(pictures, heads, side, side): how much the class token takes from each patch."""
        return self.weights[:, :, 0, 1:].reshape(*self.weights.shape[:2], self.side, self.side)

    @property
    def diversity(self) -> float:
        """How differently the heads look: the mean Jensen-Shannon divergence between two of them, over the
        patches, in bits. 0: all alike; 1: no two share a patch. Not a number with a single head."""
        shares = self.weights[:, :, 0, 1:]
        shares = shares / shares.sum(-1, keepdims=True)
        heads = shares.shape[1]
        pairs = [(a, b) for a in range(heads) for b in range(a)]
        if not pairs:
            return float("nan")
        found = [_divergence(shares[:, a], shares[:, b]) for a, b in pairs]
        return float(np.mean(found))

    @property
    def spread(self) -> list[float]:
        """For each head, the entropy over the patches as a share of the largest: 1 if it looks everywhere
        alike, 0 at a single patch."""
        shares = self.weights[:, :, 0, 1:]
        shares = shares / shares.sum(-1, keepdims=True)
        entropy = -(shares * np.log(np.maximum(shares, 1e-12))).sum(-1) / np.log(shares.shape[-1])
        return [float(value) for value in entropy.mean(0)]


def _divergence(one: Weights, other: Weights) -> float:
    """Jensen-Shannon divergence of rows (n, k), in bits, the mean of all rows."""
    middle = (one + other) / 2

    def to_middle(shares: Weights) -> Weights:
        ratio = np.log2(np.maximum(shares, 1e-12) / np.maximum(middle, 1e-12))
        return np.asarray((shares * ratio).sum(-1))

    return float(((to_middle(one) + to_middle(other)) / 2).mean())


def rollout(layers: list[LayerAttention]) -> Weights:
    """(pictures, side, side): how much of each patch reaches the class token through all layers.

    Each layer passes on half of a token itself (the residual connection), and half by the mean attention of
    its heads.
    """
    pictures, _, tokens, _ = layers[0].weights.shape
    flow = np.broadcast_to(np.eye(tokens), (pictures, tokens, tokens))
    for layer in layers:
        step = 0.5 * layer.weights.mean(1) + 0.5 * np.eye(tokens)
        flow = step / step.sum(-1, keepdims=True) @ flow
    side = layers[0].side
    found = flow[:, 0, 1:].reshape(pictures, side, side)
    return np.asarray(found / found.sum((1, 2), keepdims=True))


@contextmanager
def recorded_attention(encoder: nn.Module) -> Iterator[list[LayerAttention]]:
    """Collect the attention of every layer of `encoder` that runs within, in the order of the layers.

    Knows torch's `MultiheadAttention` and layers that have `heads` and one linear layer `qkv`.
    """
    found: list[LayerAttention] = []

    def keep(name: str, weights: Tensor) -> None:
        found.append(LayerAttention(name, weights.detach().double().cpu().numpy()))

    with ExitStack() as hooks:
        for name, module in encoder.named_modules():
            if isinstance(module, nn.MultiheadAttention):
                handle = module.register_forward_pre_hook(_want_weights, with_kwargs=True)
                hooks.callback(handle.remove)
                handle = module.register_forward_hook(_keep_output(name, keep))
                hooks.callback(handle.remove)
            elif isinstance(getattr(module, "qkv", None), nn.Linear):
                handle = module.qkv.register_forward_hook(
                    _keep_product(name, int(module.heads), keep)
                )
                hooks.callback(handle.remove)
        yield found


def _want_weights(
    module: nn.Module, arguments: tuple[Any, ...], named: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    return arguments, {**named, "need_weights": True, "average_attn_weights": False}


def _keep_output(name: str, keep: Any) -> Any:
    def hook(module: nn.Module, arguments: Any, output: tuple[Tensor, Tensor]) -> None:
        keep(name, output[1])

    return hook


def _keep_product(name: str, heads: int, keep: Any) -> Any:
    def hook(module: nn.Module, arguments: Any, output: Tensor) -> None:
        rows, tokens, width = output.shape
        each = width // 3 // heads
        query, key, _ = (
            part.reshape(rows, tokens, heads, each).transpose(1, 2) for part in output.chunk(3, -1)
        )
        keep(name, F.softmax(query @ key.transpose(2, 3) * each**-0.5, dim=-1))

    return hook


def attention_of(encoder: nn.Module, pictures: Tensor) -> list[LayerAttention]:
    """The attention of each layer of `encoder` in `pictures`; empty for a network without such layers."""
    with torch.no_grad(), recorded_attention(encoder) as found:
        encoder(pictures)
    return found
