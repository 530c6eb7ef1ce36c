"""What the benchmarks of single functions run on: the demo's clip, decoded, and the bundle `pocket`."""

import numpy as np
import pytest

pytest.importorskip("skimage", reason="the clip shows a portrait of the 'demo' extra")

from affectstream.engines.bundle.bundle import Bundle
from affectstream.stream.demo import babble, write_clip
from affectstream.stream.faces.perceive import Perceiver
from affectstream.stream.media.picture import to_rgb
from affectstream.stream.media.recording import Recording
from affectstream.stream.media.types import SAMPLE_RATE, Frame, Samples

FRAMES = 16


@pytest.fixture(scope="session")
def clip(tmp_path_factory):
    return write_clip(tmp_path_factory.mktemp("clip"))


@pytest.fixture(scope="session")
def frames(clip):
    """The first frames of the clip at 640x360."""
    with Recording.open(clip) as recording:
        found = []
        for item in recording:
            if isinstance(item, Frame):
                found.append(item)
            if len(found) == FRAMES:
                return found
    raise AssertionError("the clip is too short")


@pytest.fixture(scope="session")
def pictures(frames):
    return [to_rgb(frame) for frame in frames]


@pytest.fixture(scope="session")
def bundle():
    with Bundle.open("pocket", threads=1) as opened:
        yield opened


@pytest.fixture(scope="session")
def perceiver(bundle):
    return Perceiver(bundle)


@pytest.fixture(scope="session")
def observations(perceiver, frames):
    return perceiver.perceive(frames)


@pytest.fixture(scope="session")
def second():
    """One second of sound in runs of 20 ms, as a decoder gives it."""
    sound = babble(1)[:, None].astype(np.float32)
    step = SAMPLE_RATE // 50
    return [Samples(at, sound[at : at + step]) for at in range(0, SAMPLE_RATE, step)]
