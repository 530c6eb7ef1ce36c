"""A WebRTC client for tests, with aiortc."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import av
import numpy as np
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import MediaStreamTrack, VideoStreamTrack
from numpy.typing import NDArray

from tests.support.serving import RunningServer


class Pictures(VideoStreamTrack):
    """A face at 30 frames per second, whose size changes after the first second."""

    def __init__(self, picture: NDArray[np.uint8]) -> None:
        super().__init__()
        self._picture, self._count = picture, 0

    async def recv(self) -> av.VideoFrame:
        pts, time_base = await self.next_timestamp()
        self._count += 1
        frame = av.VideoFrame.from_ndarray(self._picture, format="rgb24")
        if self._count > 30:
            frame = frame.reformat(width=192, height=192)
        frame.pts, frame.time_base = pts, time_base
        return frame


class Client:
    """A WebRTC client, and the messages that it received."""

    def __init__(self, *tracks: MediaStreamTrack) -> None:
        self.connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self.lines: list[dict[str, Any]] = []
        self.closed = asyncio.Event()
        self.channel = self.connection.createDataChannel("events", ordered=False)
        self.channel.on("message", lambda line: self.lines.append(json.loads(line)))
        self.channel.on("close", self.closed.set)
        for track in tracks:
            self.connection.addTrack(track)

    async def connect(self, server: RunningServer) -> int:
        """Offer, and take the answer. Returns the status."""
        await self.connection.setLocalDescription(await self.connection.createOffer())
        local = self.connection.localDescription
        answer = await asyncio.to_thread(
            server.post_offer, {"type": "offer", "sdp": local.sdp, "name": "peer"}
        )
        if answer.status_code == 200:
            found = answer.json()
            await self.connection.setRemoteDescription(
                RTCSessionDescription(found["sdp"], found["type"])
            )
        return answer.status_code

    async def until(self, condition: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """The first line that fits."""
        async with asyncio.timeout(30):
            while True:
                for line in self.lines:
                    if condition(line):
                        return line
                await asyncio.sleep(0.02)
