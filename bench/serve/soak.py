"""An hour of live sessions, some of which come and go: does anything grow, is anything left over?

A server is started (`affectstream serve`). Half of the sessions send WebM over a WebSocket without a pause,
and are opened anew should they break off; the others end after ten seconds to a minute and connect anew, in
turn over WebRTC and over a WebSocket, every other time without a word. Memory, threads, tasks and open files
of the server are read as it runs, and after the last session has gone they are compared with those of before
the first. Why sessions failed is in the result.

    affectstream bench soak --minutes 60 --sessions 4
"""

from __future__ import annotations

import asyncio
import io
import json
import random
import re
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, field, fields
from fractions import Fraction
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.request import Request, urlopen

import av

from affectstream.bench.machine import describe
from affectstream.bench.recordings import write_demo_recording
from affectstream.bench.serve.webm import webm
from affectstream.bench.server_process import serving
from affectstream.stream.errors import SourceError

LOOP_S = 20.0
SETTLE_S = 60.0
"""Memory counts from here on; and this long after the last session what is left over is counted."""
EVERY_S = 10.0
SHORTEST_S, LONGEST_S = 10.0, 60.0
OPEN_S = 30.0
"""What a server under load has to answer; then an opening has failed."""
MOST_REASONS = 10


@dataclass(frozen=True, slots=True)
class ServerUsage:
    """What the server holds at one moment."""

    at_s: float
    memory_mb: float
    threads: int
    tasks: int
    files: int
    sessions: int


@dataclass(slots=True)
class ClientCounts:
    """What the clients saw, all together."""

    events: int = 0
    opened: int = 0
    reconnected: int = 0
    failed: int = 0
    """Sessions that broke off, or that nothing came back of, though their client meant to stay."""
    reopened: int = 0
    """Those without a pause that were opened anew after they failed."""
    reasons: dict[str, int] = field(default_factory=dict)
    """Why sessions failed, and how many."""
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def fail(self, kind: str, why: str) -> None:
        """One session failed."""
        with self._lock:
            self.failed += 1
            text = f"{kind}: {why}"[:200]
            if text not in self.reasons and len(self.reasons) >= MOST_REASONS:
                text = "others"
            self.reasons[text] = self.reasons.get(text, 0) + 1

    def figures(self) -> dict[str, Any]:
        """All counts by name."""
        return {f.name: getattr(self, f.name) for f in fields(self) if not f.name.startswith("_")}


def main(file: Path | None, bundle: str, device: str, sessions: int, minutes: float) -> None:
    """Run and print."""
    with TemporaryDirectory() as scratch:
        path = file or write_demo_recording(LOOP_S, Path(scratch))
        media = b"".join(data for _, data in webm(path, LOOP_S))
    with serving(bundle, device, sessions + 1) as server:
        _warm(server.address, media)
        before = _idle(server.pid, server.address)
        held, tally = _run(server.pid, server.address, media, sessions, minutes * 60)
        time.sleep(SETTLE_S)
        after = _held(server.pid, server.address, held[-1].at_s + SETTLE_S)
    settled = [one for one in held if one.at_s >= SETTLE_S] or held
    growth = max(one.memory_mb for one in settled) - settled[0].memory_mb
    figures = {
        "minutes": minutes,
        "clients": sessions,
        **tally.figures(),
        "memory_first_mb": settled[0].memory_mb,
        "memory_growth_mb": round(growth, 1),
        "before": asdict(before),
        "after": asdict(after),
    }
    print(
        f"memory after a minute {settled[0].memory_mb:.0f} MB, growth {growth:.0f} MB (aim under 50)"
    )
    print(f"before  {_told(before)}\nafter   {_told(after)}")
    print(
        f"{tally.events} events; {tally.opened} sessions opened, {tally.reconnected} of them again; "
        f"{tally.failed} failed"
    )
    for why, count in tally.reasons.items():
        print(f"{count} x {why}")
    print(json.dumps({"bench": "soak", "figures": figures, "machine": describe()}))


def _warm(address: str, media: bytes) -> None:
    """One session of each kind, so that what is made once and kept does not look like a leak."""
    ends = time.monotonic() + SHORTEST_S
    _over_socket(address, media, ends, ClientCounts(), polite=True)
    asyncio.run(_over_webrtc(address, media, ends + SHORTEST_S, ClientCounts(), polite=True))
    time.sleep(SHORTEST_S)


