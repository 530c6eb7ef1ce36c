"""A whole recording on a GPU, against the same on the processor."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from affectstream.engines.devices.probe import probe
from affectstream.engines.labels import EMOTIONS_7
from affectstream.stream import Recognizer, Result
from affectstream.stream.demo import write_clip

pytestmark = pytest.mark.gpu


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("skimage", reason="the demo's clip comes with the 'demo' extra")
    if not (found := probe("cuda")).works:
        pytest.skip(found.text)
    return write_clip(tmp_path_factory.mktemp("clip"))


def scored(clip: Path, device: str) -> Result:
    with Recognizer.open("pocket", device=device) as recognizer:
        return recognizer.score(clip)


def test_a_recording_is_scored_on_the_gpu_as_on_the_cpu(clip: Path) -> None:
    cpu, gpu = (scored(clip, device).readings for device in ("cpu", "cuda:0"))
    assert cpu.num_rows > 0
    assert cpu.select(["hop", "track"]).equals(gpu.select(["hop", "track"]))
    for label in EMOTIONS_7:
        expected, found = (
            np.array([row[label] for row in side.select([label]).to_pylist()], np.float64)
            for side in (cpu, gpu)
        )
        np.testing.assert_allclose(found, expected, atol=0.05)


def test_a_gpu_gives_the_same_readings_twice(clip: Path) -> None:
    first, second = scored(clip, "cuda:0"), scored(clip, "cuda:0")
    assert first.readings.equals(second.readings)
