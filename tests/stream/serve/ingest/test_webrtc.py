"""WebRTC from end to end, with aiortc as the other side: real sockets, real codecs."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

for module in ("starlette", "uvicorn", "aiortc", "prometheus_client", "websockets", "httpx"):
    pytest.importorskip(module, reason="the server comes with the 'serve' extra")

from aiortc.mediastreams import AudioStreamTrack

from affectstream.stream.events import parse_event
from affectstream.stream.recognizer import Recognizer
from affectstream.stream.serve import session
from affectstream.stream.serve.ingest import webrtc
from tests.support.serving import (
    MESSAGE_TYPES,
    RunningServer,
    allow_loopback_ice,
    running,
    until,
)
from tests.support.webrtc import Client, Pictures


@pytest.fixture(scope="module", autouse=True)
def _allow_loopback_ice() -> Iterator[None]:
    with allow_loopback_ice():
        yield


@pytest.fixture(scope="module")
def server(recognizer: Recognizer) -> Iterator[RunningServer]:
    with running(recognizer, max_sessions=2) as one:
        yield one


def test_video_and_sound_become_events(server: RunningServer, face: NDArray[np.uint8]) -> None:
    async def work() -> list[dict[str, Any]]:
        client = Client(Pictures(face), AudioStreamTrack())
        assert await client.connect(server) == 200
        await client.until(lambda line: line["type"] == "emotion" and line["t_start"] >= 2)
        await client.until(lambda line: line["type"] == "faces" and line["size"] == [192, 192])
        await client.until(lambda line: line["type"] == "state")
        client.channel.send('{"type":"ping","t":7}')
        assert (await client.until(lambda line: line["type"] == "pong"))["t"] == 7
        client.channel.send("\x00junk")
        await client.until(lambda line: line["type"] == "error")
        client.channel.send('{"type":"end"}')
        await client.until(lambda line: line.get("what") == "ended")
        await client.connection.close()
        return client.lines

    lines = asyncio.run(work())
    assert lines[0]["type"] == "session" and lines[0]["modalities"] == ["video", "voice"]
    events = [parse_event(json.dumps(line)) for line in lines if line["type"] not in MESSAGE_TYPES]
    assert {event.stream for event in events} == {"peer"}
    tracks = {line["track"] for line in lines if line["type"] == "emotion" and line["scores"]}
    assert tracks == {1}, "one person, before and after the size changed"
    sizes = {tuple(line["size"]) for line in lines if line["type"] == "faces"}
    assert len(sizes) == 2, f"the size changed in mid-stream, found {sizes}"
    assert all(line["latency_ms"] >= 0 for line in lines if line["type"] == "emotion")
    until(lambda: not server.sessions(), "the session to end")


def test_a_client_that_hangs_up_frees_its_place(
    server: RunningServer, face: NDArray[np.uint8]
) -> None:
    async def work() -> None:
        client = Client(Pictures(face))
        await client.connect(server)
        await client.until(lambda line: line["type"] == "emotion")
        await client.connection.close()

    asyncio.run(work())
    until(lambda: not server.sessions(), "the session to end", 5)


def test_a_silent_client_is_warned_and_ended(
    recognizer: Recognizer, face: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A tab that crashes does not close its connection; aiortc notices only after half a minute."""
    monkeypatch.setattr(session, "SILENCE_WARNING_S", 0.5)
    monkeypatch.setattr(session, "SILENCE_END_S", 1.5)

    async def work(one: RunningServer) -> None:
        client = Client(Pictures(face))
        await client.connect(one)
        await client.until(lambda line: line["type"] == "emotion")
        client.connection.getSenders()[0].replaceTrack(None)
        warning = await client.until(lambda line: line.get("what") == "warning")
        assert "nothing came" in warning["detail"]
        await client.until(lambda line: line.get("what") == "ended")
        await client.connection.close()

    with running(recognizer) as one:
        asyncio.run(work(one))
        until(lambda: not one.sessions(), "the session to end", 10)


