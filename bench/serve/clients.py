"""Clients of a server under measurement: each sends the same WebM at its own pace, and keeps what comes back.

A client does next to nothing, so that many fit beside the server: the media is encoded once before, and of
what comes back only events and states are read. Whether they kept up is measured all the same: how late
each piece went out is kept. The server lets one address open ten sessions at once, as if it were a person:
every ten clients have an address of their own (127.0.0.1, 127.0.0.2, ...), as people would.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Sequence
from typing import Any

from affectstream.stream.errors import SourceError
from affectstream.stream.serve.limits import OPENINGS_BURST

PER_ADDRESS = int(OPENINGS_BURST)
"""New sessions that the server takes at once from one address."""
_OPEN_S = 30.0
_END_S = 30.0


class Client:
    """One session. `start` opens and sends, `join` waits for the end; the rest says how it went.

    `refused` is the HTTP status where the server took it not at all, `failed` what broke it off.
    """

    def __init__(self, server: str, number: int, chunks: Sequence[tuple[float, bytes]]) -> None:
        """`server` is its address, `number` counts the clients from 0, `chunks` is what `webm` gave."""
        self._url = f"{server.replace('http', 'ws', 1)}/ingest?format=webm"
        self._own = f"127.0.0.{1 + number // PER_ADDRESS}"
        self._chunks = chunks
        self.refused: int | None = None
        self.failed: str | None = None
        self.events: list[tuple[float, dict[str, Any]]] = []
        """Emotion events, and how long after the end of their hop was recorded each one came, seconds."""
        self.states: list[dict[str, Any]] = []
        self.late_s: list[float] = []
        """For each piece how much later it went out than it was due and the way was free."""
        self._start_s = 0.0
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        """Begin, on a thread."""
        self._thread.start()

    def join(self) -> None:
        """Wait until everything was sent, and told."""
        self._thread.join()

    def _run(self) -> None:
        from websockets.exceptions import InvalidStatus, WebSocketException
        from websockets.sync.client import connect

        try:
            with connect(
                self._url,
                source_address=(self._own, 0),
                open_timeout=_OPEN_S,
                compression=None,
                proxy=None,
            ) as socket:
                reading = threading.Thread(target=self._read, args=(socket,), daemon=True)
                reading.start()
                self._send(socket)
                reading.join(_END_S)
        except InvalidStatus as error:
            self.refused = error.response.status_code
        except (OSError, TimeoutError, WebSocketException) as error:
            self.failed = self.failed or f"{type(error).__name__}: {error}"

    def _send(self, socket: Any) -> None:
        self._start_s = free_s = time.monotonic()
        for at_s, data in self._chunks:
            due_s = self._start_s + at_s
            time.sleep(max(0.0, due_s - time.monotonic()))
            self.late_s.append(time.monotonic() - max(due_s, free_s))
            socket.send(data)
            free_s = time.monotonic()
        socket.send('{"type":"end"}')

    def _read(self, socket: Any) -> None:
        from websockets.exceptions import WebSocketException

        try:
            for line in socket:
                self._take(line)
        except (OSError, WebSocketException) as error:
            self.failed = self.failed or f"{type(error).__name__}: {error}"

    def _take(self, line: str) -> None:
        if '"faces"' in line[:40] or '"attention"' in line[:40]:
            return  # most of what comes, and nothing that is counted
        message = json.loads(line)
        if message["type"] == "emotion":
            late_s = time.monotonic() - self._start_s - message["t_end"]
            self.events.append((late_s, message))
        elif message["type"] == "state":
            self.states.append(message)
        elif message["type"] == "error":
            self.failed = self.failed or message["error"]


def check_addresses(count: int) -> None:
    """Raises `SourceError` where the system has not as many addresses as `count` clients need.

    Linux answers to all of 127.0.0.0/8; others have to be told.
    """
    import socket

    last = f"127.0.0.{1 + (count - 1) // PER_ADDRESS}"
    try:
        with socket.socket() as probe:
            probe.bind((last, 0))
    except OSError:
        raise SourceError(
            f"{count} sessions need the address {last}, which this system does not have: a server takes "
            f"{PER_ADDRESS} at once from one address; on macOS: sudo ifconfig lo0 alias {last}, and so on"
        ) from None
