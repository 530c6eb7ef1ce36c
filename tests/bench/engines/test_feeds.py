"""What counts as inference while a recording is scored."""

import numpy as np

from affectstream.bench.engines.feeds import record_calls
from affectstream.stream.recognizer import Recognizer
from tests.support.media import Sound, write_video


def test_the_network_of_the_speech_gate_counts(tmp_path):
    path = write_video(tmp_path / "a.mp4", 30, sound=Sound(np.zeros((48_000, 1), np.float32)))
    with Recognizer.open("pocket", threads=1) as recognizer:
        calls = record_calls(recognizer, path)
        engines = recognizer.bundle.all_engines.values()
        others = [feeds for engine, feeds in calls if all(engine is not e for e in engines)]
    assert others
    assert all({"input", "h", "c"} == set(feeds) for feeds in others)
