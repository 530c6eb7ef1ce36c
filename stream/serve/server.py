"""The server: uvicorn around the application. A signal ends all sessions and connections within 2 s."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType

import uvicorn

from affectstream.engines.bundle.bundle import Bundle
from affectstream.stream.errors import OptionError
from affectstream.stream.exits import INTERRUPTED
from affectstream.stream.live.words.dictation import LiveWords
from affectstream.stream.recognizer import Recognizer
from affectstream.stream.results.interpret import Interpreter
from affectstream.stream.serve.app import application
from affectstream.stream.serve.batching import share_engines
from affectstream.stream.serve.http.accepting import (
    Acceptor,
    accepting_on,
    reserve_descriptors,
)
from affectstream.stream.serve.http.logs import limit_logs
from affectstream.stream.serve.http.protocols import HttpProtocol, WebSocketProtocol
from affectstream.stream.serve.hub import Hub, Totals
from affectstream.stream.serve.ingest.decoders import limit_decoders
from affectstream.stream.serve.limits import MAX_MESSAGE_BYTES
from affectstream.stream.serve.memory import limit_heaps
from affectstream.stream.serve.metrics import Metrics
from affectstream.stream.serve.options import ServeOptions, check_certificate
from affectstream.stream.serve.record import check_folder
from affectstream.stream.serve.workers import tunnel
from affectstream.stream.serve.workers.colleagues import Colleagues
from affectstream.stream.serve.workers.handing import receiving_from
from affectstream.stream.sinks.lsl import check_name
from affectstream.stream.words.opening import open_recognizer

_SHUTDOWN_S = 1.7
"""Time for a shutdown. The process has to end within 2 s of the signal."""
_KEEP_FOR_CONNECTIONS_S, _KEEP_FOR_ABORT_S = 0.3, 0.15
"""What it keeps of that to close connections after the sessions, and to cut those that do not close."""
SAME_SIGNAL_S = 0.3
"""Two signals this close are one: `timeout` and other wrappers send it twice."""
_SPARE_CONNECTIONS, _CONNECTIONS_PER_SESSION = 256, 8
"""Together the most connections. Beyond them requests are answered with 503."""
_MIN_CONNECTIONS = 64
_OTHER_FILES, _FILES_PER_SESSION = 128, 16
"""File descriptors besides those of connections: the program's own, and a session's UDP sockets and files."""


class Server(uvicorn.Server):
    """A uvicorn server that ends its sessions before its connections."""

    def __init__(
        self, hub: Hub, options: ServeOptions, colleagues: Colleagues | None = None
    ) -> None:
        """With `colleagues` it is a worker: it gets its connections from the parent, which alone handles
        Ctrl-C. Raises `OptionError` if the certificate or its key cannot be used."""
        if options.tls is not None:
            check_certificate(*options.tls)
        self.hub = hub
        self.totals: Totals | None = None
        """What the server did, once it has ended."""
        self.signal: int | None = None
        """The signal that ended it, if one did."""
        self._signalled_s = 0.0
        self.announce: Callable[[str], None] = lambda address: None
        """Called with the address once the server listens."""
        self._scheme = options.scheme
        self._listener: socket.socket | None = None
        self._acceptor: Acceptor | None = None
        self._colleagues = colleagues
        self._tunnel: asyncio.Server | None = None
        self._max_connections = _max_connections(options.max_sessions)
        app = application(hub, options, colleagues)
        super().__init__(
            uvicorn.Config(
                app,
                http=HttpProtocol,
                ws=WebSocketProtocol,
                ws_max_size=MAX_MESSAGE_BYTES,
                ws_ping_interval=5.0,
                ws_ping_timeout=10.0,
                ws_per_message_deflate=False,  # it costs much time and saves little
                limit_concurrency=self._max_connections,
                timeout_keep_alive=5,
                timeout_graceful_shutdown=1,
                ssl_certfile=None if options.tls is None else options.tls[0],
                ssl_keyfile=None if options.tls is None else options.tls[1],
                access_log=False,  # it shows the query, which may hold the token
                log_config=None,
                log_level="warning",
                server_header=False,
                proxy_headers=False,
                lifespan="on",
            )
        )

    @property
    def address(self) -> str:
        """Its address, such as ``http://127.0.0.1:8765``."""
        assert self._listener is not None  # once it has started
        return address_of(self._listener, self._scheme)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Accept connections on the one socket in `sockets`, and announce the address.

        In a worker it is the one that connections are handed over on.
        """
        assert sockets is not None
        (self._listener,) = sockets
        limit_heaps()
        limit_logs()
        await super().startup([])  # no server of asyncio: see `Acceptor`
        if self._colleagues is None:
            accept = accepting_on(self._listener)
        else:
            accept = receiving_from(self._listener, self._lose_parent)
            self._tunnel = await tunnel.listen(self._colleagues.socket_path, self.config.loaded_app)
        self._acceptor = Acceptor(
            accept,
            self._new_protocol,
            self.server_state.connections,
            max_connections=self._max_connections,
            tls=self.config.ssl,
        )
        self.announce(self.address if self._colleagues is None else "")

    def _lose_parent(self) -> None:
        """The parent has ended, however that happened."""
        self.should_exit = True

    def _new_protocol(self) -> HttpProtocol:
        return HttpProtocol(self.config, self.server_state, self.lifespan.state)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End every session, then close the connections, all by one deadline."""
        assert self._acceptor is not None
        until_s = time.monotonic() + _SHUTDOWN_S
        for connection in list(self.server_state.connections):
            if isinstance(connection, HttpProtocol):
                connection.abort_unfinished_body()
        self.totals = await self.hub.close_all(until_s - _KEEP_FOR_CONNECTIONS_S)
        # Connections close by themselves, unless their client does not read.
        while self.server_state.tasks and time.monotonic() < until_s - _KEEP_FOR_CONNECTIONS_S:
            await asyncio.sleep(0.01)
        left_s = max(0.0, until_s - time.monotonic())
        abort_s = max(0.0, left_s - _KEEP_FOR_ABORT_S)
        asyncio.get_running_loop().call_later(abort_s, self._abort_connections)
        await self._acceptor.stop()
        if self._tunnel is not None:
            self._tunnel.close()
        # uvicorn passes it on to asyncio, which takes fractions too.
        self.config.timeout_graceful_shutdown = left_s  # type: ignore[assignment]
        await super().shutdown(sockets)

    def _abort_connections(self) -> None:
        for connection in list(self.server_state.connections):
            if connection.transport is not None:
                connection.transport.abort()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Ctrl-C and SIGTERM start a shutdown, a second signal ends the process at once."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        handled = [signal.SIGTERM] if self._colleagues else [signal.SIGINT, signal.SIGTERM]
        before = {s: signal.signal(s, self._on_signal) for s in handled}
        try:
            yield
        finally:
            if self.signal is None:
                for number, handler in before.items():
                    signal.signal(number, handler)
            else:  # our handlers stay: a second signal still ends the process at once
                gc.freeze()  # or Python would visit every object at exit, which takes half a second

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        now_s = time.monotonic()
        if self.signal is None:
            self.signal, self._signalled_s = number, now_s
        elif now_s - self._signalled_s > SAME_SIGNAL_S:
            os.write(2, b"error: interrupted\n")
            os._exit(INTERRUPTED)
        self.should_exit = True


