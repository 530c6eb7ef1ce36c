"""Hands connections from the parent to a worker, over a pair of sockets that only these two have."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable


def hand_over(channel: socket.socket, client: socket.socket) -> bool:
    """Give a connection to the worker at the other end of `channel`, which does not block.

    Returns False if that worker takes none at present. Raises `OSError` if it has ended.
    """
    try:
        socket.send_fds(channel, [b"c"], [client.fileno()])
    except BlockingIOError:
        return False
    return True


def receiving_from(
    channel: socket.socket, on_end: Callable[[], None]
) -> Callable[[], Awaitable[socket.socket]]:
    """In a worker: waits for the next connection. `on_end` is called once the parent has ended."""
    loop = asyncio.get_running_loop()
    channel.setblocking(False)

    async def receive() -> socket.socket:
        while True:
            try:
                data, descriptors, _, _ = socket.recv_fds(channel, 1, 1)
            except BlockingIOError:
                await _readable(loop, channel)
                continue
            if descriptors:
                client = socket.socket(fileno=descriptors[0])
                client.setblocking(False)
                return client
            if not data:
                on_end()
                await asyncio.Event().wait()  # until the server, which ends now, cancels this

    return receive


async def _readable(loop: asyncio.AbstractEventLoop, channel: socket.socket) -> None:
    ready = asyncio.Event()
    loop.add_reader(channel, ready.set)
    try:
        await ready.wait()
    finally:
        loop.remove_reader(channel)
