"""What a recipe builds: one encoder for each modality, and a head over their embeddings.

Each encoder becomes one ONNX file of a bundle, and the head another. So an encoder never sees another
modality, and the head sees only sequences of embeddings with masks: ``video (N, T, D)``, ``voice (N, T, D)``,
``text (N, T, D)``, each with ``*_mask (N, T)`` bool, and ``metadata (N, D)`` with ``metadata_mask (N,
D)``. An encoder that pools gives T = 1. If a mask is all false, the modality is absent and its numbers
are zeros.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from affectstream.train.config import Value as Value

INPUTS = ("video", "voice", "text", "metadata")
"""What a head may take, in this order."""
ENCODED_AT_ONCE = 64 * 224 * 224
"""Pixels that are encoded in one call if no gradients are needed."""


class Encoder(nn.Module):
    """An encoder of one modality.

    One that is `finish(*features(...))`, with one embedding for each input, names its `last_layers`: then
    they can be fitted alone, to `features` that are computed once (`affectstream teach`).
    """

    last_layers: tuple[str, ...] = ()
    """Prefixes of the parameters in `finish`; empty if the encoder is not divided."""
    features: Callable[..., tuple[Tensor, ...]]
    """From the inputs to what the last layers take."""
    finish: Callable[..., Tensor]
    """From `features` to the embeddings."""


class VideoEncoder(Encoder):
    """Pictures (M, S, S, 3), uint8 or float32 in [0, 255], RGB, to embeddings (M, `width`) float32.
    Conversion to grey and normalization are part of the encoder, so that every runtime does the same."""

    width: int
    size: int
    """S, in pixels."""
    extra_outputs: tuple[str, ...] = ()
    """Names of what `forward` returns after the embedding, such as attention maps."""


class VoiceEncoder(Encoder):
    """Sound (N, `samples`) float32 in [-1, 1] at 16 kHz to (N, `steps`, `width`) float32."""

    width: int
    steps: int
    samples: int


class TextEncoder(Encoder):
    """Tokens (N, `tokens`) int64 and their mask (N, `tokens`) bool to (N, `steps`, `width`) float32. `steps`
    is 1, or `tokens`: then the mask of the tokens is that of the sequence."""

    width: int
    steps: int
    tokens: int


class Head(nn.Module):
    """Sequences to numbers: `forward(inputs)` gives (N, outputs) float32. `inputs` holds each of `takes` and
    its mask, as this module's docstring says. A row without any modality must give finite numbers."""

    takes: tuple[str, ...]
    """Of `INPUTS`, in their order."""

    def forward(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """See the class."""
        raise NotImplementedError


class LastLayer(nn.Linear):
    """The last layer of a head, or of one of its paths. Its columns are those of the tasks, so its
    weights are not loaded from a network that was trained for other tasks or labels."""


class Network(nn.Module):
    """Encoders by modality, and the head."""

    def __init__(
        self,
        head: Head,
        *,
        video: VideoEncoder | None = None,
        voice: VoiceEncoder | None = None,
        text: TextEncoder | None = None,
    ) -> None:
        super().__init__()
        self.head = head
        self.video, self.voice, self.text = video, voice, text

    @property
    def modalities(self) -> tuple[str, ...]:
        """Those with an encoder, in the order of `INPUTS`."""
        return tuple(name for name in INPUTS[:3] if getattr(self, name) is not None)

    def forward(self, batch: Mapping[str, Tensor]) -> Tensor:
        """A batch to (N, outputs): see `encode` for what it holds."""
        return self.head(self.encode(batch))

    def encode(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The inputs of the head.

        `batch` holds ``pixels (N, T, S, S, 3)`` and ``video_mask (N, T)``, ``samples (N, L)`` and
        ``voice_mask (N, 1)``, ``ids (N, L)``, ``tokens_mask (N, L)`` and ``text_mask (N, 1)`` for the
        encoders that there are, and ``metadata``, ``metadata_mask`` if the head takes them. Masked
        pictures are not encoded; without a ``video_mask`` none is masked.
        """
        inputs: dict[str, Tensor] = {}
        if self.video is not None:
            inputs |= _encode_video(self.video, batch["pixels"], batch.get("video_mask"))
        if self.voice is not None:
            inputs |= _masked("voice", self.voice(batch["samples"]), batch["voice_mask"])
        if self.text is not None:
            embeddings = self.text(batch["ids"], batch["tokens_mask"])
            mask = batch["text_mask"]
            if embeddings.shape[1] > 1:
                mask = mask & batch["tokens_mask"]
            inputs |= _masked("text", embeddings, mask)
        if "metadata" in self.head.takes:
            mask = batch["metadata_mask"]
            inputs |= {"metadata": batch["metadata"] * mask, "metadata_mask": mask}
        return inputs


def _encode_video(encoder: VideoEncoder, pixels: Tensor, mask: Tensor | None) -> dict[str, Tensor]:
    """``video (N, T, D)``, embeddings of the pictures that `mask` lets through, zeros elsewhere, and
    ``video_mask (N, T)``."""
    if mask is None:  # counting what a mask lets through would make the CPU wait for the GPU
        found = encoder(pixels.flatten(0, 1))
        found = (found[0] if encoder.extra_outputs else found).unflatten(0, pixels.shape[:2])
        mask = torch.ones(pixels.shape[:2], dtype=torch.bool, device=pixels.device)
        return {"video": found, "video_mask": mask}
    out = torch.zeros(*mask.shape, encoder.width, device=pixels.device)
    if not mask.any():
        return {"video": out, "video_mask": mask}
    pictures = pixels[mask]
    # Without gradients a few at a time, so that long windows need not fit into memory.
    few = max(1, ENCODED_AT_ONCE // pictures[0, ..., 0].numel())
    size = len(pictures) if torch.is_grad_enabled() else few
    parts = [encoder(part) for part in pictures.split(size)]
    found = torch.cat([part[0] if encoder.extra_outputs else part for part in parts])
    out = out.to(found.dtype).masked_scatter(mask.unsqueeze(2), found)
    return {"video": out, "video_mask": mask}


def _masked(name: str, embeddings: Tensor, mask: Tensor) -> dict[str, Tensor]:
    mask = mask.expand(embeddings.shape[:2])
    return {name: embeddings * mask.unsqueeze(2), f"{name}_mask": mask}


def masked_mean(sequence: Tensor, mask: Tensor) -> Tensor:
    """Mean over the steps (N, T, D) that `mask` (N, T) bool lets through; zeros if none: (N, D)."""
    weights = mask.unsqueeze(2).to(sequence.dtype)
    return (sequence * weights).sum(1) / weights.sum(1).clamp(min=1.0)


@dataclass(frozen=True, slots=True)
class NetworkSpec:
    """What a network's constructor needs. A recipe's `build` turns it into a `Network`."""

    outputs: int
    """Columns of the head: those of all tasks together."""
    size: int = 224
    """Side of the pictures, in pixels."""
    frames: int = 24
    """T of the video in a window."""
    samples: int = 48_000
    """Samples of sound in a window."""
    tokens: int = 64
    vocabulary: int = 30_522
    """Tokens that the tokenizer knows."""
    tokenizer: str = ""
    """The text of `tokenizer.json`; empty without text."""
    metadata: int = 0
    """Numbers that describe the speaker; 0 if the head takes none."""
    grey: bool = False
    """The training pictures have no color, so color is removed from all pictures."""
    options: Mapping[str, Value] = field(default_factory=dict)
    """Every option of the recipe (`--set NAME=VALUE`), given or default."""
    weights: Mapping[str, str] = field(default_factory=dict)
    """For each backbone of the recipe a public name, a local path, or ``none`` for random weights."""
    load_weights: bool = True
    """Whether to read `weights`. False if a checkpoint brings the numbers: then the same network is built
    without them, and the sources need not be there."""


@dataclass(frozen=True, slots=True)
class Phase:
    """A part of a training run in which some parameters are frozen or learn more slowly.

    Parts of the network are named by prefixes of parameter names, such as ``video.backbone``. A network with
    random weights has no phases: everything has to learn from the start.
    """

    epochs: int | None
    """None: all epochs that are left."""
    frozen: tuple[str, ...] = ()
    """Prefixes that do not learn (and keep their batch statistics)."""
    rates: Mapping[str, float] = field(default_factory=dict)
    """Factors of the learning rate, by prefix; 1 for everything else."""


def frozen_first(epochs: int, *backbones: str) -> tuple[Phase, ...]:
    """`backbones` are frozen for `epochs` epochs; then they learn at a tenth of the rate."""
    return Phase(epochs, frozen=backbones), Phase(None, rates=dict.fromkeys(backbones, 0.1))
