"""Limits what reaches the log: lines that clients can cause would otherwise let anyone fill a disk."""

from __future__ import annotations

import logging
import time
from collections import Counter

from affectstream.stream.serve.limits import RateLimit

_LINES_PER_S, _LINES_BURST = 0.1, 20.0
"""Log lines from one line of code."""
_CAUSED_BY_CLIENTS = (
    "Exceeded concurrency limit",
    "Invalid HTTP request",
    "Invalid UTF-8 sequence",
    "Unsupported upgrade request",
    "without completing handshake",  # of each WebSocket that was refused
)


def limit_logs() -> None:
    """Limit what this process logs, by any library. Does nothing the second time."""
    logging.getLogger("uvicorn.error").addFilter(is_server_fault)
    for handler in (logging.lastResort, *logging.getLogger().handlers):
        if handler is not None:
            handler.addFilter(_limit)


def is_server_fault(record: logging.LogRecord) -> bool:
    """Whether a line of uvicorn reports more than what a client did wrong."""
    return not any(text in record.getMessage() for text in _CAUSED_BY_CLIENTS)


class LogLimit(logging.Filter):
    """Passes a burst of lines from each line of code, then one every ten seconds, with how many were
    left out."""

    def __init__(self) -> None:
        super().__init__()
        self._limit = RateLimit(_LINES_PER_S, _LINES_BURST)
        self._left_out: Counter[str] = Counter()

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether to log this line."""
        place = f"{record.pathname}:{record.lineno}"
        if self._limit.take(place, time.monotonic()):
            self._left_out[place] += 1
            return False
        if left_out := self._left_out.pop(place, 0):
            record.msg, record.args = f"{record.getMessage()} ({left_out} more left out)", ()
        return True


_limit = LogLimit()
