"""The file by which `affectstream.stream.voices` tells speakers apart, from Resemblyzer's published weights.

pip download --no-deps resemblyzer==0.1.4 && unzip -j Resemblyzer-*.whl resemblyzer/pretrained.pt
python -m affectstream.train.export.speaker_encoder pretrained.pt speaker_encoder.onnx

The network is that of Resemblyzer (Resemble AI, Apache license 2.0): three LSTM layers over a mel
spectrogram of 1.6 s, trained to tell thousands of speakers apart (Wan et al. 2018, Generalized end-to-end
loss for speaker verification).
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from torch import Tensor, nn

from affectstream.train.errors import WeightsError
from affectstream.train.networks.mel import MelPower
from affectstream.train.onnx.onnx_export import to_onnx
from affectstream.train.onnx.stored_weights import store_weights_as_half

_BANDS, _N_FFT, _HOP_SAMPLES, _FRAMES = 40, 400, 160, 160
SAMPLES = _N_FFT + (_FRAMES - 1) * _HOP_SAMPLES
"""Samples of 16 kHz sound that it takes at a time: 160 frames of a spectrogram, 1.6 s."""
SIZE = 256
"""Numbers in an embedding."""


class SpeakerEncoder(nn.Module):
    """Sound to embeddings of the voice: the closer two of them, the likelier it is one speaker."""

    def __init__(self) -> None:
        super().__init__()
        self.mel = MelPower(_BANDS, _N_FFT, _HOP_SAMPLES, lowest_hz=0.0)
        self.lstm = nn.LSTM(_BANDS, SIZE, num_layers=3, batch_first=True)
        self.linear = nn.Linear(SIZE, SIZE)

    def forward(self, samples: Tensor) -> Tensor:
        """(N, `SAMPLES`) float32 in [-1, 1] to (N, `SIZE`) float32 of length 1, no number negative."""
        frames = self.mel(samples).transpose(1, 2)
        embeddings = torch.relu(self.linear(self.lstm(frames)[0][:, -1]))
        return embeddings / embeddings.norm(dim=1, keepdim=True).clamp(min=1e-9)

    @classmethod
    def from_file(cls, path: Path) -> SpeakerEncoder:
        """With the weights of Resemblyzer's ``pretrained.pt``. Raises `WeightsError` for another file."""
        try:
            weights = torch.load(path, map_location="cpu", weights_only=True)["model_state"]
            network = cls()
            known = network.state_dict()
            network.load_state_dict({name: weights[name] for name in known})
        except (OSError, KeyError, RuntimeError, ValueError) as error:
            raise WeightsError(
                f"{path}: holds no weights of Resemblyzer ({error}): expected its pretrained.pt"
            ) from error
        return network.eval()


def convert_speaker_encoder(weights: Path, output: Path) -> None:
    """Write an ONNX file with weights in FP16: ``samples`` (N, `SAMPLES`) float32 to ``embedding`` (N, 256)
    float32. Raises `WeightsError` for a file without Resemblyzer's weights."""
    network = SpeakerEncoder.from_file(weights)
    example = 0.1 * torch.randn(2, SAMPLES, generator=torch.Generator().manual_seed(0))
    to_onnx(network, (example,), output, inputs=["samples"], outputs=["embedding"])
    store_weights_as_half(output)


if __name__ == "__main__":
    convert_speaker_encoder(Path(sys.argv[1]), Path(sys.argv[2]))