def _idle(pid: int, address: str) -> ServerUsage:
    """What the server holds once the last session of the warming has gone, waiting a minute at most."""
    end_s = time.monotonic() + LONGEST_S
    while (held := _held(pid, address, 0.0)).sessions and time.monotonic() < end_s:
        time.sleep(1.0)
    return held


def _told(held: ServerUsage) -> str:
    return (
        f"{held.memory_mb:.0f} MB, {held.threads} threads, {held.tasks} tasks, {held.files} files, "
        f"{held.sessions} sessions"
    )


def _run(
    pid: int, address: str, media: bytes, sessions: int, seconds: float
) -> tuple[list[ServerUsage], ClientCounts]:
    tally, held, start_s = ClientCounts(), list[ServerUsage](), time.monotonic()
    end_s = start_s + seconds
    clients = [
        threading.Thread(
            target=_steady if number % 2 == 0 else _restless,
            args=(address, media, end_s, tally, number),
            daemon=True,
        )
        for number in range(sessions)
    ]
    for client in clients:
        client.start()
    while time.monotonic() < end_s:
        time.sleep(min(EVERY_S, max(0.0, end_s - time.monotonic())))
        held.append(_held(pid, address, time.monotonic() - start_s))
        if len(held) % 30 == 0:
            print(f"{held[-1].at_s / 60:4.0f} min  {_told(held[-1])}", flush=True)
    for client in clients:
        client.join(LONGEST_S)
    return held, tally


def _held(pid: int, address: str, at_s: float) -> ServerUsage:
    import psutil

    with urlopen(f"{address}/metrics", timeout=10) as answer:
        text = answer.read().decode()
    process = psutil.Process(pid)
    return ServerUsage(
        at_s=round(at_s, 1),
        memory_mb=round(process.memory_info().rss / 1e6, 1),
        threads=process.num_threads(),
        tasks=_gauge(text, "tasks"),
        files=process.num_fds(),
        sessions=_gauge(text, "sessions"),
    )


def _gauge(text: str, name: str) -> int:
    found = re.search(rf"^affectstream_{name} ([\d.e+]+)$", text, re.MULTILINE)
    if found is None:
        raise SourceError(f"the server tells no affectstream_{name}: is it of another version?")
    return int(float(found[1]))


def _steady(address: str, media: bytes, end_s: float, tally: ClientCounts, number: int) -> None:
    """One session without an end; one that broke off is opened anew."""
    while True:
        tally.opened += 1
        _over_socket(address, media, end_s, tally, polite=True)
        if end_s - time.monotonic() < SHORTEST_S:
            return
        tally.reopened += 1
        time.sleep(1.0)


def _restless(address: str, media: bytes, end_s: float, tally: ClientCounts, number: int) -> None:
    """Sessions of random length, one after the other; none that the end would cut short."""
    chance, turn = random.Random(number), 0
    while end_s - (now := time.monotonic()) >= SHORTEST_S:
        until_s = min(end_s, now + chance.uniform(SHORTEST_S, LONGEST_S))
        polite = turn // 2 % 2 == 0
        if turn % 2:
            asyncio.run(_over_webrtc(address, media, until_s, tally, polite=polite))
        else:
            _over_socket(address, media, until_s, tally, polite=polite)
        tally.opened += 1
        tally.reconnected += turn > 0
        turn += 1
        time.sleep(chance.uniform(0.1, 2.0))


def _over_socket(
    address: str, media: bytes, end_s: float, tally: ClientCounts, *, polite: bool
) -> None:
    from websockets.exceptions import WebSocketException
    from websockets.sync.client import connect

    last = "nothing came"

    def read() -> None:
        nonlocal last
        with suppress(WebSocketException, OSError):
            for line in socket:
                text = str(line)
                tally.events += '"emotion"' in text[:60]
                if '"ended"' in text or '"error"' in text[:40]:
                    last = text[:200]

    try:
        with connect(
            f"{address.replace('http', 'ws', 1)}/ingest?format=webm", open_timeout=OPEN_S
        ) as socket:
            reading = threading.Thread(target=read, daemon=True)
            reading.start()
            start_s = time.monotonic()
            for at_s, data in _endless(media):
                time.sleep(max(0.0, start_s + at_s - time.monotonic()))
                if time.monotonic() >= end_s:
                    break
                socket.send(data)
            if polite:
                socket.send('{"type":"end"}')
                reading.join(5)
            else:
                socket.socket.close()
    except (OSError, WebSocketException) as error:  # one without a word breaks off at its end only
        if polite or time.monotonic() < end_s:
            tally.fail("websocket", f"{_why(error)}; {_told_last(last)}")


