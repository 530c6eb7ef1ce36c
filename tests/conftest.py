"""Fixtures shared by all tests."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings
from numpy.typing import NDArray

from affectstream.stream.recognizer import Recognizer

settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


@pytest.fixture(scope="session")
def data_root() -> Path:
    """The real recordings, which are not part of the repository."""
    named = os.environ.get("AFFECTSTREAM_DATA")
    root = Path(named) if named else Path(__file__).parents[2] / "shared" / "data"
    if not root.is_dir():
        pytest.skip("the real recordings are not here: name their folder in AFFECTSTREAM_DATA")
    return root


@pytest.fixture(scope="session")
def portrait() -> NDArray[np.uint8]:
    """A real face: NASA's portrait of Eileen Collins, 512x512 RGB."""
    data = pytest.importorskip("skimage.data", reason="the portrait comes with the 'demo' extra")
    return np.asarray(data.astronaut(), np.uint8)


@pytest.fixture(scope="session")
def recognizer() -> Iterator[Recognizer]:
    """`pocket` on one thread; modules that need another one make their own."""
    with Recognizer.open(device="cpu", threads=1) as opened:
        yield opened
