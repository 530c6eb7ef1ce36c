"""The base of encoders over a model of transformers: frozen weights and activation checkpointing."""

from __future__ import annotations

from typing import Any, Self

import torch
from torch import nn


def is_exporting() -> bool:
    """Whether a graph is being traced or compiled, so that shapes must not depend on values."""
    return torch.onnx.is_in_onnx_export() or torch.compiler.is_compiling()


class TransformersEncoder(nn.Module):
    """An encoder whose `backbone` is a model of transformers."""

    backbone: Any

    def set_backbone(self, backbone: Any, *, frozen: bool) -> None:
        """Use this backbone. A `frozen` one does not learn and has no dropout."""
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
        """As `nn.Module.train`, but a frozen backbone stays in evaluation mode."""
        super().train(mode)
        self.backbone.train(mode and not self.frozen)
        return self
