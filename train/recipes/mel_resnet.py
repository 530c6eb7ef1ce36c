"""`mel_resnet`: a small residual network over log-mels with attention over time, from scratch.

Three seconds of sound to one embedding. The encoder normalizes loudness and hides what is far below the
voice, so that pauses and the zeros before a short clip have no effect. It sees the log-mels twice: as they
are, and with the mean of each band over the speech taken off, which takes off the color of a room, a
microphone and a line too. Two attention weightings each pool mean and deviation over time.

In training the sound is augmented (`augment_sound.augment`), then tempo, pitch, color, loudness, bandwidth
and noise change at random on the log-mels (``mel_change=1``), and SpecAugment hides parts of them. Every
corpus, emotion and speaker is drawn equally often.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn
from torchvision.ops import Conv2dNormActivation

from affectstream.train.loader.augment_sound import BARS, change_mel, spec_augment
from affectstream.train.networks.mel import BANDS, LogMel
from affectstream.train.networks.network import Network, NetworkSpec, Value, VoiceEncoder
from affectstream.train.onnx.stored_weights import store_weights_as_half
from affectstream.train.recipe import FitConfig
from affectstream.train.recipes.documented.mel_cnn import voice_network
from affectstream.train.recipes.net_recipe import NetRecipe

DECIBEL = math.log(10.0) / 10.0
DEEPEST_DB, ACTIVE_DB = 65.0, 35.0
"""Cells more than so far below the loudest are raised; frames within so much of it count as speech."""
OPTIONS: Mapping[str, Value] = {
    "mel_first": 32,
    "mel_second": 56,
    "mel_third": 112,
    "mel_last": 176,
    "mel_width": 192,
    "mel_change": 1,
    "mel_bars": BARS,
}
"""Channels of the stem and the three stages, numbers of the embedding, and what augments."""
WIDTHS = tuple(OPTIONS)[:5]
WEIGHTINGS = 2
"""Of attention over time."""
TINY: Mapping[str, Value] = dict(zip(WIDTHS, (4, 6, 8, 8, 16), strict=True))


def level(mel: Tensor) -> Tensor:
    """Normalize the loudness of log-mels (N, bands, frames): (N, 2, bands, frames), about [-4, 3].

    In the first channel the mean over the frames of speech becomes zero, in the second that of each band.
    Digital silence becomes all zeros.
    """
    mel = torch.maximum(mel, mel.amax((1, 2), keepdim=True) - DEEPEST_DB * DECIBEL)
    loudness = mel.amax(1, keepdim=True)
    active = (loudness >= loudness.amax(2, keepdim=True) - ACTIVE_DB * DECIBEL).to(mel.dtype)
    of_bands = (mel * active).sum(2, keepdim=True) / active.sum(2, keepdim=True)
    means = torch.stack([of_bands.mean(1, keepdim=True).expand_as(of_bands), of_bands], 1)
    return (mel.unsqueeze(1) - means) / 3.0


class Block(nn.Module):
    """Two 3x3 convolutions and a shortcut, with a stride over bands and frames."""

    def __init__(self, inputs: int, outputs: int, stride: tuple[int, int], drop: float) -> None:
        super().__init__()
        self.body = nn.Sequential(
            Conv2dNormActivation(inputs, outputs, 3, stride),
            nn.Dropout2d(drop),
            Conv2dNormActivation(outputs, outputs, 3, activation_layer=None),
        )
        self.shortcut = nn.Sequential(
            nn.AvgPool2d(stride, ceil_mode=True, count_include_pad=False),
            Conv2dNormActivation(inputs, outputs, 1, activation_layer=None),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(N, Cin, bands, frames) to (N, Cout, bands / stride, frames / stride)."""
        return F.relu(self.body(x) + self.shortcut(x))


class AttentiveStatistics(nn.Sequential):
    """Attention weightings over time, each of which pools mean and deviation (after Okabe et al., 2018)."""

    def __init__(self, width: int, hidden: int = 48) -> None:
        super().__init__(nn.Conv1d(width, hidden, 1), nn.Tanh(), nn.Conv1d(hidden, WEIGHTINGS, 1))
        self.width = 2 * WEIGHTINGS * width
        """Of what `forward` gives."""

    def forward(self, x: Tensor) -> Tensor:
        """(N, D, T) to (N, `width`)."""
        weights = super().forward(x).softmax(2)  # type: ignore[no-untyped-call]
        mean, square = _weighted(x, weights), _weighted(x * x, weights)
        spread = (square - mean * mean).clamp(min=1e-4).sqrt()
        return torch.cat([mean, spread], 1).flatten(1)


