"""Accepts connections, and no more than the process has file descriptors for.

asyncio's own server accepts whatever comes, so connections that never send a request, or never finish the
TLS handshake, use up all descriptors. Here, when all places are taken, the oldest connection without a
request is cut for the next one. If every place is in use, new connections wait in the kernel.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
import sys
from collections.abc import Awaitable, Callable, Collection
from functools import partial

from affectstream.stream.serve.http.protocols import HttpProtocol
from affectstream.stream.serve.limits import ABORT_S, REQUEST_S

_log = logging.getLogger(__name__)

BACKLOG = 2048
"""Connections that may wait in the kernel."""
_FREE_PLACES = 8
"""Connections without a request are cut when fewer places than this are free."""
_EXTRA_PLACES = 32
"""Connections beyond `max_connections`, which get 503."""
_WAIT_FULL_S = 0.05
_WAIT_FAILED_S = 1.0
"""How long to wait after `accept` failed, for example because the whole machine lacks descriptors."""


class Acceptor:
    """Opens a connection for each client of a listening socket."""

    def __init__(
        self,
        accept: Callable[[], Awaitable[socket.socket]],
        new_protocol: Callable[[], HttpProtocol],
        connections: Collection[object],
        *,
        max_connections: int,
        tls: ssl.SSLContext | None,
    ) -> None:
        """Accept from now on. `accept` gives the next connection; `connections` are those that are open
        after their handshake."""
        self._new_protocol, self._connections = new_protocol, connections
        self._max_connections, self._tls = max_connections, tls
        self._handshakes: dict[asyncio.Task[None], float] = {}  # when each began
        self._loop = asyncio.get_running_loop()
        self._accepting = asyncio.create_task(self._accept(accept))

    async def stop(self) -> None:
        """Accept no more, and cut connections within their handshake."""
        tasks = [self._accepting, *self._handshakes]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _accept(self, accept: Callable[[], Awaitable[socket.socket]]) -> None:
        while True:
            while self._free_places <= -_EXTRA_PLACES:
                await asyncio.sleep(_WAIT_FULL_S)
            try:
                client = await accept()
            except ConnectionError:  # this client has left already
                continue
            except OSError as error:
                _log.error("cannot accept connections: %s", error.strerror)
                self._cut_oldest()
                await asyncio.sleep(_WAIT_FAILED_S)
                continue
            task = asyncio.create_task(self._open(client))
            self._handshakes[task] = self._loop.time()
            task.add_done_callback(partial(self._end_handshake, client))
            if self._free_places < _FREE_PLACES:
                self._cut_oldest()
            await asyncio.sleep(0)  # `accept` may return without a pause

    async def _open(self, client: socket.socket) -> None:
        """Start TLS, if it is used, and the protocol."""
        tls = self._tls
        await self._loop.connect_accepted_socket(
            self._new_protocol,
            client,
            ssl=tls,
            ssl_handshake_timeout=None if tls is None else REQUEST_S,
            ssl_shutdown_timeout=None if tls is None else ABORT_S,
        )

    def _end_handshake(self, client: socket.socket, task: asyncio.Task[None]) -> None:
        self._handshakes.pop(task)
        error = None if task.cancelled() else task.exception()
        if task.cancelled() or error is not None:
            client.close()
        if error is not None and not isinstance(error, OSError):  # that is what clients cause
            _log.error("cannot open a connection", exc_info=error)

    @property
    def _free_places(self) -> int:
        return self._max_connections - len(self._connections) - len(self._handshakes)

    def _cut_oldest(self) -> None:
        """Cut the oldest connection that has sent no complete request, if there is one."""
        waiting: list[tuple[float, Callable[[], object]]] = [
            (since_s, task.cancel)
            for task, since_s in self._handshakes.items()
            if not task.cancelling()
        ]
        waiting += [
            (one.opened_s, one.transport.abort)
            for one in self._connections
            if isinstance(one, HttpProtocol) and one.awaits_request
        ]
        if waiting:
            min(waiting, key=lambda pair: pair[0])[1]()


def accepting_on(listener: socket.socket) -> Callable[[], Awaitable[socket.socket]]:
    """Listen, and accept what comes."""
    loop = asyncio.get_running_loop()
    listener.listen(BACKLOG)
    listener.setblocking(False)

    async def accept() -> socket.socket:
        client, _ = await loop.sock_accept(listener)
        return client

    return accept


def reserve_descriptors(count: int) -> int:
    """Allow this process `count` open files and sockets. Returns how many it may have: perhaps fewer."""
    if sys.platform == "win32":
        return count  # no such limit
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= count:
        return count
    raised = count if hard == resource.RLIM_INFINITY else min(count, hard)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (raised, hard))
    except (ValueError, OSError):  # macOS may refuse what it states as its hard limit
        return soft
    return raised
