"""Methods of Captum: Grad-CAM, integrated gradients of sound and words, occlusion of the waveform.

Grad-CAM: Selvaraju et al., ICCV 2017. Integrated gradients: Sundararajan et al., ICML 2017.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from captum.attr import (
    IntegratedGradients,
    LayerGradCam,
    LayerIntegratedGradients,
    Occlusion,
)
from numpy.typing import NDArray
from torch import Tensor, nn

from affectstream.stream.media.types import SAMPLE_RATE
from affectstream.train.networks.mel import LogMel
from affectstream.train.networks.network import Network

Values = NDArray[np.float64]
_STEPS, _AT_ONCE = 32, 8
_WORDS = "pieces", "word_embeddings"
"""What networks of words call the embedding of a token."""
_BIN = SAMPLE_RATE // 20
"""Samples of a step, for networks of the waveform; twice as many are hidden at once."""


class PartialNetwork:
    """One row of a batch through a network, with one modality changed and the others as they are."""

    def __init__(self, network: Network, batch: Mapping[str, Tensor]) -> None:
        self.network, self.batch = network, batch
        with torch.no_grad():
            self._inputs = network.encode(batch)

    def with_pixels(self, pixels: Tensor) -> Tensor:
        """Outputs (1, outputs) for other `pixels` (1, T, S, S, 3)."""
        return self.network({**self.batch, "pixels": pixels})

    def with_sound(self, samples: Tensor) -> Tensor:
        """Outputs (n, outputs) for each row of `samples` (n, L)."""
        assert self.network.voice is not None
        found = self.network.voice(samples)
        mask = self.batch["voice_mask"].expand(len(samples), found.shape[1])
        return self._head({"voice": found * mask.unsqueeze(2), "voice_mask": mask})

    def with_words(self, ids: Tensor, tokens_mask: Tensor | None = None) -> Tensor:
        """Outputs (n, outputs) for each row of `ids` (n, L), with the mask of the batch or another one."""
        assert self.network.text is not None
        known = self.batch["tokens_mask"] if tokens_mask is None else tokens_mask
        known = known.expand(len(ids), -1)
        found = self.network.text(ids, known)
        mask = known.any(1, keepdim=True) & self.batch["text_mask"]
        mask = mask & known if found.shape[1] > 1 else mask.expand(-1, found.shape[1])
        return self._head({"text": found * mask.unsqueeze(2), "text_mask": mask})

    def _head(self, changed: Mapping[str, Tensor]) -> Tensor:
        rows = len(next(iter(changed.values())))
        rest = {
            name: value.expand(rows, *value.shape[1:])
            for name, value in self._inputs.items()
            if name not in changed
        }
        return self.network.head({**rest, **changed})


def grad_cam(part: PartialNetwork, column: int) -> tuple[str, Values] | None:
    """The layer's name and a map (pictures, h, w) of what speaks for (positive) or against an output.

    The layer is the last one of the face encoder whose output is a map of several channels. None for a
    network that has none, such as a transformer.
    """
    encoder = part.network.video
    assert encoder is not None
    found = _last_map(encoder, part.batch)
    if found is None:
        return None
    name, layer = found
    pixels = part.batch["pixels"].float().clone().requires_grad_()
    values = LayerGradCam(part.with_pixels, layer).attribute(pixels, target=column)
    return name, np.asarray(values.detach().double().cpu().numpy()[:, 0])


def _last_map(encoder: nn.Module, batch: Mapping[str, Tensor]) -> tuple[str, nn.Module] | None:
    """The last layer of `encoder` that gives maps (M, C, h, w) of several channels, larger than 1 x 1."""
    found: list[tuple[str, nn.Module]] = []

    def keep(name: str) -> object:
        def hook(module: nn.Module, arguments: object, output: object) -> None:
            shape = output.shape if isinstance(output, Tensor) else ()
            if len(shape) == 4 and min(shape[1:]) > 1:
                found.append((name, module))

        return hook

    # Whole blocks too: the output of a residual block is that of none of its layers.
    inner = [(name, module) for name, module in encoder.named_modules() if name]
    handles = [module.register_forward_hook(keep(name)) for name, module in inner]  # type: ignore[arg-type]
    with torch.no_grad():
        encoder(batch["pixels"].flatten(0, 1)[:1])
    for handle in handles:
        handle.remove()
    # Captum needs the output of a layer to be left as it is by what follows.
    steady = [one for one in found if not getattr(one[1], "inplace", False)]
    return (steady or found)[-1] if found else None


@dataclass(frozen=True, slots=True, eq=False)
class SoundSaliency:
    """What in the sound speaks for an output."""

    layer: str
    """``mel`` for a network of log-mels, ``samples`` for one of the waveform."""
    level: Values
    """(bands, steps): log-mels, or one row of the level of each 50 ms in natural logarithms."""
    values: Values
    """(bands, steps). Of log-mels: integrated gradients from a steady sound with the same mean spectrum; they
    add up to the change of the output. Of the waveform: how far the output falls without that stretch."""


def sound_saliency(part: PartialNetwork, column: int) -> SoundSaliency:
    """The saliency of the voice, over its log-mels where the network has them.

    Silence is no baseline: networks normalize the loudness, so on the way to it nothing changes until all
    changes at once.
    """
    assert part.network.voice is not None
    mel = next((m for m in part.network.voice.modules() if isinstance(m, LogMel)), None)
    samples = part.batch["samples"].float()
    if mel is None:
        return _of_waveform(part, samples, column)
    with torch.no_grad():
        level = mel(samples)
    steady = level.mean(2, keepdim=True).expand_as(level)

    def from_mel(values: Tensor) -> Tensor:
        handle = mel.register_forward_hook(lambda *_: values)
        try:
            return part.with_sound(samples.expand(len(values), -1))
        finally:
            handle.remove()

    values = IntegratedGradients(from_mel).attribute(
        level, steady, target=column, n_steps=_STEPS, internal_batch_size=_AT_ONCE
    )
    return SoundSaliency("mel", _numbers(level[0]), _numbers(values[0]))


def _of_waveform(part: PartialNetwork, samples: Tensor, column: int) -> SoundSaliency:
    with torch.no_grad():
        values = Occlusion(part.with_sound).attribute(
            samples, (2 * _BIN,), strides=(_BIN,), target=column, perturbations_per_eval=_AT_ONCE
        )[0]
    whole = samples.shape[1] // _BIN * _BIN
    power = samples[0, :whole].unflatten(0, (-1, _BIN)).square().mean(1)
    of_bins = values[:whole].unflatten(0, (-1, _BIN)).mean(1)
    return SoundSaliency("samples", _numbers((power + 1e-10).log()[None]), _numbers(of_bins[None]))


@dataclass(frozen=True, slots=True, eq=False)
class TokenSaliency:
    """What each token of the line says for an output."""

    without: Values
    """(tokens,): how far the output falls if the token is masked."""
    gradients: Values | None
    """(tokens,): integrated gradients of its embedding, from the padding's; None where the network has no
    embedding of words."""


def token_saliency(part: PartialNetwork, column: int) -> TokenSaliency:
    """The effect of each token of the line that the mask lets through."""
    assert part.network.text is not None
    ids, mask = part.batch["ids"], part.batch["tokens_mask"]
    places = mask[0].nonzero().flatten()
    rows = mask.expand(len(places), -1).clone()
    rows[torch.arange(len(places)), places] = False
    with torch.no_grad():
        full = part.with_words(ids)[0, column]
        without = full - part.with_words(ids.expand(len(places), -1), rows)[:, column]
    embedding = _word_embedding(part.network.text)
    gradients = None
    if embedding is not None:
        method = LayerIntegratedGradients(part.with_words, embedding)
        found = method.attribute(
            ids, torch.zeros_like(ids), target=column, n_steps=_STEPS, internal_batch_size=_AT_ONCE
        )
        gradients = _numbers(found[0].sum(-1)[places])
    return TokenSaliency(_numbers(without), gradients)


def _word_embedding(text: nn.Module) -> nn.Module | None:
    """The embedding of single tokens, by its name."""
    return next((m for n, m in text.named_modules() if n.rpartition(".")[2] in _WORDS), None)


def _numbers(values: Tensor) -> Values:
    return np.asarray(values.detach().double().cpu().numpy())
