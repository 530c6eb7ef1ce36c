"""uvicorn's connections, with limits that it lacks: requests that never end, clients that do not read.

These classes override methods that uvicorn does not document, so pyproject.toml pins its version.
"""

from __future__ import annotations

import asyncio
from typing import cast

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from affectstream.stream.serve.limits import ABORT_S, MAX_UNREAD_BYTES, REQUEST_S


class HttpProtocol(H11Protocol):
    """HTTP that waits for the head of a request no longer than `REQUEST_S`; uvicorn waits for ever."""

    opened_s = 0.0
    """When the connection was opened, by the clock of the loop."""
    _deadline: asyncio.TimerHandle | None = None
    _upgraded = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start the deadline."""
        self.opened_s = self.loop.time()
        super().connection_made(cast(asyncio.Transport, transport))
        self._update_deadline()

    def data_received(self, data: bytes) -> None:
        """Update the deadline."""
        super().data_received(data)
        self._update_deadline()

    def handle_websocket_upgrade(self, event: h11.Request) -> None:
        """End the deadline: the request is complete."""
        self._upgraded = True
        super().handle_websocket_upgrade(event)

    def connection_lost(self, exc: Exception | None) -> None:
        """End the deadline."""
        self._upgraded = True
        self._update_deadline()
        super().connection_lost(exc)

    def abort_unfinished_body(self) -> None:
        """Cut the connection if the body of its request is not complete."""
        if self.cycle is not None and self.cycle.more_body and not self.cycle.response_complete:
            self.transport.abort()

    @property
    def awaits_request(self) -> bool:
        """Whether the head of a request is still to come."""
        return not self._upgraded and (self.cycle is None or self.cycle.response_complete)

    def _update_deadline(self) -> None:
        """Run the deadline from the start of a connection or request until its head is complete."""
        if self.awaits_request and self._deadline is None:
            self._deadline = self.loop.call_later(REQUEST_S, self._abort_if_waiting)
        elif not self.awaits_request and self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _abort_if_waiting(self) -> None:
        if self.awaits_request:
            self.transport.abort()


class WebSocketProtocol(WebSocketsSansIOProtocol):
    """WebSockets that report a broken connection as 1006, wait for clients that send much, and are cut
    if the client does not read its last messages, or the answers to its pings."""

    _received_s = 0.0

    def data_received(self, data: bytes) -> None:
        """Note when the client last sent anything. Cut it if it does not read."""
        self._received_s = self.loop.time()
        super().data_received(data)
        # Messages wait for the client to read, but each ping is answered at once.
        if self.transport.get_write_buffer_size() > MAX_UNREAD_BYTES:
            self.transport.abort()

    def keepalive_timeout(self) -> None:
        """Close the connection for a missing pong, unless the client is sending."""
        # The pong is queued behind everything that was sent before it, which is read at its own pace.
        if self.read_paused or self._received_s > self.ping_sent_at:
            self.pong_timer = self.pending_ping_payload = None
            self.schedule_ping()
        else:
            super().keepalive_timeout()

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the application if the client did not close the connection."""
        if self.handshake_complete and self.conn.close_rcvd is None:
            self.queue.put_nowait({"type": "websocket.disconnect", "code": 1006})
        super().connection_lost(exc)

    def on_task_complete(self, task: asyncio.Task[None]) -> None:
        """Cut the connection soon after the application has finished."""
        super().on_task_complete(task)
        if self.transport is not None:
            self.loop.call_later(ABORT_S, self.transport.abort)
