"""How the threads of `Pipeline` work together."""

import threading

import numpy as np

from affectstream.stream import Recognizer
from affectstream.stream.faces.perceive import Perceiver
from tests.support.media import Sound, write_video


def test_twelve_threads_perceive_at_the_same_time(tmp_path, monkeypatch):
    """Sound between the batches once kept the tenth thread, and all after it, without work."""
    together = threading.Barrier(12)
    perceive = Perceiver.perceive
    done = threading.Event()

    def perceived(self, frames):
        if not done.is_set():
            together.wait(20)  # raises if fewer than 12 come
            done.set()
        return perceive(self, frames)

    monkeypatch.setattr(Perceiver, "perceive", perceived)
    silence = Sound(np.zeros((8 * 16_000, 1), np.float32), 16_000)
    clip = write_video(tmp_path / "talk.mp4", 8 * 8, rate=8, sound=silence)
    with Recognizer.open(device="cpu", threads=12) as recognizer:
        assert recognizer.score(clip).complete
    assert done.is_set()
