"""A browser, or any other WebRTC client: sends video and sound, gets events on a data channel.

The client offers at most one video and one sound track, and the server answers once (no trickle ICE, no
renegotiation). The client opens one data channel, which carries the events and `clients.messages`; any
further channel is closed. aiortc decodes on its own threads. Every frame goes to the session at once, and
the session drops what it has no time for.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections import Counter
from collections.abc import Coroutine

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

from affectstream.stream.serve.clients.subscribers import SendQueue
from affectstream.stream.serve.hub import Hub
from affectstream.stream.serve.ingest.timing import DecodeSpeed, TrackClock, media_us
from affectstream.stream.serve.limits import (
    CONNECT_S,
    MAX_SDP_CHARS,
    TEXTS_BURST,
    TEXTS_PER_S,
    RateLimit,
)
from affectstream.stream.serve.session import ServedSession

_log = logging.getLogger(__name__)

_MAX_CHANNEL_BYTES = 64 * 1024
"""What may wait in a data channel. The rest waits in the `SendQueue`, which drops."""
_MODALITIES = {"video": "video", "audio": "voice"}


class BadOffer(Exception):
    """An offer that cannot be answered, and why."""


async def answer_offer(hub: Hub, body: bytes, stun: tuple[str, ...]) -> dict[str, str]:
    """Open a session for an offer, and return the answer.

    Raises `BadOffer`, `Unavailable` or `AffectstreamError`; no session is left then.
    """
    offer, name = parse_offer(body)
    session = hub.open("webrtc", _offered_modalities(offer), name)
    return await WebRtcClient(hub, session, stun).answer(offer)


def parse_offer(body: bytes) -> tuple[RTCSessionDescription, str | None]:
    """The offer, and the name that the client wants in events. Raises `BadOffer`."""
    try:
        offer = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise BadOffer(f"the body is not JSON: {error}") from error
    if not isinstance(offer, dict) or not isinstance(offer.get("sdp"), str):
        raise BadOffer('expected {"type": "offer", "sdp": "..."}')
    if offer.get("type") != "offer":
        raise BadOffer(f"type is {str(offer.get('type'))[:40]!r}, expected 'offer'")
    if len(offer["sdp"]) > MAX_SDP_CHARS:
        raise BadOffer(
            f"the SDP has {len(offer['sdp'])} characters, expected at most {MAX_SDP_CHARS}"
        )
    name = offer.get("name")
    if name is not None and not isinstance(name, str):
        raise BadOffer(f"name is {type(name).__name__}, expected a string")
    return RTCSessionDescription(offer["sdp"], "offer"), name


def _offered_modalities(offer: RTCSessionDescription) -> list[str]:
    try:
        parsed = SessionDescription.parse(offer.sdp)
    except Exception as error:  # the parser asserts, indexes and converts whatever it is given
        raise BadOffer(f"the SDP cannot be read: {type(error).__name__}") from error
    for kind, count in Counter(m.kind for m in parsed.media).items():
        if count > 1:  # one session would do the work of several
            raise BadOffer(
                f"the offer has {count} {kind} sections (m={kind}), expected at most one: "
                "offer one track of a kind"
            )
    kinds = [m.kind for m in parsed.media if m.direction in ("sendrecv", "sendonly")]
    return [modality for kind, modality in _MODALITIES.items() if kind in kinds]


class WebRtcClient:
    """One WebRTC client from its offer to its end."""

    def __init__(self, hub: Hub, session: ServedSession, stun: tuple[str, ...]) -> None:
        self._hub, self._session = hub, session
        servers = [RTCIceServer(urls=list(stun))] if stun else []
        self._connection = RTCPeerConnection(RTCConfiguration(iceServers=servers))
        self._tasks: set[asyncio.Task[None]] = set()
        self._channel: RTCDataChannel | None = None
        session.on_end.append(self._disconnect)
        self._connection.on("track", lambda track: self._start(self._receive(track)))
        self._connection.on("datachannel", self._open_channel)
        self._connection.on("connectionstatechange", self._on_state_change)

    async def answer(self, offer: RTCSessionDescription) -> dict[str, str]:
        """Accept the offer, and return the answer. Raises `BadOffer`; the session is closed then."""
        try:
            await self._connection.setRemoteDescription(offer)
            await self._connection.setLocalDescription(await self._connection.createAnswer())
        except Exception as error:  # aiortc raises whatever a strange offer leads to
            reason = f"the offer cannot be answered: {error}"
            await self._close(reason)
            raise BadOffer(reason) from error
        self._start(self._watch())
        local = self._connection.localDescription
        return {
            "type": local.type,
            "sdp": local.sdp,
            "session": self._session.id,
            "secret": self._session.secret,
        }

    async def _close(self, reason: str | None = None) -> None:
        """End the session, which then disconnects; see `Hub.close`."""
        await self._hub.close(self._session, reason)

    async def _disconnect(self) -> None:
        """Release every socket and thread."""
        for task in self._tasks - {asyncio.current_task()}:
            task.cancel()
        await self._connection.close()

    def _start(self, work: Coroutine[object, object, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _receive(self, track: MediaStreamTrack) -> None:
        """Pass on the frames of one track."""
        clock: TrackClock | None = None
        decoding = DecodeSpeed()
        while True:
            try:
                frame = await track.recv()
            except MediaStreamError:
                return
            if not isinstance(frame, av.VideoFrame | av.AudioFrame):
                continue
            if frame.pts is None or frame.time_base is None:
                continue
            arrived_s = time.monotonic()
            clock = clock or TrackClock(self._session.start_clock())
            speed = decoding.push(media_us(frame), arrived_s)
            if speed is not None:
                self._start(self._close(f"decoding keeps up with {speed:.0%} only"))
                return
            self._session.push_frame(frame, clock.session_us(frame, arrived_s), arrived_s)

    def _open_channel(self, channel: RTCDataChannel) -> None:
        if self._channel is not None:
            channel.close()
            return
        self._channel = channel
        queue = self._session.subscribers.add(everything=True)
        texts = RateLimit(TEXTS_PER_S, TEXTS_BURST)

        def receive(text: str | bytes) -> None:
            self._session.mark_alive()
            if texts.take("", time.monotonic()):
                return
            if not self._session.receive_text(text, queue):
                self._start(self._close())

        channel.on("message", receive)
        self._start(self._send(channel, queue))

    async def _send(self, channel: RTCDataChannel, queue: SendQueue) -> None:
        async def send(line: str) -> None:
            while channel.bufferedAmount > _MAX_CHANNEL_BYTES:
                await asyncio.sleep(0.02)
            channel.send(line)

        try:
            await queue.deliver(send)
        except TimeoutError:
            self._start(self._close("the client does not read what it is sent"))
        except Exception as error:  # the channel was closed meanwhile
            _log.debug("session %s: data channel: %s", self._session.id, error)
        finally:
            self._session.subscribers.remove(queue)

    async def _watch(self) -> None:
        """End the session if the client does not connect, or sends nothing any more."""
        opened_s = time.monotonic()
        reason: str | None = None
        while reason is None:
            await asyncio.sleep(0.5)
            now_s = time.monotonic()
            if self._connection.connectionState == "connected":
                reason = self._session.check_silence(now_s)
            elif now_s - opened_s > CONNECT_S:
                reason = f"no connection was made within {CONNECT_S:g} s"
            else:
                self._session.mark_alive()
        await self._close(reason)

    async def _on_state_change(self) -> None:
        match self._connection.connectionState:
            case "failed":
                await self._close("the connection broke off")
            case "closed":  # by the client
                await self._close()
