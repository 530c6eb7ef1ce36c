"""What a recipe builds: one encoder for each modality, and a head over what they give.

The same parts become the engines of a bundle: each encoder one ONNX file, the head another. So an
encoder never sees another modality, and the head sees only sequences of embeddings with masks:
``video (N, T, D)``, ``voice (N, T, D)``, ``text (N, T, D)``, each with ``*_mask (N, T)`` bool, and
``metadata (N, D)`` with ``metadata_mask (N, D)``. A pooled encoder gives T = 1. A mask that is all
false is an absent modality, and its numbers are zeros.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from affectstream.train.config import Value as Value

INPUTS = ("video", "voice", "text", "metadata")
"""What a head may take, in this order."""
TOGETHER = 64
"""Pictures encoded at a time where no gradients are kept."""


class VideoEncoder(nn.Module):
    """Pictures (M, S, S, 3), uint8 or float32 in [0, 255], RGB, to embeddings (M, `width`) float32.

    Greying, scaling and normalising are inside, so that every runtime does the same.
    """

    width: int
    size: int
    """S, in pixels."""
    also: tuple[str, ...] = ()
    """Names of what `forward` returns after the embedding (attention maps, to explain with)."""


class VoiceEncoder(nn.Module):
    """Sound (N, `samples`) float32 in [-1, 1] at 16 kHz to (N, `steps`, `width`) float32."""

    width: int
    steps: int
    samples: int


class TextEncoder(nn.Module):
    """Tokens (N, `tokens`) int64 and their mask (N, `tokens`) bool to (N, `steps`, `width`) float32.

    `steps` is 1, or `tokens`: then the mask of the tokens is that of the sequence.
    """

    width: int
    steps: int
    tokens: int


class Head(nn.Module):
    """Sequences to numbers: `forward(inputs)` gives (N, outputs) float32.

    `inputs` holds each of `takes` and its mask, as this module's docstring says. A row without any
    modality must give finite numbers.
    """

    takes: tuple[str, ...]
    """Of `INPUTS`, in their order."""

    def forward(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """See the class."""
        raise NotImplementedError


class LastLayer(nn.Linear):
    """The last layer of a head, or of one of its paths: its columns are those of the tasks, so it stays
    behind where a network that is started from told something else."""


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
        """What the head takes.

        `batch` holds ``pixels (N, T, S, S, 3)`` and ``video_mask (N, T)``, ``samples (N, L)`` and
        ``voice_mask (N, 1)``, ``ids (N, L)``, ``tokens_mask (N, L)`` and ``text_mask (N, 1)``, as far as
        there are encoders for them, and ``metadata``, ``metadata_mask`` where the head takes those.
        Masked pictures are not computed.
        """
        inputs: dict[str, Tensor] = {}
        if self.video is not None:
            inputs["video"], inputs["video_mask"] = self._watch(self.video, batch)
        if self.voice is not None:
            inputs |= _sequence("voice", self.voice(batch["samples"]), batch["voice_mask"])
        if self.text is not None:
            found = self.text(batch["ids"], batch["tokens_mask"])
            mask = batch["text_mask"]
            if found.shape[1] > 1:
                mask = mask & batch["tokens_mask"]
            inputs |= _sequence("text", found, mask)
        if "metadata" in self.head.takes:
            mask = batch["metadata_mask"]
            inputs |= {"metadata": batch["metadata"] * mask, "metadata_mask": mask}
        return inputs

    @staticmethod
    def _watch(encoder: VideoEncoder, batch: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        pixels, mask = batch["pixels"], batch["video_mask"]
        out = torch.zeros(*mask.shape, encoder.width, device=pixels.device)
        if mask.any():
            found = _looked(encoder, pixels[mask])
            out = out.to(found.dtype).masked_scatter(mask.unsqueeze(2), found)
        return out, mask


def _looked(encoder: VideoEncoder, pictures: Tensor) -> Tensor:
    """Embeddings of pictures; a few at a time where nothing is learned, so that windows need not fit."""
    together = len(pictures) if torch.is_grad_enabled() else TOGETHER
    found = [encoder(part) for part in pictures.split(together)]
    return torch.cat([part[0] if encoder.also else part for part in found])


def _sequence(name: str, found: Tensor, mask: Tensor) -> dict[str, Tensor]:
    mask = mask.expand(found.shape[:2])
    return {name: found * mask.unsqueeze(2), f"{name}_mask": mask}


def masked_mean(sequence: Tensor, mask: Tensor) -> Tensor:
    """Mean over the steps (N, T, D) that `mask` (N, T) bool lets through; zeros where none: (N, D)."""
    weights = mask.unsqueeze(2).to(sequence.dtype)
    return (sequence * weights).sum(1) / weights.sum(1).clamp(min=1.0)


@dataclass(frozen=True, slots=True)
class Plan:
    """What a network is to be made for. A recipe's `build` turns it into a `Network`."""

    outputs: int
    """Columns of the head: those of all tasks together."""
    size: int = 224
    """Side of the pictures."""
    frames: int = 24
    """T of the video in a window."""
    samples: int = 48_000
    """Of sound, in a window."""
    tokens: int = 64
    vocabulary: int = 30_522
    """Pieces that the tokenizer knows."""
    metadata: int = 0
    """Numbers that describe the speaker; 0 where the head takes none."""
    grey: bool = False
    """What is learned from has no colour, so none must be seen later either."""
    options: Mapping[str, Value] = field(default_factory=dict)
    """Every option of the recipe (`--set NAME=VALUE`), given or default."""
    weights: Mapping[str, str] = field(default_factory=dict)
    """For each backbone of the recipe a public name, a local path, or ``none`` for random weights."""
    fetch: bool = True
    """Whether to read those weights. False where a checkpoint brings the numbers: then the same network
    is built without them, and nothing need be at hand."""


@dataclass(frozen=True, slots=True)
class Phase:
    """A stretch of training. Prefixes are of parameter names: ``video.backbone``.

    Phases count only for a network that starts from pretrained weights: what is random has to learn
    from the start.
    """

    epochs: int | None
    """None: all that are left."""
    frozen: tuple[str, ...] = ()
    """Prefixes that do not learn (and whose batch statistics stay)."""
    rates: Mapping[str, float] = field(default_factory=dict)
    """Shares of the learning rate, by prefix; everything else learns at 1."""
