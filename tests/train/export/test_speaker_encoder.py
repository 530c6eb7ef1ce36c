"""Resemblyzer's network, converted: the file that runs gives what the network gives."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from affectstream.engines.devices.open import open_engine
from affectstream.train.errors import WeightsError
from affectstream.train.export.speaker_encoder import (
    SAMPLES,
    SpeakerEncoder,
    convert_speaker_encoder,
)


def test_the_converted_file_gives_the_embeddings_of_the_network(tmp_path):
    torch.manual_seed(0)
    network = SpeakerEncoder()
    weights = tmp_path / "pretrained.pt"
    torch.save(
        {"model_state": {**network.state_dict(), "similarity_weight": torch.ones(1)}}, weights
    )
    convert_speaker_encoder(weights, tmp_path / "encoder.onnx")
    sound = 0.1 * torch.randn(3, SAMPLES)
    found = open_engine(tmp_path / "encoder.onnx").run({"samples": sound.numpy()})["embedding"]
    with torch.no_grad():
        expected = network.eval()(sound).numpy()
    np.testing.assert_allclose(found, expected, atol=5e-3)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-3)


def test_other_files_are_refused(tmp_path):
    weights = tmp_path / "pretrained.pt"
    torch.save({"model_state": {"other": torch.ones(1)}}, weights)
    with pytest.raises(WeightsError, match=r"expected its pretrained\.pt"):
        SpeakerEncoder.from_file(weights)
