"""What the tests of the server share: one recognizer, and one small recording."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from numpy.typing import NDArray

from affectstream.stream.recognizer import Recognizer


@pytest.fixture(scope="package")
def recognizer() -> Iterator[Recognizer]:
    with Recognizer.open("pocket", device="cpu") as opened:
        yield opened


@pytest.fixture(scope="session")
def face(portrait: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A face, 256x256 RGB."""
    return np.ascontiguousarray(portrait[:256, 96:352])


@pytest.fixture(scope="session")
def clip(face: NDArray[np.uint8]) -> bytes:
    """Two seconds of this face with a tone, as WebM."""
    from tests.support.serving import recording

    return recording(face, 2.0)
