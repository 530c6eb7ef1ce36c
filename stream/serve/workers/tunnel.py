"""Passes a request to another worker: the messages of ASGI, in both directions, over a Unix socket.

The socket lies in a folder that only the user of the server can enter. Each message is packed as
MessagePack behind its length.
"""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path
from typing import Any

import msgspec
from starlette.types import ASGIApp, Message, Receive, Scope, Send

HOPS = "affectstream.hops"
"""In the scope of a request: how many workers have passed it on."""
_FORWARDED = (
    "type", "http_version", "method", "scheme", "path", "raw_path", "query_string", "root_path", "headers",
    "client", "server", "subprotocols", "extensions", HOPS,
)  # fmt: skip
_ASGI = {"version": "3.0", "spec_version": "2.4"}
_END: Message = {"type": "tunnel.end"}
"""The application has finished. A tunnel that closes without it was cut."""
_LENGTH_BYTES = 4


def passed_on(scope: Scope) -> bool:
    """Whether another worker has passed on this request."""
    return bool(scope.get(HOPS, 0))


class Broken(Exception):
    """The other worker ended before it had finished with the request."""


class _Pipe:
    """Messages over one connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    async def send(self, message: Message | Scope) -> None:
        """Raises `OSError` if the other side is gone."""
        data = msgspec.msgpack.encode(message)
        self._writer.write(len(data).to_bytes(_LENGTH_BYTES, "big") + data)
        await self._writer.drain()

    async def receive(self) -> dict[str, Any] | None:
        """The next message; None if the other side is gone."""
        try:
            length = int.from_bytes(await self._reader.readexactly(_LENGTH_BYTES), "big")
            data = await self._reader.readexactly(length)
        except (OSError, EOFError):  # IncompleteReadError is an EOFError
            return None
        message: dict[str, Any] = msgspec.msgpack.decode(data)
        # As uvicorn gives and takes them; MessagePack knows lists only.
        if "headers" in message:
            message["headers"] = [(name, value) for name, value in message["headers"]]
        for name in ("client", "server"):
            if isinstance(message.get(name), list):
                message[name] = tuple(message[name])
        return message

    async def close(self) -> None:
        self._writer.close()
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()


async def connect(path: Path) -> Tunnel:
    """A tunnel to the worker that listens at `path`. Raises `OSError` if there is none."""
    return Tunnel(_Pipe(*await asyncio.open_unix_connection(path)))


class Tunnel:
    """For one request that another worker answers."""

    def __init__(self, pipe: _Pipe) -> None:
        self._pipe = pipe

    async def forward(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on a request and what comes back, until its end. Raises `Broken`."""
        upward: asyncio.Task[None] | None = None
        try:
            passed = {name: scope[name] for name in _FORWARDED if name in scope}
            await self._send({**passed, HOPS: scope.get(HOPS, 0) + 1})
            upward = asyncio.create_task(self._pump(receive))
            while (message := await self._pipe.receive()) != _END:
                if message is None:
                    raise Broken
                await send(message)
        finally:
            if upward is not None:
                upward.cancel()
                await asyncio.gather(upward, return_exceptions=True)
            await self._pipe.close()

    async def _send(self, message: Message | Scope) -> None:
        try:
            await self._pipe.send(message)
        except OSError as error:
            raise Broken from error

    async def _pump(self, receive: Receive) -> None:
        """Pass on what the client sends. Ends with the connection, or with the request."""
        while True:
            message = await receive()
            await self._send(message)
            if message["type"].endswith(".disconnect"):
                return


async def listen(path: Path, app: ASGIApp) -> asyncio.Server:
    """Answer the requests of other workers at `path` with `app`."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        pipe = _Pipe(reader, writer)
        try:
            await _answer(pipe, app)
        except OSError:  # the other worker has ended, and its client with it
            pass
        finally:
            await pipe.close()

    path.unlink(missing_ok=True)  # of a worker that died
    return await asyncio.start_unix_server(answer, path)


async def _answer(pipe: _Pipe, app: ASGIApp) -> None:
    scope = await pipe.receive()
    if scope is None:
        return
    gone: Message = {"type": f"{scope['type']}.disconnect"}
    if scope["type"] == "websocket":
        gone["code"] = 1006

    async def receive() -> Message:
        return await pipe.receive() or gone

    await app({**scope, "asgi": _ASGI, "state": {}}, receive, pipe.send)
    await pipe.send(_END)
