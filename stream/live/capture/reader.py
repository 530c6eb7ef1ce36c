"""A source that is kept open: connections one after the other, their frames pushed into the session.

    Connection ──► the session's clock ──► LiveSession.push_video, push_audio

FFmpeg has timeouts, but not in every call, and a thread that is stuck in one cannot be ended. So the
reader's own thread watches each connection, and abandons it when nothing happens for too long.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import TypeAlias

import av

from affectstream.stream.live.capture.address import Opening
from affectstream.stream.live.capture.connection import Connection, SourceInfo
from affectstream.stream.live.capture.decoder import SourceFrame
from affectstream.stream.live.capture.plugin import PluginConnection
from affectstream.stream.live.capture.source_clock import BacklogSkipper, TimestampRebaser
from affectstream.stream.live.session import LiveSession

FIRST_BACKOFF_S, MAX_BACKOFF_S = 0.2, 3.0
MAX_STUCK = 4
"""Threads that may be stuck in FFmpeg at the same time. Each holds a decoder and its buffers; with more, the
source is opened again only when one of them returns."""
_WATCH_S = 0.1
_log = logging.getLogger(__name__)

Tap: TypeAlias = Callable[[SourceFrame, int, float], None]
"""Called with every pushed frame, its time in the session (us), and when it arrived (s, monotonic)."""


class Reader:
    """One camera, microphone, stream or file. Nothing is pushed any more once `join` returned.

    A source that has never been open is not tried again: `error` says what is wrong with it.
    """

    def __init__(
        self, opening: Opening, *, on_open: Callable[[SourceInfo], None], tap: Tap | None = None
    ) -> None:
        """`on_open` is called on a thread of the reader's, each time the source was opened."""
        self.opening = opening
        self._on_open, self._tap = on_open, tap
        self._session: LiveSession | None = None
        self._zero_s = 0.0
        self._rebaser, self._backlog = TimestampRebaser(), BacklogSkipper()
        self._origin_us = 0
        self._was_open = self._is_lost = False
        self._stop = threading.Event()
        self._connection: Connection | None = None
        self.done = threading.Event()
        """Set when nothing more will come."""
        self.error: str | None = None
        """Why the source ended early, in words; None if it did not."""
        self.exception: BaseException | None = None
        """An unexpected exception, for the owner to raise."""
        self.abandoned = 0
        """Threads abandoned in FFmpeg."""
        self._stuck: list[Connection] = []  # those of them that have not returned yet
        self.bad_packets = 0
        self._thread = threading.Thread(
            target=self._run, name=f"reader {opening.name}", daemon=True
        )

    def start(self) -> None:
        """Open the source for the first time, in the background."""
        self._thread.start()

    def attach(self, session: LiveSession, zero_s: float) -> None:
        """Push into `session` from now on, whose t = 0 is at `zero_s` (monotonic).

        Frames that came before are left out: a camera may be open while the microphone is not yet.
        """
        self._zero_s, self._session = zero_s, session

    def stop(self) -> None:
        """End as soon as possible, without waiting for it."""
        self._stop.set()
        if self._connection is not None:
            self._connection.stop()

    def join(self, timeout_s: float) -> None:
        """Wait for the end, after `stop`; a thread that is stuck is abandoned. Call it once."""
        until_s = time.monotonic() + timeout_s
        if self._thread.is_alive():
            self._thread.join(max(0.0, until_s - time.monotonic()))
        connection = self._connection
        if connection is not None and not connection.join(max(0.0, until_s - time.monotonic())):
            self.abandoned += 1
            _log.debug("%s: a thread is stuck in FFmpeg and was abandoned", self.opening.name)

    # --- on the reader's own thread ---

    def _run(self) -> None:
        try:
            self._keep_open()
        except BaseException as error:  # raised again by the owner
            self.exception = error
        finally:
            self.done.set()

    def _keep_open(self) -> None:
        backoff_s = FIRST_BACKOFF_S
        while self._wait_for_stuck():
            kind = Connection if self.opening.plugin is None else PluginConnection
            connection = self._connection = kind(
                self.opening, on_open=self._opened, on_frame=self._push
            )
            connection.start()
            reason = self._watch(connection)
            self.bad_packets += connection.bad_packets
            if connection.exception is not None:
                raise connection.exception
            self._report_backlog()
            if self._stop.is_set():
                return
            has_ended = self.opening.plugin is not None and reason is None
            if self.opening.is_recording or not self._was_open or has_ended:
                self.error = reason
                return
            if connection.is_open:
                backoff_s = FIRST_BACKOFF_S
                reason = reason or f"{self.opening.name}: the sender stopped"
                if self._session is not None:
                    self._session.warn(f"{reason}; trying again")
            self._stop.wait(backoff_s)
            backoff_s = min(2 * backoff_s, MAX_BACKOFF_S)

    def _wait_for_stuck(self) -> bool:
        """Wait while too many threads are stuck; False once `stop` was called."""
        warned = False
        while not self._stop.is_set():
            self._stuck = [connection for connection in self._stuck if not connection.join(0)]
            if len(self._stuck) < MAX_STUCK:
                return True
            if not warned and self._session is not None:
                warned = True
                self._session.warn(
                    f"{self.opening.name}: {MAX_STUCK} threads are stuck in FFmpeg; it is opened again "
                    "once one of them returns"
                )
            self._stop.wait(_WATCH_S)
        return False

    def _report_backlog(self) -> None:
        """Warn of a connection that ended before anything of it was live."""
        skipped, self._backlog = self._backlog, BacklogSkipper()
        if skipped.skipped and not skipped.done and self._session is not None:
            self._session.warn(
                f"{self.opening.name}: all {skipped.skipped} frames were skipped, since they came "
                "faster than they play, as old ones do; let the sender play at its own speed (ffmpeg -re)"
            )

    def _watch(self, connection: Connection) -> str | None:
        """Wait until a connection ends or is stuck; returns why it ended."""
        while not connection.done.wait(_WATCH_S):
            if self._stop.is_set():
                connection.stop()  # `stop` may have come before there was this one
                return None
            quiet_s = time.monotonic() - connection.active_s
            if quiet_s > connection.limit_s:
                connection.stop()
                self.abandoned += 1
                self._stuck.append(connection)
                problem = "sent nothing" if connection.is_open else "gave no answer"
                return f"{self.opening.name}: {problem} for {quiet_s:.0f} s"
        return connection.error

    # --- on the threads of a connection ---

    def _opened(self, info: SourceInfo) -> None:
        self._origin_us = info.origin_us
        self._rebaser.restart()
        self._backlog = BacklogSkipper()
        self._is_lost = self._was_open
        self._was_open = True
        self._on_open(info)

    def _push(self, frame: SourceFrame, arrived_s: float) -> None:
        """Push a frame into the session, at its time there."""
        session = self._session
        if session is None or (t_us := self._session_us(frame, arrived_s)) is None:
            return
        if self._is_lost:  # only now: a container may open and give no frame
            self._is_lost = False
            session.reconnected(f"{self.opening.name}: is back")
        if self._tap is not None:
            self._tap(frame, t_us, arrived_s)
        if isinstance(frame.frame, av.VideoFrame):
            session.push_video(frame.frame, t_us, arrived_s)
        else:
            session.push_audio(frame.frame, t_us, arrived_s)

    def _session_us(self, frame: SourceFrame, arrived_s: float) -> int | None:
        """The time of a frame on the session's clock; None for one that is too old to be live."""
        if self.opening.is_recording:  # its own times, as in `score`
            return frame.source_us - self._origin_us
        if not self.opening.is_paced and not self._backlog.push(frame.source_us, arrived_s):
            return None
        return self._rebaser.push(frame.kind, frame.source_us, arrived_s - self._zero_s)
