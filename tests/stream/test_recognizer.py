"""Opening, leaving and closing a recognizer."""

import asyncio
import threading

import pytest

from affectstream.engines import EngineError
from affectstream.stream import Recognizer
from affectstream.stream import recognizer as recognizer_module
from affectstream.stream.offline.session import Session
from tests.support.media import write_video


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return write_video(tmp_path_factory.mktemp("clip") / "talk.mp4", 75, rate=25)


def test_following_can_be_left_while_its_worker_is_stuck(clip, monkeypatch):
    """A read from a network disk that does not answer."""
    stuck, free = threading.Event(), threading.Event()

    class Stuck(Session):
        def _hops(self):
            yield next(super()._hops())
            stuck.set()
            free.wait(60)

    monkeypatch.setattr(recognizer_module, "Session", Stuck)
    monkeypatch.setattr(recognizer_module, "_LEAVE_S", 0.05)

    async def leave(recognizer):
        events = recognizer.follow(clip)
        first = await anext(events)
        await asyncio.to_thread(stuck.wait, 30)
        await asyncio.wait_for(events.aclose(), 20)
        return first

    with Recognizer.open(device="cpu", threads=1) as recognizer:
        assert asyncio.run(leave(recognizer)).what == "started"
        (thread,) = [t for t in threading.enumerate() if t.name == "follow"]
        assert thread.daemon
        free.set()
        thread.join(20)


def test_a_recognizer_can_be_closed_without_with(clip):
    recognizer = Recognizer.open(device="cpu", threads=1)
    assert recognizer.score(clip).complete
    recognizer.close()
    recognizer.close()
    with pytest.raises(EngineError, match="closed"):
        recognizer.score(clip)
