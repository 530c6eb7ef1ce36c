"""uvicorn around the application: sockets that lead nowhere are closed, and a signal ends all in 2 s."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from affectstream.engines.bundle.bundle import Bundle
from affectstream.stream.errors import OptionError
from affectstream.stream.exits import INTERRUPTED
from affectstream.stream.live.words.dictation import LiveWords
from affectstream.stream.live.words.opening import open_recognizer
from affectstream.stream.recognizer import Recognizer
from affectstream.stream.serve import tls
from affectstream.stream.serve.app import application
from affectstream.stream.serve.hub import Hub, Tally
from affectstream.stream.serve.limits import ABORT_S, MAX_MESSAGE_BYTES, REQUEST_S
from affectstream.stream.serve.memory import share_heaps
from affectstream.stream.serve.metrics import Metrics
from affectstream.stream.serve.options import ServeOptions
from affectstream.stream.serve.record import check_folder
from affectstream.stream.serve.shared import share
from affectstream.stream.sinks.lsl import check_name

_END_S = 1.7
"""What a shutdown takes at most: 2 s are promised, from the signal to the end of the process."""
_FOR_SOCKETS_S, _FOR_CUT_S = 0.3, 0.15
"""What it keeps of that for connections after the sessions, and for those that have to be cut."""
_SAME_S = 0.3
"""Two signals this close are one: `timeout` and other wrappers send it twice."""
_CONNECTIONS = 256
"""Connections beyond those that sessions need are answered with 503."""


class _Patient(H11Protocol):
    """HTTP that waits for the whole of a request's head, but not for ever: uvicorn itself would."""

    _deadline: asyncio.TimerHandle | None = None
    _upgraded = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._watch()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._watch()

    def handle_websocket_upgrade(self, event: h11.Request) -> None:
        self._upgraded = True
        super().handle_websocket_upgrade(event)

    def connection_lost(self, exc: Exception | None) -> None:
        self._upgraded = True
        self._watch()
        super().connection_lost(exc)

    def give_up_body(self) -> None:
        """Cut a request of which more should come."""
        if self.cycle is not None and self.cycle.more_body and not self.cycle.response_complete:
            self.transport.abort()

    @property
    def _waits(self) -> bool:
        return not self._upgraded and (self.cycle is None or self.cycle.response_complete)

    def _watch(self) -> None:
        """Begin to count when a request is begun (or a connection, with none), until it is there."""
        if self._waits and self._deadline is None:
            self._deadline = self.loop.call_later(REQUEST_S, self._give_up)
        elif not self._waits and self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _give_up(self) -> None:
        if self._waits:
            self.transport.abort()


class _Socket(WebSocketsSansIOProtocol):
    """WebSockets that tell a connection that broke off (1006) from one that was closed, bear with a client
    that sends much, and are cut where one does not read what is left for it."""

    _heard_s = 0.0

    def data_received(self, data: bytes) -> None:
        self._heard_s = self.loop.time()
        super().data_received(data)

    def keepalive_timeout(self) -> None:
        # The answer to a ping waits behind all that was sent before it, and that is read at its own pace.
        if self.read_paused or self._heard_s > self.ping_sent_at:
            self.pong_timer = self.pending_ping_payload = None
            self.schedule_ping()
        else:
            super().keepalive_timeout()

    def connection_lost(self, exc: Exception | None) -> None:
        if self.handshake_complete and self.conn.close_rcvd is None:
            self.queue.put_nowait({"type": "websocket.disconnect", "code": 1006})
        super().connection_lost(exc)

    def on_task_complete(self, task: asyncio.Task[None]) -> None:
        super().on_task_complete(task)
        if self.transport is not None:
            self.loop.call_later(ABORT_S, self.transport.abort)


_NOT_OURS = (
    "Exceeded concurrency limit",
    "Invalid HTTP request",
    "Invalid UTF-8 sequence",
    "without completing handshake",  # of each WebSocket that was refused
)


def _is_fault(record: logging.LogRecord) -> bool:
    """Whether a line of uvicorn's log tells of a fault of the server: with those that clients make anyone
    could fill a disk."""
    return not any(text in record.getMessage() for text in _NOT_OURS)


