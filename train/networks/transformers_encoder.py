"""What encoders over a model of transformers share: weights that may be frozen, and memory that may be
saved."""

from __future__ import annotations

from typing import Any, Self

import torch
from torch import nn


def shapes_are_fixed() -> bool:
    """Whether a graph is being made, which must not depend on the numbers that pass through it."""
    return torch.onnx.is_in_onnx_export() or torch.compiler.is_compiling()


class TransformersEncoder(nn.Module):
    """An encoder whose `backbone` is a model of transformers."""

    backbone: Any

    def take(self, backbone: Any, *, frozen: bool) -> None:
        """Make it the backbone. `frozen` weights do not learn and have no dropout."""
        self.backbone, self.frozen = backbone, frozen
        backbone.requires_grad_(not frozen)
        backbone.train(not frozen)

    @property
    def checkpointing(self) -> bool:
        """Whether activations are computed again in the backward pass instead of kept."""
        return bool(self.backbone.is_activation_checkpointing)

    @checkpointing.setter
    def checkpointing(self, on: bool) -> None:
        if on:
            self.backbone.activation_checkpointing_enable()
        else:
            self.backbone.activation_checkpointing_disable()

    def train(self, mode: bool = True) -> Self:
        """As ever, but what is frozen stays as it is served."""
        super().train(mode)
        self.backbone.train(mode and not self.frozen)
        return self
