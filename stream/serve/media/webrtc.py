"""A browser, or any other WebRTC client: pictures and sound in, events out on a data channel.

The client offers, the server answers once (no trickling, no renegotiation). It opens one data channel and
gets on it what `messages` describes. aiortc decodes on threads of its own; every frame is handed on as it
comes, and it is the session that keeps the newest only.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from typing import Any

import av
from aiortc import (
    RTCConfiguration,
    RTCDataChannel,
    RTCIceServer,
    RTCPeerConnection,
    RTCSessionDescription,
)
from aiortc.mediastreams import MediaStreamError, MediaStreamTrack
from aiortc.sdp import SessionDescription

from affectstream.stream.serve.clients import messages
from affectstream.stream.serve.clients.outbox import Outbox
from affectstream.stream.serve.clocks import Slowness, TrackClock
from affectstream.stream.serve.hub import Hub
from affectstream.stream.serve.limits import (
    CONNECT_S,
    MAX_SDP_CHARS,
    TEXTS_A_SECOND,
    TEXTS_AT_ONCE,
    RateLimit,
)
from affectstream.stream.serve.session import ServedSession

_log = logging.getLogger(__name__)

_CHANNEL_BYTES = 64 * 1024
"""What may wait in a data channel; the rest waits in the queue that drops."""
_MODALITY = {"video": "video", "audio": "voice"}


class BadOffer(Exception):
    """An offer that cannot be answered, and why."""


def read_offer(body: bytes) -> tuple[RTCSessionDescription, str | None]:
    """The offer, and the name that the client wants in events. Raises `BadOffer`."""
    try:
        asked = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise BadOffer(f"the body is not JSON: {error}") from error
    if not isinstance(asked, dict) or not isinstance(asked.get("sdp"), str):
        raise BadOffer('expected {"type": "offer", "sdp": "..."}')
    if asked.get("type") != "offer":
        raise BadOffer(f"type is {str(asked.get('type'))[:40]!r}, expected 'offer'")
    if len(asked["sdp"]) > MAX_SDP_CHARS:
        raise BadOffer(f"the SDP has {len(asked['sdp'])} characters, at most {MAX_SDP_CHARS}")
    name = asked.get("name")
    if name is not None and not isinstance(name, str):
        raise BadOffer(f"name is {type(name).__name__}, expected a string")
    return RTCSessionDescription(asked["sdp"], "offer"), name


def _modalities(offer: RTCSessionDescription) -> list[str]:
    """The modalities that the offer sends. Raises `BadOffer` for what is no SDP."""
    try:
        parsed = SessionDescription.parse(offer.sdp)
    except Exception as error:  # the parser asserts, indexes and converts whatever it is given
        raise BadOffer(f"the SDP cannot be read: {type(error).__name__}") from error
    sending = [m.kind for m in parsed.media if m.direction in ("sendrecv", "sendonly")]
    return [_MODALITY[kind] for kind in ("video", "audio") if kind in sending]


class Peer:
    """One WebRTC client from its offer to its end."""

    def __init__(self, hub: Hub, session: ServedSession, stun: tuple[str, ...]) -> None:
        self._hub, self.session = hub, session
        servers = [RTCIceServer(urls=list(stun))] if stun else []
        self._connection = RTCPeerConnection(RTCConfiguration(iceServers=servers))
        self._tasks: set[asyncio.Task[None]] = set()
        session.at_end.append(self._hang_up)
        self._connection.on("track", self._track)
        self._connection.on("datachannel", self._channel)
        self._connection.on("connectionstatechange", self._changed)

    async def answer(self, offer: RTCSessionDescription) -> dict[str, str]:
        """Take the offer. Returns the answer; raises `BadOffer`, and is closed then."""
        try:
            await self._connection.setRemoteDescription(offer)
            await self._connection.setLocalDescription(await self._connection.createAnswer())
        except Exception as error:  # aiortc raises whatever a strange offer leads it to
            why = f"the offer cannot be answered: {error}"
            await self.close(why)
            raise BadOffer(why) from error
        self._start(self._watch())
        local = self._connection.localDescription
        return {"type": local.type, "sdp": local.sdp, "session": self.session.number}

    async def close(self, why: str | None = None) -> None:
        """End the session, which tells its last events and then hangs up; see `Hub.close`."""
        await self._hub.close(self.session, why)

    async def _hang_up(self) -> None:
        """Let go of every socket and thread."""
        for task in self._tasks - {asyncio.current_task()}:
            task.cancel()
        await self._connection.close()

    def _start(self, work: Any) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _track(self, track: MediaStreamTrack) -> None:
        self._start(self._read(track))

    async def _read(self, track: MediaStreamTrack) -> None:
        """Hand on what a track brings, as it comes."""
        clock: TrackClock | None = None
        slowness = Slowness()
        while True:
            try:
                frame = await track.recv()
            except MediaStreamError:
                return
            if frame.pts is None or frame.time_base is None:
                continue
            clock = clock or TrackClock(self.session.begin())
            speed = slowness.push(round(frame.pts * frame.time_base * 1_000_000), time.monotonic())
            if speed is not None:
                self._start(self.close(f"decoding keeps up with {speed:.0%} only"))
                return
            if isinstance(frame, av.VideoFrame):
                self.session.see(clock, frame)
            elif isinstance(frame, av.AudioFrame):
                self.session.hear(clock, frame)

    def _channel(self, channel: RTCDataChannel) -> None:
        outbox = self.session.audience.listen(everything=True)
        texts = RateLimit(TEXTS_A_SECOND, TEXTS_AT_ONCE)

        def asked(text: str | bytes) -> None:
            self.session.present()
            if texts.take("", time.monotonic()):
                return
            try:
                message = messages.unpack(text)
            except ValueError as error:
                outbox.push(messages.pack(messages.Problem(str(error)[:200])))
                return
            match message:
                case messages.Ping():
                    outbox.push(messages.pack(messages.Pong(message.t)))
                case messages.Words():
                    self.session.said(message)
                case messages.End():
                    self._start(self.close())

        channel.on("message", asked)
        self._start(self._deliver(channel, outbox))

    async def _deliver(self, channel: RTCDataChannel, outbox: Outbox) -> None:
        async def send(line: str) -> None:
            while channel.bufferedAmount > _CHANNEL_BYTES:
                await asyncio.sleep(0.02)
            channel.send(line)

        try:
            await outbox.deliver(send)
        except TimeoutError:
            self._start(self.close("the client does not take what it is sent"))
        except Exception as error:  # the channel closed under it
            _log.debug("session %s: data channel: %s", self.session.number, error)
        finally:
            self.session.audience.leave(outbox)

    async def _watch(self) -> None:
        """End it when it does not connect, or when nothing comes any more."""
        opened_s = time.monotonic()
        while True:
            await asyncio.sleep(0.5)
            now_s = time.monotonic()
            if self._connection.connectionState != "connected":
                if now_s - opened_s > CONNECT_S:
                    why = f"no connection came about within {CONNECT_S:g} s"
                    break
                self.session.present()
            elif (gone := self.session.watch(now_s)) is not None:
                why = gone
                break
        await self.close(why)

    async def _changed(self) -> None:
        match self._connection.connectionState:
            case "failed":
                await self.close("the connection broke off")
            case "closed":  # by the client
                await self.close()


async def accept(hub: Hub, body: bytes, stun: tuple[str, ...]) -> dict[str, str]:
    """Answer an offer. Raises `BadOffer`, `Full` or `AffectstreamError`; nothing is left behind then."""
    offer, name = read_offer(body)
    session = hub.open("webrtc", _modalities(offer), name)
    return await Peer(hub, session, stun).answer(offer)
