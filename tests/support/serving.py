"""A real server on loopback for tests, and small recordings to send to it."""

from __future__ import annotations

import io
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import av
import httpx
import numpy as np
import pytest
from numpy.typing import NDArray
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection

from affectstream.stream.recognizer import Recognizer
from affectstream.stream.serve.http import guard
from affectstream.stream.serve.options import ServeOptions
from affectstream.stream.serve.server import build, listen
from affectstream.stream.serve.supervisor import Supervisor

TOKEN = "correct-horse-battery"
MESSAGE_TYPES = {"session", "faces", "words", "state", "pong", "error"}
"""The messages that are no events."""


@dataclass(frozen=True)
class RunningServer:
    """A server in a thread, and its address."""

    address: str
    server: Any
    """A `Server`, or a `Supervisor` with its workers."""

    @property
    def ws(self) -> str:
        return self.address.replace("http", "ws", 1)

    def get(self, path: str, **more: Any) -> httpx.Response:
        return httpx.get(self.address + path, timeout=10, **more)

    def sessions(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.get("/sessions").json()["sessions"]
        return found

    def post_offer(self, body: object, **headers: str) -> httpx.Response:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        headers = {"content-type": "application/json", **headers}
        return httpx.post(self.address + "/offer", content=content, headers=headers, timeout=10)


@contextmanager
def running(recognizer: Recognizer, **options: Any) -> Iterator[RunningServer]:
    """A server on a free port, in a thread; all its sessions are gone when this ends."""
    chosen = ServeOptions(port=0, **options)
    with listen(chosen) as listener:
        server = build(recognizer, chosen)
        address: list[str] = []
        listening = threading.Event()

        def announce(listens_at: str) -> None:
            address.append(listens_at)
            listening.set()

        server.announce = announce
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            assert listening.wait(20), "the server did not start"
            yield RunningServer(address[0], server)
        finally:
            server.should_exit = True
            thread.join(20)
            assert not thread.is_alive()


@contextmanager
def running_workers(workers: int, **options: Any) -> Iterator[RunningServer]:
    """A server with several processes, on a free port."""
    supervisor = Supervisor("pocket", "cpu", ServeOptions(port=0, **options), workers)
    address: list[str] = []
    thread = threading.Thread(target=supervisor.run, args=(address.append,))
    thread.start()
    try:
        until(lambda: address or not thread.is_alive(), "the workers to start", wait_s=60.0)
        yield RunningServer(address[0], supervisor)
    finally:
        supervisor.stop()
        thread.join(20)
        assert not thread.is_alive()


@contextmanager
def allow_loopback_ice() -> Iterator[None]:
    """ICE skips 127.0.0.1, but a test machine may have no other address. Many clients come from it."""
    import aioice.ice

    found = aioice.ice.get_host_addresses

    def addresses(use_ipv4: bool, use_ipv6: bool) -> list[str]:
        return found(use_ipv4=use_ipv4, use_ipv6=use_ipv6) or ["127.0.0.1"]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(aioice.ice, "get_host_addresses", addresses)
        patch.setattr(guard, "OPENINGS_BURST", 1e6)
        yield


def until(condition: Callable[[], Any], what: str, wait_s: float = 20.0) -> Any:
    """The value of `condition` once it is true."""
    end_s = time.monotonic() + wait_s
    while time.monotonic() < end_s:
        if found := condition():
            return found
        time.sleep(0.02)
    raise AssertionError(f"waited {wait_s} s for {what}")


def send(socket: ClientConnection, data: bytes, piece: int = 8192) -> None:
    """Send `data` in pieces."""
    for start in range(0, len(data), piece):
        socket.send(data[start : start + piece])


def receive(socket: ClientConnection, until_type: str | None = None) -> list[dict[str, Any]]:
    """The messages until the server closes, or up to the first of `until_type`."""
    found: list[dict[str, Any]] = []
    try:
        while True:
            found.append(json.loads(socket.recv(timeout=30)))
            if found[-1]["type"] == until_type:
                return found
    except ConnectionClosed:
        return found


def last_event(found: list[dict[str, Any]]) -> dict[str, Any]:
    """The last message, which must be an event of the stream."""
    assert found[-1]["type"] == "stream"
    return found[-1]


def recording(picture: NDArray[np.uint8], seconds: float, container: str = "webm") -> bytes:
    """A still `picture` (H, W, 3) with a tone, as the bytes of a WebM or MPEG-TS file, 15 Hz."""
    webm = container == "webm"
    out = io.BytesIO()
    with av.open(out, "w", format=container) as file:
        video = file.add_stream("libvpx" if webm else "mpeg2video", rate=15 if webm else 25)
        if webm:
            video.options = {"deadline": "realtime", "cpu-used": "8", "g": "15"}
        video.height, video.width = picture.shape[:2]
        video.pix_fmt = "yuv420p"
        sound = file.add_stream("libopus" if webm else "mp2", rate=48_000, layout="mono")
        rate = 15 if webm else 25
        for number in range(round(seconds * rate)):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, rate)
            file.mux(video.encode(frame))
            per = 48_000 // rate
            t = (np.arange(per) + number * per) / 48_000
            wave = (0.3 * np.sin(2 * np.pi * 200 * t) * 32767).astype(np.int16)
            tone = av.AudioFrame.from_ndarray(wave[None], format="s16", layout="mono")
            tone.sample_rate, tone.pts, tone.time_base = (
                48_000,
                number * per,
                Fraction(1, 48_000),
            )
            file.mux(sound.encode(tone))
        file.mux(video.encode())
        file.mux(sound.encode())
    return out.getvalue()