def _weighted(x: Tensor, weights: Tensor) -> Tensor:
    """Means (N, D, K) of (N, D, T) under each of the weights (N, K, T).

    Not a matrix product: the deviation stays in FP32, and Turing has no such product in FP32.
    """
    return (x.unsqueeze(2) * weights.unsqueeze(1)).sum(3)


class MelVoice(VoiceEncoder):
    """Log-mels, pooled over time and projected to one embedding."""

    last_layers = ("project",)
    mel: nn.Module
    project: nn.Module

    def __init__(self, spec: NetworkSpec) -> None:
        super().__init__()
        self.steps, self.samples = 1, spec.samples

    def augmented(self, mel: Tensor) -> Tensor:
        """Log-mels (N, bands, frames) as the network sees them in training: as they are."""
        return mel

    def pooled(self, mel: Tensor) -> Tensor:
        """Log-mels (N, bands, frames) to means and deviations over time (N, P)."""
        raise NotImplementedError

    def forward(self, samples: Tensor) -> Tensor:
        """See `VoiceEncoder`."""
        return self.finish(*self.features(samples))

    def features(self, samples: Tensor) -> tuple[Tensor, ...]:
        """See `pooled`."""
        mel = self.mel(samples)
        return (self.pooled(self.augmented(mel) if self.training else mel),)

    def finish(self, pooled: Tensor) -> Tensor:
        """(N, 1, D)."""
        return self.project(pooled).unsqueeze(1)


def projection(pooled: int, width: int) -> nn.Sequential:
    """The layers from `pooled` numbers to an embedding of `width`."""
    return nn.Sequential(nn.Dropout(0.4), nn.Linear(pooled, width), nn.LayerNorm(width), nn.ReLU())


class MelResNet(MelVoice):
    """Sound to one embedding; see the module."""

    def __init__(self, spec: NetworkSpec) -> None:
        super().__init__(spec)
        stem, first, second, last, self.width = (int(spec.options[name]) for name in WIDTHS)
        self.change, self.bars = (int(spec.options[name]) for name in ("mel_change", "mel_bars"))
        self.mel = LogMel()
        self.stem = Conv2dNormActivation(2, stem, 5, 2)
        self.stages = nn.Sequential(
            Block(stem, first, (2, 2), 0.05),
            Block(first, second, (2, 2), 0.1),
            Block(second, last, (2, 1), 0.1),
        )
        self.flat = nn.Sequential(
            nn.Conv1d(last * BANDS // 16, self.width, 1, bias=False),
            nn.BatchNorm1d(self.width),
            nn.ReLU(inplace=True),
        )
        self.attend = AttentiveStatistics(self.width)
        self.project = projection(self.attend.width, self.width)

    def augmented(self, mel: Tensor) -> Tensor:
        """Changed at random, and partly hidden."""
        if self.change:
            mel = change_mel(mel)
        return spec_augment(mel, bars=self.bars) if self.bars else mel

    def pooled(self, mel: Tensor) -> Tensor:
        """See `MelVoice`."""
        x = level(mel).contiguous(memory_format=torch.channels_last)
        return self.attend(self.flat(self.stages(self.stem(x)).flatten(1, 2)))


def _build(spec: NetworkSpec) -> Network:
    return voice_network(MelResNet(spec), spec.outputs)


RECIPE = NetRecipe(
    name="mel_resnet",
    summary="voice encoder: small residual network over 64 mels with attention, from scratch",
    defaults=FitConfig(
        epochs=200,
        batch_size=128,
        learning_rate=3e-3,
        weight_decay=5e-2,
        warmup_epochs=3.0,
        ema_decay=0.998,
        precision="bf16-mixed",
        label_smoothing=0.1,
        balance=True,
        monitor="uar",
    ),
    build=_build,
    modalities=("voice",),
    options=OPTIONS,
    unaugmented={"mel_change": 0, "mel_bars": 0},
    tiny=TINY,
    store_weights=store_weights_as_half,
)
