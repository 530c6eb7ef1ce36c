"""Clients of `affectstream bench sessions`: each sends WebM in real time and records the answers.

A client needs little processor time, so that many fit beside the server: the media is encoded beforehand,
and only emotion events and states are parsed. `late_s` shows whether the clients kept up. The server lets
one address open ten sessions at once, so every ten clients use an address of their own (127.0.0.1,
127.0.0.2, ...).
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Sequence
from typing import Any

from affectstream.bench.serve.webm import Chunk
from affectstream.stream.errors import SourceError
from affectstream.stream.serve.limits import OPENINGS_BURST

PER_ADDRESS = int(OPENINGS_BURST)
"""Sessions that one address may open at once."""
_OPEN_S = 30.0
_END_S = 30.0


class Client:
    """One session. `start` opens it and sends, `join` waits for its end.

    `refused` is the HTTP status if the server refused it, `failed` the error if it broke off.
    """

    def __init__(self, server: str, number: int, chunks: Sequence[Chunk]) -> None:
        """`server` is an address, `number` counts the clients from 0, `chunks` come from `encode_webm`."""
        self._url = f"{server.replace('http', 'ws', 1)}/ingest?format=webm"
        self._source_address = f"127.0.0.{1 + number // PER_ADDRESS}"
        self._chunks = chunks
        self.refused: int | None = None
        self.failed: str | None = None
        self.events: list[tuple[float, dict[str, Any]]] = []
        """Emotion events, each with the seconds from the end of its hop in the recording to its arrival."""
        self.states: list[dict[str, Any]] = []
        self.late_s: list[float] = []
        """For each chunk, how long after it was due, and the chunk before was sent, it was sent."""
        self._start_s = 0.0
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        """Open the session and send, in a thread."""
        self._thread.start()

    def join(self) -> None:
        """Wait until everything was sent and answered."""
        self._thread.join()

    def _run(self) -> None:
        from websockets.exceptions import InvalidStatus, WebSocketException
        from websockets.sync.client import connect

        try:
            with connect(
                self._url,
                source_address=(self._source_address, 0),
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
                self._record(line)
        except (OSError, WebSocketException) as error:
            self.failed = self.failed or f"{type(error).__name__}: {error}"

    def _record(self, line: str) -> None:
        if '"faces"' in line[:40] or '"attention"' in line[:40]:
            return  # most messages, and not counted
        message = json.loads(line)
        if message["type"] == "emotion":
            late_s = time.monotonic() - self._start_s - message["t_end"]
            self.events.append((late_s, message))
        elif message["type"] == "state":
            self.states.append(message)
        elif message["type"] == "error":
            self.failed = self.failed or message["error"]


def check_addresses(count: int) -> None:
    """Raise `SourceError` if the system lacks the loopback addresses that `count` clients need.

    Linux has all of 127.0.0.0/8; on other systems they have to be added.
    """
    import socket

    last = f"127.0.0.{1 + (count - 1) // PER_ADDRESS}"
    try:
        with socket.socket() as probe:
            probe.bind((last, 0))
    except OSError:
        raise SourceError(
            f"{count} sessions need the address {last}, which this system does not have: a server "
            f"accepts {PER_ADDRESS} at once from one address; on macOS: sudo ifconfig lo0 alias {last}"
        ) from None
