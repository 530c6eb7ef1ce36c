"""A process of this program, and the connection to it.

It is a program of its own rather than a fork or a spawned copy of the caller: forking breaks the threads of
the runtimes, and spawning imports the caller's script again. Messages travel as pickles over a pair of
sockets that only the two processes have.
"""

from __future__ import annotations

import os
import queue
import signal
import socket
import subprocess
import sys
import threading
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any, Generic, TypeVar

T = TypeVar("T")

STOP_S = 10.0
"""How long a process may take to end."""


class ChildProcess:
    """A process that runs ``run()`` of a module with the descriptor of the connection as its argument."""

    def __init__(self, module: str, settings: object) -> None:
        """Start it, and send `settings` as the first message."""
        ours, theirs = socket.socketpair()
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        # Run as ``__main__``, the module would have classes of its own that no other process can unpickle.
        program = f"from {module} import run; run()"
        with theirs:
            self.process = subprocess.Popen(
                [sys.executable, "-c", program, str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                env=environment,
            )
        self.connection = Connection(ours.detach())
        self.send(settings)

    def send(self, message: object) -> None:
        """Send a message; where the process is dead, that is noticed where messages are read."""
        with suppress(OSError):
            self.connection.send(message)

    def terminate(self) -> None:
        """Ask it to end."""
        with suppress(OSError):
            self.process.send_signal(signal.SIGTERM)

    def end(self) -> int:
        """Close the connection, wait for the process, and return its exit status."""
        self.connection.close()
        try:
            return self.process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()


class CallerGone(Exception):
    """Nobody waits for messages any more."""


class Caller(Generic[T]):
    """The other end, inside the process."""

    def __init__(self) -> None:
        self.connection = Connection(int(sys.argv[1]))
        self.settings: Any = self.connection.recv()
        self._received: queue.SimpleQueue[T] = queue.SimpleQueue()
        threading.Thread(target=self._receive, daemon=True).start()

    def next(self) -> T:
        """The next message of the caller."""
        return self._received.get()

    def send(self, message: object) -> None:
        """Send a message to the caller. Raises `CallerGone`."""
        try:
            self.connection.send(message)
        except OSError as error:
            raise CallerGone from error

    def _receive(self) -> None:
        """Queue what comes. Without a caller nobody wants a result: end at once, whatever runs."""
        try:
            while True:
                self._received.put(self.connection.recv())
        except (EOFError, OSError):
            os._exit(1)