def serve(
    recognizer: Recognizer, options: ServeOptions, *, announce: Callable[[str], None]
) -> Server:
    """Serve until a signal. `announce` gets the address once the server listens.

    Raises as `listen` and `build`.
    """
    with listen(options) as listener:
        server = build(recognizer, options)
        server.announce = announce
        server.run(sockets=[listener])
    return server


def build(
    recognizer: Recognizer, options: ServeOptions, colleagues: Colleagues | None = None
) -> Server:
    """A server around `recognizer`, which the caller closes. `colleagues` as for `Server`.

    Raises `OptionError`, `OutputError` if the `record` folder cannot be written, and
    `ModuleNotFoundError` if what `lsl` or `words` need is not installed.
    """
    metrics = Metrics()
    batch = options.batch == "on" or (options.batch == "auto" and recognizer.choice.device != "cpu")
    bundle = share_engines(recognizer.bundle, metrics.observe_stage, batch=batch)
    shared = Recognizer(bundle, recognizer.choice, recognizer.threads)
    limit_decoders(options.max_pixels)
    if options.lsl is not None:
        check_name(options.lsl)
    if options.record is not None:
        check_folder(options.record)
    # A bundle that lacks what the options need is refused now, and not with the first session.
    Interpreter(bundle, "serve", options.of_sessions, bundle.modalities, live=True)
    hub = Hub(
        shared,
        max_sessions=options.max_sessions,
        record=options.record,
        words=_open_words(options, bundle),
        lsl=options.lsl,
        options=options.of_sessions,
        metrics=metrics,
        prefix="" if colleagues is None else colleagues.prefix,
        count_in_use=(lambda count: None) if colleagues is None else colleagues.count_sessions,
    )
    return Server(hub, options, colleagues)


def _max_connections(max_sessions: int) -> int:
    """How many connections may be open, as far as the system lets this process open files."""
    wanted = _SPARE_CONNECTIONS + _CONNECTIONS_PER_SESSION * max_sessions
    others = _OTHER_FILES + _FILES_PER_SESSION * max_sessions
    found = reserve_descriptors(wanted + others)
    return max(_MIN_CONNECTIONS, min(wanted, found - others))


def _open_words(options: ServeOptions, bundle: Bundle) -> LiveWords | None:
    if options.words is None:
        return None
    return LiveWords(open_recognizer(options.words, download=options.words_download), bundle)


def address_of(listener: socket.socket, scheme: str) -> str:
    """The address of a listening socket, such as ``http://127.0.0.1:8765``."""
    host, port = listener.getsockname()[:2]
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}"


def listen(options: ServeOptions) -> socket.socket:
    """A listening socket. Raises `OptionError` if the address cannot be used."""
    family = socket.AF_INET6 if ":" in options.host else socket.AF_INET
    try:
        return socket.create_server((options.host, options.port), family=family)
    except (OSError, UnicodeError) as error:
        raise OptionError(
            f"cannot listen on {options.host}:{options.port}: {error}; choose another --host or --port"
        ) from error
