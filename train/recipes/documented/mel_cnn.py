"""`mel_cnn`: two convolutions over the mel spectrogram of three seconds of voice, from scratch.

The voice part of the technical report's ensemble (`ensemble` uses this encoder): 16 kHz, 3 s, 40 mels,
1024-point FFT; Conv1d 40-64-128 over time, kernel 3, ReLU, max-pool 2 after each; average over time;
linear 128-256. Ours, where the report is silent: a hop of 256 samples, ReLU after the linear layer,
dropout .3 before the linear head.

Each window's spectrogram has zero mean and unit variance. Cells more than 80 dB below the loudest are
raised to that level first, as by librosa's ``power_to_db``: otherwise the zeros before a short utterance
would dominate the mean. In training SpecAugment hides parts of the spectrogram.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from torch import Tensor, nn

from affectstream.train.loader.augment_sound import BARS, spec_augment
from affectstream.train.networks.mel import LogMel
from affectstream.train.networks.network import LastLayer, Network, NetworkSpec, Value, VoiceEncoder
from affectstream.train.networks.sequences import MeanHead
from affectstream.train.recipe import FitConfig
from affectstream.train.recipes.net_recipe import NetRecipe

BANDS, N_FFT, HOP_SAMPLES = 40, 1024, 256
DEEPEST = 80.0 * math.log(10.0) / 10.0
"""80 dB, in natural logarithms of power."""
SOFTEST = 1e-3
"""Added to the deviation: digital silence gives zeros."""
DROPOUT = 0.3

WIDTHS = ("mel_first", "mel_second", "mel_width")
OPTIONS: Mapping[str, Value] = {**dict(zip(WIDTHS, (64, 128, 256), strict=True)), "mel_bars": BARS}
"""`mel_bars`: how much of the spectrogram SpecAugment hides in training."""
UNAUGMENTED: Mapping[str, Value] = {"mel_bars": 0}
TINY: Mapping[str, Value] = dict(zip(WIDTHS, (16, 24, 32), strict=True))


class MelCnn(VoiceEncoder):
    """Sound to one embedding of 256 numbers; see the module for the layers."""

    def __init__(self, spec: NetworkSpec) -> None:
        super().__init__()
        first, second, self.width = (int(spec.options[name]) for name in WIDTHS)
        self.steps, self.samples = 1, spec.samples
        self.bars = int(spec.options["mel_bars"])
        self.mel = LogMel(BANDS, N_FFT, HOP_SAMPLES)
        self.layers = nn.Sequential(
            nn.Conv1d(BANDS, first, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool1d(2),
            nn.Conv1d(first, second, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool1d(2),
        )
        self.project = nn.Sequential(nn.Linear(second, self.width), nn.ReLU())

    def forward(self, samples: Tensor) -> Tensor:
        """See `VoiceEncoder`."""
        mel = standardize(self.mel(samples))
        if self.training and self.bars:
            mel = spec_augment(mel, bars=self.bars)
        return self.project(self.layers(mel).mean(2)).unsqueeze(1)


def standardize(mel: Tensor) -> Tensor:
    """Log-mels (N, bands, frames) with zero mean and unit variance in each row; see the module."""
    mel = mel.maximum(mel.amax((1, 2), keepdim=True) - DEEPEST)
    centered = mel - mel.mean((1, 2), keepdim=True)
    deviation = (centered * centered).mean((1, 2), keepdim=True).sqrt()
    return centered / (deviation + SOFTEST)


def voice_network(voice: VoiceEncoder, outputs: int) -> Network:
    """`voice`, dropout and one linear layer."""
    layers = nn.Sequential(nn.Dropout(DROPOUT), LastLayer(voice.width, outputs))
    return Network(MeanHead("voice", layers), voice=voice)


def _build(spec: NetworkSpec) -> Network:
    return voice_network(MelCnn(spec), spec.outputs)


RECIPE = NetRecipe(
    name="mel_cnn",
    summary="voice encoder: two convolutions over 40 mels of three seconds, from scratch",
    defaults=FitConfig(
        epochs=60, batch_size=32, learning_rate=1e-3, weight_decay=1e-5, ema_decay=0.99
    ),
    build=_build,
    modalities=("voice",),
    options=OPTIONS,
    unaugmented=UNAUGMENTED,
    tiny=TINY,
)
