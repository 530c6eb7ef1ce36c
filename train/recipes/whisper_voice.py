"""`whisper_voice`: the first layers of Whisper's encoder, pooled over the speech.

Three seconds of sound to one embedding: Whisper's own log-mels, whose loudness is normalized, its two
convolutions and its first layers, pretrained on the speech of many people, rooms and microphones. The last
state is pooled to mean and deviation over the positions of speech.

In training half of the sounds are augmented (`augment_sound.augment`). Whisper's layers stay as they are, and
they do not know log-mels that are changed or partly hidden as by `mel_resnet`: what is learned from these
serves real sound less well.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from affectstream.train.networks.network import Network, NetworkSpec, Phase, Value
from affectstream.train.networks.whisper import WhisperMel, level, whisper_layers
from affectstream.train.onnx.stored_weights import store_weights_as_int8
from affectstream.train.recipe import FitConfig
from affectstream.train.recipes.documented.mel_cnn import voice_network
from affectstream.train.recipes.mel_resnet import ACTIVE_DB, DECIBEL, MelVoice, projection
from affectstream.train.recipes.net_recipe import NetRecipe

OPTIONS: Mapping[str, Value] = {
    "voice_layers": 1,
    "voice_width": 384,
    "voice_heads": 6,
    "voice_merged": 1,
    "voice_out": 192,
}
"""Layers, width and heads of Whisper; how many positions of 20 ms become one before the first layer; numbers
of the embedding."""
TINY: Mapping[str, Value] = {"voice_width": 32, "voice_heads": 2, "voice_out": 32}


class WhisperVoice(MelVoice):
    """Sound to one embedding; see the module."""

    def __init__(self, spec: NetworkSpec) -> None:
        super().__init__(spec)
        names = ("voice_width", "voice_merged", "voice_out")
        inner, self.merged, self.width = (int(spec.options[name]) for name in names)
        self.mel = WhisperMel()
        self.backbone = whisper_layers(spec)
        self.norm = nn.BatchNorm1d(2 * inner, affine=False, momentum=None)
        self.project = projection(2 * inner, self.width)

    def pooled(self, mel: Tensor) -> Tensor:
        """See `MelVoice`."""
        x = self.backbone(level(mel), self.merged)[-1].float()
        active = speech(mel, 2 * self.merged)
        count = active.sum(1)
        mean = (x * active).sum(1) / count
        apart = (x - mean.unsqueeze(1)) * active
        spread = ((apart * apart).sum(1) / count).clamp(min=1e-6).sqrt()
        return self.norm(torch.cat([mean, spread], 1))


def speech(mel: Tensor, frames: int) -> Tensor:
    """Which spans of `frames` log-mels (N, bands, T) hold one that is nearly as loud as the loudest:
    (N, T / `frames`, 1), 0 or 1."""
    loudness = mel.amax(1, keepdim=True)
    limit = loudness.amax(2, keepdim=True) - ACTIVE_DB * DECIBEL
    return (F.max_pool1d(loudness, frames) >= limit).to(mel.dtype).transpose(1, 2)


def _build(spec: NetworkSpec) -> Network:
    return voice_network(WhisperVoice(spec), spec.outputs)


RECIPE = NetRecipe(
    name="whisper_voice",
    summary="voice encoder: the first layers of Whisper, pooled over the speech",
    defaults=FitConfig(
        epochs=30,
        batch_size=32,
        learning_rate=2e-3,
        weight_decay=2e-2,
        warmup_epochs=1.0,
        ema_decay=0.995,
        precision="bf16-mixed",
        label_smoothing=0.1,
        clean_sound=0.5,
        balance=True,
        monitor="uar",
    ),
    build=_build,
    modalities=("voice",),
    options=OPTIONS,
    tiny=TINY,
    backbones={"voice": "Systran/faster-whisper-tiny.en"},
    phases=(Phase(None, frozen=("voice.backbone",)),),
    store_weights=store_weights_as_int8,
)