def test_an_offer_without_a_connection_expires(
    recognizer: Recognizer, face: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webrtc, "CONNECT_S", 1.0)

    async def offer() -> str:
        client = Client(Pictures(face))
        await client.connection.setLocalDescription(await client.connection.createOffer())
        sdp: str = client.connection.localDescription.sdp
        await client.connection.close()
        return sdp

    sdp = asyncio.run(offer())
    with running(recognizer, max_sessions=1) as one:
        assert one.post_offer({"type": "offer", "sdp": sdp}).status_code == 200
        refused = one.post_offer({"type": "offer", "sdp": sdp})
        assert refused.status_code == 503 and "all 1 sessions" in refused.json()["error"]
        until(lambda: not one.sessions(), "the session to end", 15)
        assert one.post_offer({"type": "offer", "sdp": sdp}).status_code == 200


def test_a_shutdown_ends_two_sessions(recognizer: Recognizer, face: NDArray[np.uint8]) -> None:
    async def work(one: RunningServer) -> None:
        clients = [Client(Pictures(face), AudioStreamTrack()) for _ in range(2)]
        for client in clients:
            assert await client.connect(one) == 200
        for client in clients:
            await client.until(lambda line: line["type"] == "emotion")
        one.server.should_exit = True
        for client in clients:
            await client.until(lambda line: line.get("what") == "ended")
            await client.connection.close()

    before = set(threading.enumerate())
    with running(recognizer, max_sessions=2) as one:
        asyncio.run(work(one))
    assert one.server.totals is not None and one.server.totals.sessions == 2
    left = [t for t in threading.enumerate() if t not in before and t.is_alive()]
    until(lambda: not [t for t in left if t.is_alive()], f"{left} to end", 10)


def test_sessions_leave_no_thread_and_no_file_behind(
    server: RunningServer, face: NDArray[np.uint8]
) -> None:
    psutil = pytest.importorskip("psutil", reason="psutil counts open files")

    async def work() -> None:
        client = Client(Pictures(face), AudioStreamTrack())
        await client.connect(server)
        await client.until(lambda line: line["type"] == "emotion")
        await client.connection.close()

    def left() -> tuple[int, int]:
        # The threads of the server's pool stay: at most one per possible session.
        threads = [t for t in threading.enumerate() if not t.name.startswith("session")]
        return len(threads), psutil.Process().num_fds()

    asyncio.run(work())
    until(lambda: not server.sessions(), "the session to end")
    before = until(left, "a first count")
    for _ in range(3):
        asyncio.run(work())
        until(lambda: not server.sessions(), "the session to end")
    until(lambda: left()[0] <= before[0] and left()[1] <= before[1], f"{left()} to be {before}")


def test_sound_alone_is_enough(server: RunningServer) -> None:
    async def work() -> dict[str, Any]:
        client = Client(AudioStreamTrack())
        assert await client.connect(server) == 200
        found = await client.until(lambda line: line["type"] == "emotion")
        await client.connection.close()
        return found

    assert asyncio.run(work())["abstain"] == "no_speech"


def test_a_client_cannot_do_the_work_of_several_sessions(
    server: RunningServer, face: NDArray[np.uint8]
) -> None:
    async def offer_six_tracks() -> str:
        client = Client(*(Pictures(face) for _ in range(6)))
        await client.connection.setLocalDescription(await client.connection.createOffer())
        sdp: str = client.connection.localDescription.sdp
        await client.connection.close()
        return sdp

    async def open_two_channels() -> None:
        client = Client(AudioStreamTrack())
        second, closed = client.connection.createDataChannel("more"), asyncio.Event()
        second.on("close", closed.set)
        received: list[str] = []
        second.on("message", received.append)
        assert await client.connect(server) == 200
        await client.until(lambda line: line["type"] == "state")
        async with asyncio.timeout(20):
            await closed.wait()
        assert not received
        assert server.sessions()[0]["listeners"] == 1
        await client.connection.close()

    refused = server.post_offer({"type": "offer", "sdp": asyncio.run(offer_six_tracks())})
    assert refused.status_code == 400
    assert "6 video sections" in refused.json()["error"]
    asyncio.run(open_two_channels())
    until(lambda: not server.sessions(), "the session to end")
