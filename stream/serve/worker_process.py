"""One worker: a whole server in a process of its own, which gets its connections from the parent.

It is started as a program of its own (`batch.worker` says why), and ends when the parent ends.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
from contextlib import suppress
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path
from pickle import PicklingError
from typing import Any

from affectstream.stream.errors import AffectstreamError
from affectstream.stream.recognizer import Recognizer
from affectstream.stream.serve.hub import Totals
from affectstream.stream.serve.options import ServeOptions
from affectstream.stream.serve.server import build
from affectstream.stream.serve.workers.board import Board
from affectstream.stream.serve.workers.colleagues import Colleagues


@dataclass(frozen=True, slots=True)
class Settings:
    """What a worker needs to know."""

    bundle: str
    device: str
    threads: int
    options: ServeOptions
    """Those of the whole server."""
    number: int
    folder: Path
    """Holds the board and the sockets between the workers."""
    shares: tuple[int, ...]
    """The most sessions of each worker."""


@dataclass(frozen=True, slots=True)
class Ready:
    """The worker serves."""


Report = Ready | Totals | Exception
"""What a worker sends: an exception if it cannot serve, its totals at its proper end."""


def main(control_descriptor: int, channel_descriptor: int) -> int:
    """Serve until SIGTERM, or until the parent ends. Returns the exit code."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent too, which decides
    control = Connection(control_descriptor)
    settings: Settings = control.recv()
    name_logs(settings.number)
    board = Board(board_path(settings.folder), settings.shares)
    colleagues = Colleagues(settings.number, board, settings.folder)
    options = replace(settings.options, max_sessions=settings.shares[settings.number - 1])
    try:
        with (
            socket.socket(fileno=channel_descriptor) as channel,
            Recognizer.open(
                settings.bundle, device=settings.device, threads=settings.threads
            ) as recognizer,
        ):
            server = build(recognizer, options, colleagues)
            server.announce = lambda _: control.send(Ready())
            server.run(sockets=[channel])
    except Exception as error:
        _report(control, error)
        return 1
    if server.totals is not None:
        control.send(server.totals)
    return 0


def _report(control: Connection, error: Exception) -> None:
    """Send an error; its text alone where it cannot be sent as it is."""
    try:
        control.send(error)
    except (TypeError, AttributeError, PicklingError):
        control.send(AffectstreamError(str(error)))


def board_path(folder: Path) -> Path:
    """Where the board lies."""
    return folder / "board"


def name_logs(number: int) -> None:
    """Begin every log message of this process with its number."""
    make = logging.getLogRecordFactory()

    def make_named(*args: Any, **more: Any) -> logging.LogRecord:
        record = make(*args, **more)
        record.msg = f"worker {number}: {record.msg}"
        return record

    logging.setLogRecordFactory(make_named)


def run() -> None:
    """Be the process; its arguments are the descriptors of its two connections."""
    code = 1
    with suppress(BrokenPipeError, EOFError):  # the parent has ended
        code = main(int(sys.argv[1]), int(sys.argv[2]))
    sys.stderr.flush()
    os._exit(code)  # without visiting every object of the runtimes, which takes half a second
