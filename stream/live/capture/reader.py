"""A source that is kept open: attempts one after the other, each watched from outside.

FFmpeg has timeouts, but not in every call; a thread that is stuck in one cannot be ended. So a thread
here watches the one that reads, and abandons it when nothing happens for too long.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from affectstream.stream.live.capture.address import Opening
from affectstream.stream.live.capture.connection import Connection, Delivery, SourceInfo

FIRST_BACKOFF_S, MOST_BACKOFF_S = 0.2, 3.0
_LOOK_S = 0.1
_log = logging.getLogger(__name__)


class Reader:
    """One source, reopened for as long as it takes. Nothing is called any more once `stop` returned.

    A source that has never been open is not tried again: `error` says what was wrong with it.
    """

    def __init__(
        self,
        opening: Opening,
        *,
        opened: Callable[[SourceInfo], None],
        deliver: Callable[[Delivery], None],
        lost: Callable[[str], None],
    ) -> None:
        """`opened` is called each time the source was opened, `lost` with the reason each time it was
        lost and will be tried again; all on threads of the reader's."""
        self.opening = opening
        self._opened, self._deliver, self._lost = opened, deliver, lost
        self._stop = threading.Event()
        self._attempt: Connection | None = None
        self.done = threading.Event()
        """Set when nothing more will come."""
        self.error: str | None = None
        """Why it ended, where that was not its end."""
        self.fault: BaseException | None = None
        self.abandoned = 0
        """Threads that were left behind in FFmpeg."""
        self.bad_packets = 0
        self._thread = threading.Thread(
            target=self._keep, name=f"keeper {opening.name}", daemon=True
        )

    def start(self) -> None:
        """Open the source for the first time, in the background."""
        self._thread.start()

    def leave(self) -> None:
        """Have everything end as soon as it can, without waiting for it."""
        self._stop.set()
        if self._attempt is not None:
            self._attempt.stop()

    def stop(self, timeout_s: float) -> None:
        """End within the time, leaving behind what is stuck. Call it once."""
        until_s = time.monotonic() + timeout_s
        self.leave()
        if self._thread.is_alive():
            self._thread.join(max(0.0, until_s - time.monotonic()))
        attempt = self._attempt
        if attempt is not None and not attempt.join(max(0.0, until_s - time.monotonic())):
            self.abandoned += 1
            _log.debug("%s: a thread is stuck in FFmpeg and was abandoned", self.opening.name)

    def _keep(self) -> None:
        try:
            self._attempts()
        except BaseException as error:  # raised again by the owner
            self.fault = error
        finally:
            self.done.set()

    def _attempts(self) -> None:
        ever_open, backoff_s = False, FIRST_BACKOFF_S
        while not self._stop.is_set():
            attempt = self._attempt = Connection(
                self.opening, opened=self._opened, deliver=self._deliver
            )
            attempt.start()
            reason = self._watch(attempt)
            self.bad_packets += attempt.bad_packets
            if attempt.fault is not None:
                raise attempt.fault
            if self._stop.is_set():
                return
            if attempt.is_open:
                ever_open, backoff_s = True, FIRST_BACKOFF_S
            if self.opening.ends or not ever_open:
                self.error = reason
                return
            if attempt.is_open:
                self._lost(reason or f"{self.opening.name}: the sender stopped")
            self._stop.wait(backoff_s)
            backoff_s = min(2 * backoff_s, MOST_BACKOFF_S)

    def _watch(self, attempt: Connection) -> str | None:
        """Wait for the end of an attempt, or until it is stuck; why it ended."""
        while not attempt.done.wait(_LOOK_S):
            if self._stop.is_set():
                attempt.stop()  # `leave` may have come before there was this one
                return None
            quiet_s = time.monotonic() - attempt.beat_s
            if quiet_s > attempt.limit_s:
                attempt.stop()
                self.abandoned += 1
                what = "sent nothing" if attempt.is_open else "gave no answer"
                return f"{self.opening.name}: {what} for {quiet_s:.0f} s"
        return attempt.error
