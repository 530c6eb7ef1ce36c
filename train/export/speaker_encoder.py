"""The file by which `affectstream.stream.voices` tells speakers apart, from Resemblyzer's published weights.

pip download --no-deps resemblyzer==0.1.4 && unzip -j Resemblyzer-*.whl resemblyzer/pretrained.pt
python -m affectstream.train.export.speaker_encoder pretrained.pt speaker_encoder.onnx
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch

from affectstream.train.networks.speaker_encoder import SAMPLES, SpeakerEncoder
from affectstream.train.onnx.half_storage import store_weights_as_half
from affectstream.train.onnx.onnx_export import to_onnx


def convert_speaker_encoder(weights: Path, output: Path) -> None:
    """Write an ONNX file: ``samples`` (N, `SAMPLES`) float32 to ``embedding`` (N, 256) float32.

    Its weights are stored as FP16.

    Raises `WeightsError` for a file without Resemblyzer's weights.
    """
    network = SpeakerEncoder.from_file(weights)
    example = 0.1 * torch.randn(2, SAMPLES, generator=torch.Generator().manual_seed(0))
    to_onnx(network, (example,), output, inputs=["samples"], outputs=["embedding"])
    store_weights_as_half(output)


if __name__ == "__main__":
    convert_speaker_encoder(Path(sys.argv[1]), Path(sys.argv[2]))
