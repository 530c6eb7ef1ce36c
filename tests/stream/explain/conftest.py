import numpy as np
import pytest

from affectstream.stream.demo import babble
from affectstream.stream.recognizer import Recognizer
from tests.support.live_media import write_face
from tests.support.media import Sound, write_video


@pytest.fixture(scope="session")
def face(tmp_path_factory):
    """Two seconds of a real face that talks."""
    pytest.importorskip("skimage", reason="the portrait comes with the 'demo' extra")
    return write_face(tmp_path_factory.mktemp("explain") / "face.mp4", 2)


@pytest.fixture(scope="session")
def film(tmp_path_factory):
    """Three seconds of pictures that get brighter, made-up speech, and words that end at 1.1 s."""
    frames = [np.full((48, 48, 3), n // 2, np.uint8) for n in range(48)]
    folder = tmp_path_factory.mktemp("film")
    (folder / "film.vtt").write_text("WEBVTT\n\n00:00.600 --> 00:01.100\nyes well no\n")
    sound = Sound(babble(4)[:48_000, None].copy(), 16_000)
    return write_video(folder / "film.mp4", frames, size=(48, 48), rate=16, sound=sound)


@pytest.fixture(scope="session")
def pocket():
    with Recognizer.open("pocket", device="cpu", threads=1) as recognizer:
        yield recognizer
