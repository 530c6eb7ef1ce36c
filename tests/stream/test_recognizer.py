"""Opening, leaving and closing a recognizer."""

import asyncio
import io
import tempfile
import threading

import pytest

from affectstream.engines import EngineError
from affectstream.stream import OptionError, Recognizer, SourceError
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


# --- files as bytes and file objects ---


def test_bytes_and_file_objects_give_the_events_of_the_file(clip):
    async def follow(recognizer):
        return [event async for event in recognizer.follow(clip.read_bytes(), name=clip.name)]

    with Recognizer.open(device="cpu", threads=1) as recognizer:
        filed = recognizer.score(clip).events
        assert recognizer.score(clip.read_bytes(), name=clip.name).events == filed
        assert recognizer.score(io.BytesIO(clip.read_bytes()), name=clip.name).events == filed
        with clip.open("rb") as file:  # it has a name of its own
            assert recognizer.score(file).events == filed
            assert not file.closed
        assert tuple(asyncio.run(follow(recognizer))) == filed


def test_a_transcript_may_be_bytes(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    words = b"1\n00:00:00,500 --> 00:00:01,500\nI am so happy\n"
    with Recognizer.open(device="cpu", threads=1) as recognizer:
        with recognizer.session(words, name="talk.en.srt") as session:
            assert session.name == "talk.en.srt"
            assert list(tmp_path.iterdir())
            assert any(event.type == "emotion" for hop in session for event in hop.events)
        assert not list(tmp_path.iterdir())  # nothing of it stays


def test_content_that_cannot_be_used_is_named_and_removed(clip, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with Recognizer.open(device="cpu", threads=1) as recognizer:
        for content, name, error, message in (
            (b"no film\n" * 99, "talk.mp4", SourceError, "talk.mp4: holds text"),
            (b"", None, SourceError, "recording: is empty"),
            (io.StringIO("no film"), "talk.mp4", SourceError, "talk.mp4: cannot be read into"),
            (7, "talk.mp4", SourceError, "talk.mp4: cannot be read into"),
            (b"x", "../talk.mp4", OptionError, "expected the name of a file"),
            (clip, "talk.mp4", OptionError, "has its own name"),
        ):
            with pytest.raises(error, match=message):
                recognizer.score(content, name=name)
        assert not list(tmp_path.iterdir())
