"""Encoders of the waveform: wav2vec 2.0, and a small WaveNet.

wav2vec 2.0: Baevski et al., NeurIPS 2020. WaveNet: van den Oord et al., 2016.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn
from torch.nn.utils import parametrize

from affectstream.stream.errors import OptionError
from affectstream.train.networks.network import NetworkSpec, Value, VoiceEncoder
from affectstream.train.networks.pretrained import NONE, TransformersEncoder, build_backbone

BASE: Mapping[str, Value] = {
    "voice_layers": 12,
    "voice_width": 768,
    "voice_heads": 12,
    "voice_filters": 512,
}
"""wav2vec2-base, as options."""
TINY: Mapping[str, Value] = {
    "voice_layers": 1,
    "voice_width": 32,
    "voice_heads": 2,
    "voice_filters": 16,
}
KERNELS, STRIDES = (10, 3, 3, 3, 3, 2, 2), (5, 2, 2, 2, 2, 2, 2)
"""Of wav2vec 2.0's seven convolutions: one step per 320 samples, 20 ms."""

WAVENET: Mapping[str, Value] = {"voice_channels": 64}
SHRINKS = (10, 10, 10)
"""Strides of the WaveNet's three stages: one step per 1,000 samples, 62.5 ms."""
DILATIONS = (1, 2, 4, 8, 16)

_QUIET = 1e-7
"""Added to a window's variance, as by wav2vec 2.0's feature extractor: digital silence stays zeros."""


def standardize(samples: Tensor) -> Tensor:
    """Sound (N, L) with zero mean and unit variance in each row, padding included."""
    centered = samples - samples.mean(1, keepdim=True)
    return centered / ((centered * centered).mean(1, keepdim=True) + _QUIET).sqrt()


class Wav2Vec2Encoder(TransformersEncoder, VoiceEncoder):
    """Sound to the last hidden states: 149 steps of 768 for three seconds.

    The whole window goes in, padding included: the base model was trained without attention masks. `frozen`
    has an effect on pretrained weights only; random ones (``none``) always learn. Training drops no
    layers and masks no spans: the loader's augmentation does so, seeded.
    """

    def __init__(self, spec: NetworkSpec, *, frozen: bool) -> None:
        from transformers.models.wav2vec2.modeling_wav2vec2 import Wav2Vec2Model

        super().__init__()
        layers, self.width, heads, filters = (int(spec.options[name]) for name in BASE)
        sizes = {
            "hidden_size": self.width,
            "num_hidden_layers": layers,
            "num_attention_heads": heads,
            "intermediate_size": 4 * self.width,
            "conv_dim": [filters] * len(KERNELS),
            "conv_kernel": list(KERNELS),
            "conv_stride": list(STRIDES),
            "conv_bias": False,
            "feat_extract_norm": "group",
            "do_stable_layer_norm": False,
        }
        settings = {"mask_time_prob": 0.0, "mask_feature_prob": 0.0, "layerdrop": 0.0}
        model = build_backbone(spec, "voice", Wav2Vec2Model, sizes, settings)
        # The weight is stored as direction and length, which no runtime has; one tensor is equivalent.
        parametrize.remove_parametrizations(model.encoder.pos_conv_embed.conv, "weight")
        self.set_backbone(model, frozen=frozen and spec.weights["voice"] != NONE)
        self.samples = self.steps = spec.samples
        for kernel, stride in zip(KERNELS, STRIDES, strict=True):
            self.steps = (self.steps - kernel) // stride + 1

    def forward(self, samples: Tensor) -> Tensor:
        """See `VoiceEncoder`."""
        return self.backbone(standardize(samples)).last_hidden_state


class WaveNetEncoder(VoiceEncoder):
    """Sound to one embedding per 1,000 samples: 48 steps for three seconds.

    Three stages, each a causal convolution with stride ten that doubles the channels, then gated residual
    blocks of kernel 2 with dilations 1 to 16. No step depends on later sound.
    """

    def __init__(self, spec: NetworkSpec, width: int) -> None:
        """Raises `OptionError` for a window that is not a multiple of the strides."""
        super().__init__()
        shrink = SHRINKS[0] * SHRINKS[1] * SHRINKS[2]
        if spec.samples % shrink:
            raise OptionError(
                f"a window of {spec.samples} samples: expected a multiple of {shrink}"
            )
        self.width, self.samples, self.steps = width, spec.samples, spec.samples // shrink
        channels, inputs, stages = int(spec.options["voice_channels"]), 1, []
        for stride in SHRINKS:
            stages.append(Stage(inputs, channels, stride))
            inputs, channels = channels, 2 * channels
        self.stages = nn.Sequential(*stages)
        self.project = nn.Linear(inputs, width)
        self.norm = nn.LayerNorm(width)

    def forward(self, samples: Tensor) -> Tensor:
        """See `VoiceEncoder`."""
        steps = self.stages(standardize(samples).unsqueeze(1)).transpose(1, 2)
        return self.norm(self.project(steps))


class Stage(nn.Module):
    """(N, Cin, T) to (N, Cout, T / `stride`): a strided convolution, then `DILATIONS` gated blocks."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.shrink = nn.Conv1d(inputs, outputs, 2 * stride, stride)
        self.blocks = nn.ModuleList(GatedBlock(outputs, dilation) for dilation in DILATIONS)

    def forward(self, x: Tensor) -> Tensor:
        """The sum of the blocks' skip outputs, through ReLU, as in WaveNet."""
        x = F.relu(self.shrink(F.pad(x, (self.stride, 0))))
        total = x
        for block in self.blocks:
            x, skip = block(x)
            total = total + skip
        return F.relu(total)


class GatedBlock(nn.Module):
    """WaveNet's residual block: a dilated causal convolution, a gate, and a skip output."""

    def __init__(self, channels: int, dilation: int) -> None:
        super().__init__()
        self.dilation = dilation
        self.dilated = nn.Conv1d(channels, 2 * channels, 2, dilation=dilation)
        self.ways = nn.Conv1d(channels, 2 * channels, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(N, C, T) to the input of the next block and the skip output, the same shape each."""
        signal, gate = self.dilated(F.pad(x, (self.dilation, 0))).chunk(2, 1)
        residual, skip = self.ways(signal.tanh() * gate.sigmoid()).chunk(2, 1)
        return x + residual, skip
