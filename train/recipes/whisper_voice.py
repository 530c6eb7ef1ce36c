"""`whisper_voice`: the first layers of Whisper's encoder with attention over time.

Three seconds of sound to one embedding: Whisper's own log-mels, whose loudness is normalized, its two
convolutions and its first layers, pretrained on the speech of many people, rooms and microphones. A weighted
mean of the states before and after each layer is narrowed, and two attention weightings each pool mean and
deviation over time.

In training the sound is augmented (`augment_sound.augment`), and the log-mels as by `mel_resnet`. The new
parts learn alone first.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from affectstream.train.loader.augment_sound import BARS
from affectstream.train.networks.network import (
    Network,
    NetworkSpec,
    Value,
    frozen_first,
)
from affectstream.train.networks.whisper import WhisperMel, level, whisper_layers
from affectstream.train.onnx.int8_storage import store_weights_as_int8
from affectstream.train.recipe import FitConfig
from affectstream.train.recipes.documented.mel_cnn import voice_network
from affectstream.train.recipes.mel_resnet import MelVoice
from affectstream.train.recipes.net_recipe import NetRecipe

OPTIONS: Mapping[str, Value] = {
    "voice_layers": 1,
    "voice_width": 384,
    "voice_heads": 6,
    "voice_merged": 1,
    "voice_out": 192,
    "mel_change": 1,
    "mel_bars": BARS,
}
"""Layers, width and heads of Whisper; how many positions of 20 ms become one before the first layer; numbers
of the embedding; what augments."""
TINY: Mapping[str, Value] = {"voice_width": 32, "voice_heads": 2, "voice_out": 32}


class WhisperVoice(MelVoice):
    """Sound to one embedding; see the module."""

    def __init__(self, spec: NetworkSpec) -> None:
        super().__init__(spec)
        names = ("voice_width", "voice_merged", "voice_out")
        inner, self.merged, width = (int(spec.options[name]) for name in names)
        self.mel = WhisperMel()
        self.backbone = whisper_layers(spec)
        self.shares = nn.Parameter(torch.zeros(len(self.backbone.layers) + 1))
        self.narrow = nn.Sequential(
            nn.Conv1d(inner, width, 1, bias=False), nn.BatchNorm1d(width), nn.ReLU()
        )
        self.add_pool(width)

    def states(self, mel: Tensor) -> Tensor:
        """See `MelVoice`."""
        states = self.backbone(level(mel), self.merged)
        normal = [F.layer_norm(state, state.shape[2:]) for state in states]
        mixed = sum(share * x for share, x in zip(self.shares.softmax(0), normal, strict=True))
        assert isinstance(mixed, Tensor)
        return self.narrow(mixed.transpose(1, 2))


def _build(spec: NetworkSpec) -> Network:
    return voice_network(WhisperVoice(spec), spec.outputs)


RECIPE = NetRecipe(
    name="whisper_voice",
    summary="voice encoder: the first layers of Whisper with attention over time",
    defaults=FitConfig(
        epochs=20,
        batch_size=64,
        learning_rate=1e-3,
        weight_decay=2e-2,
        warmup_epochs=1.0,
        ema_decay=0.995,
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
    backbones={"voice": "Systran/faster-whisper-tiny.en"},
    phases=frozen_first(2, "voice.backbone"),
    store_weights=store_weights_as_int8,
)
