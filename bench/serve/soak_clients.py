"""The clients of `affectstream bench soak`: sessions that stay, and sessions that come and go."""

from __future__ import annotations

import asyncio
import io
import json
import random
import re
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field, fields
from fractions import Fraction
from typing import Any
from urllib.request import Request, urlopen

import av

from affectstream.bench.serve.webm import loop_webm

MEDIA_S = 20.0
"""Length of the media that the clients send in a loop."""
SHORTEST_S, LONGEST_S = 10.0, 60.0
"""Length of the sessions that come and go."""
OPEN_TIMEOUT_S = 30.0
MAX_REASONS = 10
_CAMERA_FPS, _CAMERA_SIZE = 15, (320, 180)


@dataclass(slots=True)
class ClientCounts:
    """Counts over all clients."""

    events: int = 0
    opened: int = 0
    reconnected: int = 0
    failed: int = 0
    """Sessions that broke off before the client ended them, or that gave no event."""
    reopened: int = 0
    """Permanent sessions that were opened again after they failed."""
    reasons: dict[str, int] = field(default_factory=dict)
    """Sessions that failed, by reason."""
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def fail(self, transport: str, reason: str) -> None:
        """Count one session that failed. After `MAX_REASONS` different reasons, new ones are "others"."""
        with self._lock:
            self.failed += 1
            text = f"{transport}: {reason}"[:200]
            if text not in self.reasons and len(self.reasons) >= MAX_REASONS:
                text = "others"
            self.reasons[text] = self.reasons.get(text, 0) + 1

    def document(self) -> dict[str, Any]:
        """All counts by name, for JSON."""
        return {f.name: getattr(self, f.name) for f in fields(self) if not f.name.startswith("_")}


def run_permanent(
    address: str, media: bytes, end_s: float, counts: ClientCounts, number: int
) -> None:
    """One session over a WebSocket until `end_s` (monotonic). A session that breaks off is opened again."""
    while True:
        counts.opened += 1
        send_websocket(address, media, end_s, counts)
        if end_s - time.monotonic() < SHORTEST_S:
            return
        counts.reopened += 1
        time.sleep(1.0)


def run_changing(
    address: str, media: bytes, end_s: float, counts: ClientCounts, number: int
) -> None:
    """Sessions of random length one after another, until less than `SHORTEST_S` is left before `end_s`.

    They alternate between WebSocket and WebRTC; every second pair leaves without closing. `number` seeds
    the lengths.
    """
    draw, turn = random.Random(number), 0
    while end_s - (now := time.monotonic()) >= SHORTEST_S:
        until_s = min(end_s, now + draw.uniform(SHORTEST_S, LONGEST_S))
        closes = turn // 2 % 2 == 0
        if turn % 2:
            asyncio.run(send_webrtc(address, media, until_s, counts, closes=closes))
        else:
            send_websocket(address, media, until_s, counts, closes=closes)
        counts.opened += 1
        counts.reconnected += turn > 0
        turn += 1
        time.sleep(draw.uniform(0.1, 2.0))


def send_websocket(
    address: str, media: bytes, end_s: float, counts: ClientCounts, *, closes: bool = True
) -> None:
    """One session that sends WebM until `end_s`, then closes it in order or cuts the connection."""
    from websockets.exceptions import WebSocketException
    from websockets.sync.client import connect

    last = "nothing came"

    def read() -> None:
        nonlocal last
        with suppress(WebSocketException, OSError):
            for line in socket:
                text = str(line)
                counts.events += '"emotion"' in text[:60]
                if '"ended"' in text or '"error"' in text[:40]:
                    last = text[:200]

    url = f"{address.replace('http', 'ws', 1)}/ingest?format=webm"
    try:
        with connect(url, open_timeout=OPEN_TIMEOUT_S) as socket:
            reading = threading.Thread(target=read, daemon=True)
            reading.start()
            start_s = time.monotonic()
            for due_s, data in loop_webm(media, MEDIA_S + 0.1):
                time.sleep(max(0.0, start_s + due_s - time.monotonic()))
                if time.monotonic() >= end_s:
                    break
                socket.send(data)
            if closes:
                socket.send('{"type":"end"}')
                reading.join(5)
            else:
                socket.socket.close()
    except (OSError, WebSocketException) as error:
        if closes or time.monotonic() < end_s:  # a connection that we cut raises too
            counts.fail("websocket", f"{_describe(error)}; {_reason(last)}")


def _reason(line: str) -> str:
    """Why the server ended a session, from its last message."""
    found = re.search(r'"(?:detail|error)":"([^"]*)', line)
    return found[1] if found else "the server gave no reason"


def _describe(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"


async def send_webrtc(
    address: str, media: bytes, end_s: float, counts: ClientCounts, *, closes: bool = True
) -> None:
    """One session that sends a camera over WebRTC until `end_s`, then closes it or just stops sending."""
    from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription

    peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    channel = peer.createDataChannel("events")
    received = asyncio.Event()

    @channel.on("message")
    def receive(line: str) -> None:
        received.set()
        counts.events += '"emotion"' in line[:60]

    def exchange(offer: bytes) -> bytes:
        request = Request(f"{address}/offer", offer, {"content-type": "application/json"})
        answer: bytes = urlopen(request, timeout=OPEN_TIMEOUT_S).read()
        return answer

    try:
        peer.addTrack(_camera(media))
        await peer.setLocalDescription(await peer.createOffer())
        offer = {"type": "offer", "sdp": peer.localDescription.sdp}
        answer = json.loads(await asyncio.to_thread(exchange, json.dumps(offer).encode()))
        await peer.setRemoteDescription(RTCSessionDescription(answer["sdp"], answer["type"]))
        opened_s = time.monotonic()
        await asyncio.sleep(max(0.0, end_s - opened_s))
        if not received.is_set():
            compared = "less" if time.monotonic() - opened_s < SHORTEST_S else "more"
            counts.fail(
                "webrtc",
                f"nothing came, {peer.connectionState}, channel {channel.readyState}, "
                f"after {compared} than {SHORTEST_S:g} s",
            )
    except Exception as error:  # aiortc raises errors of many kinds; each is a session that failed
        counts.fail("webrtc", _describe(error))
    finally:
        if not closes:  # the server has to notice by itself
            for sender in peer.getSenders():
                await sender.stop()
            await asyncio.sleep(LONGEST_S / 4)
        await peer.close()


def _camera(media: bytes) -> Any:
    """A video track of 15 small frames a second."""
    from aiortc import MediaStreamTrack

    with av.open(io.BytesIO(media), "r") as file:
        frames = [frame.reformat(*_CAMERA_SIZE) for frame in file.decode(video=0)][::2]
    start_s = time.monotonic()

    class Camera(MediaStreamTrack):
        kind = "video"
        count = 0

        async def recv(self) -> av.VideoFrame:
            self.count += 1
            due_s = start_s + self.count / _CAMERA_FPS
            await asyncio.sleep(max(0.0, due_s - time.monotonic()))
            frame = frames[self.count % len(frames)]
            frame.pts, frame.time_base = self.count, Fraction(1, _CAMERA_FPS)
            return frame

    return Camera()