def _told_last(line: str) -> str:
    """What the server told of the end of a session."""
    found = re.search(r'"(?:detail|error)":"([^"]*)', line)
    return found[1] if found else "it was told no reason"


def _why(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"


async def _over_webrtc(
    address: str, media: bytes, end_s: float, tally: ClientCounts, *, polite: bool
) -> None:
    from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription

    peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    channel = peer.createDataChannel("events")
    came = asyncio.Event()

    @channel.on("message")
    def heard(line: str) -> None:
        came.set()
        tally.events += '"emotion"' in line[:60]

    def ask(offer: bytes) -> bytes:
        request = Request(f"{address}/offer", offer, {"content-type": "application/json"})
        answer: bytes = urlopen(request, timeout=OPEN_S).read()
        return answer

    try:
        peer.addTrack(_camera(media))
        await peer.setLocalDescription(await peer.createOffer())
        offer = {"type": "offer", "sdp": peer.localDescription.sdp}
        answer = json.loads(await asyncio.to_thread(ask, json.dumps(offer).encode()))
        await peer.setRemoteDescription(RTCSessionDescription(answer["sdp"], answer["type"]))
        opened_s = time.monotonic()
        await asyncio.sleep(max(0.0, end_s - opened_s))
        if not came.is_set():
            waited_s = time.monotonic() - opened_s
            tally.fail(
                "webrtc",
                f"nothing came, {peer.connectionState}, channel {channel.readyState}, "
                f"after {'less' if waited_s < SHORTEST_S else 'more'} than {SHORTEST_S:g} s",
            )
    except Exception as error:  # aiortc raises what it is led to; each is one that failed
        tally.fail("webrtc", _why(error))
    finally:
        if not polite:  # the other end hears no more, and has to find out by itself
            for sender in peer.getSenders():
                await sender.stop()
            await asyncio.sleep(LONGEST_S / 4)
        await peer.close()


def _pictures(media: bytes) -> Iterator[av.VideoFrame]:
    with av.open(io.BytesIO(media), "r") as file:
        for frame in file.decode(video=0):
            yield frame.reformat(320, 180)


def _camera(media: bytes) -> Any:
    """A track of 15 small pictures a second."""
    from aiortc import MediaStreamTrack

    frames, start_s = list(_pictures(media))[::2], time.monotonic()

    class Camera(MediaStreamTrack):
        kind = "video"
        count = 0

        async def recv(self) -> av.VideoFrame:
            self.count += 1
            await asyncio.sleep(max(0.0, start_s + self.count / 15 - time.monotonic()))
            frame = frames[self.count % len(frames)]
            frame.pts, frame.time_base = self.count, Fraction(1, 15)
            return frame

    return Camera()


def _endless(media: bytes) -> Iterator[tuple[float, bytes]]:
    """`media` over and over as one WebM: seconds from the start, and the bytes that are due then."""
    out = io.BytesIO()
    with av.open(io.BytesIO(media), "r") as source:
        kinds = {s.index: s for s in source.streams if s.type in ("video", "audio")}
        packets = [p for p in source.demux(*kinds.values()) if p.pts is not None]
        live = {"cluster_time_limit": "100", "live": "1"}
        with av.open(out, "w", format="webm", options=live) as file:
            to = {index: file.add_stream_from_template(s) for index, s in kinds.items()}
            length_s, offset_s = LOOP_S + 0.1, 0.0
            while True:
                for packet in packets:
                    base = packet.time_base
                    assert base is not None and packet.pts is not None
                    at_s = offset_s + float(packet.pts * base)
                    copy = av.Packet(bytes(packet))
                    copy.stream, copy.time_base = to[packet.stream.index], base
                    copy.pts = copy.dts = packet.pts + round(offset_s / base)
                    copy.is_keyframe = packet.is_keyframe
                    file.mux(copy)
                    data = out.getvalue()
                    if data:
                        yield at_s, data
                        out.seek(0)
                        out.truncate()
                offset_s += length_s