class Server(uvicorn.Server):
    """A uvicorn server that ends its sessions before its connections."""

    def __init__(self, hub: Hub, options: ServeOptions) -> None:
        """Raises `OptionError` where the certificate or its key cannot be used."""
        if options.tls is not None:
            tls.check(*options.tls)
        self.hub = hub
        self.tally: Tally | None = None
        self.signal: int | None = None
        """What ended it, where a signal did."""
        self._signalled_s = 0.0
        self.announce: Callable[[str], None] = lambda address: None
        self._scheme = options.scheme
        super().__init__(
            uvicorn.Config(
                application(hub, options),
                http=_Patient,
                ws=_Socket,
                ws_max_size=MAX_MESSAGE_BYTES,
                ws_ping_interval=5.0,
                ws_ping_timeout=10.0,
                ws_per_message_deflate=False,  # a core's time for what loopback does not need
                limit_concurrency=_CONNECTIONS + 8 * options.max_sessions,
                timeout_keep_alive=5,
                timeout_graceful_shutdown=1,
                ssl_certfile=None if options.tls is None else options.tls[0],
                ssl_keyfile=None if options.tls is None else options.tls[1],
                access_log=False,  # its lines hold the query, and that may hold the token
                log_config=None,
                log_level="warning",
                server_header=False,
                proxy_headers=False,
                lifespan="on",
            )
        )
        logging.getLogger("uvicorn.error").addFilter(_is_fault)

    @property
    def address(self) -> str:
        """Where it listens, such as ``http://127.0.0.1:8765``."""
        host, port = self.servers[0].sockets[0].getsockname()[:2]
        return f"{self._scheme}://{f'[{host}]' if ':' in host else host}:{port}"

    async def startup(self, sockets: Any = None) -> None:
        """Listen, and say where."""
        share_heaps()
        await super().startup(sockets)
        if self.started:
            self.announce(self.address)

    async def shutdown(self, sockets: Any = None) -> None:
        """Let every session tell its last events, then close the connections: all by one deadline."""
        until_s = time.monotonic() + _END_S
        for connection in list(self.server_state.connections):
            if isinstance(connection, _Patient):
                connection.give_up_body()
        self.tally = await self.hub.close_all(until_s - _FOR_SOCKETS_S)
        while self.server_state.tasks and time.monotonic() < until_s - _FOR_SOCKETS_S:
            await asyncio.sleep(
                0.01
            )  # they say goodbye by themselves, but for those that do not read
        left_s = max(0.0, until_s - time.monotonic())
        asyncio.get_running_loop().call_later(max(0.0, left_s - _FOR_CUT_S), self._cut)
        self.config.timeout_graceful_shutdown = left_s  # type: ignore[assignment]
        await super().shutdown(sockets)

    def _cut(self) -> None:
        for connection in list(self.server_state.connections):
            if connection.transport is not None:
                connection.transport.abort()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Ctrl-C and SIGTERM end it in order, a second one at once."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {s: signal.signal(s, self._signalled) for s in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            if self.signal is None:
                for number, handler in before.items():
                    signal.signal(number, handler)
            else:  # the process ends, and a second signal still ends it at once
                gc.freeze()  # or Python would look at every object once more: half a second

    def _signalled(self, number: int, frame: FrameType | None) -> None:
        now_s = time.monotonic()
        if self.signal is None:
            self.signal, self._signalled_s = number, now_s
        elif now_s - self._signalled_s > _SAME_S:
            os.write(2, b"error: interrupted\n")
            os._exit(INTERRUPTED)
        self.should_exit = True


def build(recognizer: Recognizer, options: ServeOptions) -> Server:
    """A server around `recognizer`, which stays its owner's. Raises `OptionError`, `OutputError` where
    nothing can be recorded, and `ModuleNotFoundError` without what `lsl` or `words` need."""
    metrics = Metrics()
    together = recognizer.choice.device != "cpu"
    bundle = share(recognizer.bundle, metrics.observe_stage, together=together)
    shared = Recognizer(bundle, recognizer.choice, recognizer.threads)
    if options.lsl is not None:
        check_name(options.lsl)
    if options.record is not None:
        check_folder(options.record)
    hub = Hub(
        shared,
        max_sessions=options.max_sessions,
        record=options.record,
        words=_words(options, bundle),
        lsl=options.lsl,
        metrics=metrics,
    )
    return Server(hub, options)


def _words(options: ServeOptions, bundle: Bundle) -> LiveWords | None:
    """The recogniser of words that was asked for."""
    if options.words is None:
        return None
    return LiveWords(open_recognizer(options.words, download=options.words_download), bundle)


def serve(
    recognizer: Recognizer, options: ServeOptions, *, announce: Callable[[str], None]
) -> Server:
    """Serve until a signal. `announce` is told the address once it listens.

    Raises `OptionError` where it cannot listen there, or the certificate is none.
    """
    with listen(options) as listener:
        server = build(recognizer, options)
        server.announce = announce
        server.run(sockets=[listener])
    return server


def listen(options: ServeOptions) -> socket.socket:
    """A socket that listens where the options say. Raises `OptionError` where that cannot be."""
    family = socket.AF_INET6 if ":" in options.host else socket.AF_INET
    try:
        return socket.create_server((options.host, options.port), family=family)
    except (OSError, UnicodeError) as error:
        raise OptionError(
            f"cannot listen on {options.host}:{options.port}: {error}; choose another --host or --port"
        ) from error
