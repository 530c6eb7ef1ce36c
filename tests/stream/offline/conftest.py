"""The clip of the demo, and its results."""

import pytest

from affectstream.stream import Recognizer
from affectstream.stream.demo import write_clip


@pytest.fixture(scope="session")
def clip(tmp_path_factory):
    """The demo's clip with its transcript: a real face, artificial sound."""
    pytest.importorskip("skimage", reason="the portrait comes with the 'demo' extra")
    return write_clip(tmp_path_factory.mktemp("demo"))


@pytest.fixture(scope="session")
def result(clip):
    with Recognizer.open(threads=2) as recognizer:
        return recognizer.score(clip)
