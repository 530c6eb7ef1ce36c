"""uvicorn's connections, with limits that it lacks: requests that never end, clients that do not read."""

from __future__ import annotations

import asyncio
import logging
from typing import cast

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from affectstream.stream.serve.limits import ABORT_S, REQUEST_S


class HttpProtocol(H11Protocol):
    """HTTP that waits for the head of a request no longer than `REQUEST_S`; uvicorn waits for ever."""

    _deadline: asyncio.TimerHandle | None = None
    _upgraded = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start the deadline."""
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
    def _awaits_request(self) -> bool:
        return not self._upgraded and (self.cycle is None or self.cycle.response_complete)

    def _update_deadline(self) -> None:
        """Run the deadline from the start of a connection or request until its head is complete."""
        if self._awaits_request and self._deadline is None:
            self._deadline = self.loop.call_later(REQUEST_S, self._abort_if_waiting)
        elif not self._awaits_request and self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _abort_if_waiting(self) -> None:
        if self._awaits_request:
            self.transport.abort()


class WebSocketProtocol(WebSocketsSansIOProtocol):
    """WebSockets that report a broken connection as 1006, wait for clients that send much, and are cut
    if the client does not read its last messages."""

    _received_s = 0.0

    def data_received(self, data: bytes) -> None:
        """Note when the client last sent anything."""
        self._received_s = self.loop.time()
        super().data_received(data)

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


_CAUSED_BY_CLIENTS = (
    "Exceeded concurrency limit",
    "Invalid HTTP request",
    "Invalid UTF-8 sequence",
    "without completing handshake",  # of each WebSocket that was refused
)


def is_server_fault(record: logging.LogRecord) -> bool:
    """Filters uvicorn's log: with lines that clients cause anyone could fill a disk."""
    return not any(text in record.getMessage() for text in _CAUSED_BY_CLIENTS)
