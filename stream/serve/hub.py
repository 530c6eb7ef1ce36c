"""All sessions of the server, and the limit on their number."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from affectstream.engines.daemon_executor import DaemonExecutor
from affectstream.engines.labels import Modality
from affectstream.stream.errors import AffectstreamError
from affectstream.stream.live.words.dictation import LiveWords
from affectstream.stream.options import SourceOptions
from affectstream.stream.recognizer import Recognizer
from affectstream.stream.serve.memory import trim_heaps
from affectstream.stream.serve.metrics import Metrics
from affectstream.stream.serve.record import SessionRecorder
from affectstream.stream.serve.session import ServedSession, SessionKind
from affectstream.stream.sinks.lsl import LslOutlets

_log = logging.getLogger(__name__)

_CLOSE_S = 1.0
"""Time for a session to process what is left and emit its last events."""
_DRAIN_S = 0.2
"""Time for its clients to receive the last messages."""
_DISCONNECT_S = 5.0
"""Time to disconnect them. If this is cut short sockets are left open, so only a shutdown does it."""
_KEEP_FOR_DRAIN_S, _KEEP_FOR_DISCONNECT_S = 0.4, 0.2
"""What a shutdown keeps of its time for draining and all after it, and for disconnecting."""
_MAX_NAME_CHARS = 80


class Unavailable(AffectstreamError):
    """No session can be opened at present: all are in use, or the server is closing."""


@dataclass(frozen=True, slots=True)
class Totals:
    """What the server did since its start."""

    sessions: int
    events: int
    delivered: int
    dropped: int

    def __add__(self, other: Totals) -> Totals:
        return Totals(
            self.sessions + other.sessions,
            self.events + other.events,
            self.delivered + other.delivered,
            self.dropped + other.dropped,
        )

    def __str__(self) -> str:
        return (
            f"{self.sessions} sessions, {self.events} events; {self.delivered} messages delivered, "
            f"{self.dropped} dropped for slow clients"
        )


class Hub:
    """Opens, finds and closes sessions. For the event loop."""

    def __init__(
        self,
        recognizer: Recognizer,
        *,
        max_sessions: int,
        record: Path | None = None,
        words: LiveWords | None = None,
        lsl: str | None = None,
        options: SourceOptions | None = None,
        metrics: Metrics,
        prefix: str = "",
        count_in_use: Callable[[int], None] = lambda count: None,
    ) -> None:
        """All sessions share `recognizer`, `words` and `options`. `record` is the folder that stores them.
        `lsl` is the prefix of the names of their outlets, before the name of the session. `prefix` is that of
        the ids of sessions; `count_in_use` gets the number of those that are open or still closing."""
        self.recognizer, self.metrics = recognizer, metrics
        self.max_sessions, self.record = max_sessions, record
        self._prefix, self._count_in_use = prefix, count_in_use
        self._words, self._lsl, self._options = words, lsl, options
        self.sessions: dict[str, ServedSession] = {}
        self.closing = False
        self._until_s = float("inf")
        """The deadline of a shutdown, by `time.monotonic`."""
        self._in_use = 0  # sessions that are open or still closing
        self._opened = 0
        self._past = Totals(0, 0, 0, 0)
        self._pool = DaemonExecutor(max_sessions, "session")
        metrics.sessions.set_function(lambda: len(self.sessions))

    @property
    def full(self) -> bool:
        """Whether as many sessions are open as may be."""
        return self._in_use >= self.max_sessions

    @property
    def totals(self) -> Totals:
        """What was done so far, open sessions included."""
        totals = self._past
        for session in list(self.sessions.values()):
            totals = _add(totals, session)
        return totals

    def open(self, kind: SessionKind, offered: Sequence[str], name: str | None) -> ServedSession:
        """A new session for a client that sends the modalities `offered`.

        Raises `Unavailable`, or `AffectstreamError` if the bundle reads none of them.
        """
        if self.closing:
            raise Unavailable("the server is closing")
        if self.full:
            raise Unavailable(
                f"all {self.max_sessions} sessions of this server are in use: try again later"
            )
        modalities = self._modalities(offered)
        self._change_use(1)
        self._opened += 1
        session_id = self._prefix + secrets.token_hex(6)
        name = clean_name(name) or f"{kind}-{self._prefix}{self._opened}"
        with contextlib.ExitStack() as undo:
            undo.callback(self._release)
            recorder = outlets = None
            if self.record is not None:
                recorder = SessionRecorder(self.record, session_id, modalities)
                undo.callback(recorder.close, _CLOSE_S)
            if self._lsl is not None:
                outlets = LslOutlets(f"{self._lsl}-{name}", self.recognizer.bundle)
                undo.callback(outlets.close)
            session = ServedSession(
                self.recognizer,
                session_id,
                name,
                kind,
                modalities,
                metrics=self.metrics,
                recorder=recorder,
                words=self._words,
                outlets=outlets,
                options=self._options,
            )
            undo.pop_all()
        self.sessions[session_id] = session
        self.metrics.count_opened(kind)
        _log.info("session %s (%s) opened: %s", session_id, kind, ", ".join(modalities))
        return session

    async def close(self, session: ServedSession, reason: str | None = None) -> None:
        """End a session: its clients get the last events. Does nothing the second time.

        With a `reason`, it ended early, and its `ended` event is not complete.
        """
        if self.sessions.pop(session.id, None) is None:
            return
        try:
            await self._close(session, reason)
        finally:
            self._release()
            self._past = _add(self._past, session)
        _log.info("session %s ended: %d events", session.id, session.event_count)

    async def close_all(self, until_s: float) -> Totals:
        """End every session by `until_s` (`time.monotonic`), and open no more."""
        self.closing, self._until_s = True, until_s
        await asyncio.gather(*(self.close(session) for session in list(self.sessions.values())))
        await _wait_for(lambda: not self._in_use, self._at_most(0.0))  # those that end already
        self._pool.shutdown(wait=False)
        return self.totals

    async def report_states(self) -> None:
        """Once a second, have each session report its state. Never returns."""
        while True:
            await asyncio.sleep(1.0)
            for session in list(self.sessions.values()):
                session.report()

    def _modalities(self, offered: Sequence[str]) -> tuple[Modality, ...]:
        """Those that the bundle reads, and text if words are recognized in the sound."""
        readable = self.recognizer.bundle.modalities
        modalities = tuple(m for m in readable if m in offered)
        if not modalities:
            raise AffectstreamError(
                f"the client sends {', '.join(offered) or 'nothing'}, and the bundle reads "
                f"{', '.join(readable)}"
            )
        with_words = self._words is not None and "voice" in offered
        return (*modalities, "text") if with_words else modalities

    async def _close(self, session: ServedSession, reason: str | None) -> None:
        loop = asyncio.get_running_loop()
        try:
            await loop.run_in_executor(
                self._pool, session.close, self._at_most(_CLOSE_S, _KEEP_FOR_DRAIN_S), reason
            )
        except Exception:  # the client is disconnected all the same
            _log.exception("session %s did not end cleanly", session.id)
        session.close_subscribers()
        await _wait_for(
            lambda: not session.subscribers, self._at_most(_DRAIN_S, _KEEP_FOR_DISCONNECT_S)
        )
        for disconnect in session.on_end:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._at_most(_DISCONNECT_S)):
                    await disconnect()
        if not self.closing:
            await loop.run_in_executor(self._pool, trim_heaps)

    def _release(self) -> None:
        self._change_use(-1)

    def _change_use(self, change: int) -> None:
        self._in_use += change
        self._count_in_use(self._in_use)

    def _at_most(self, wait_s: float, keep_s: float = 0.0) -> float:
        """`wait_s`; in a shutdown, all that is left of its time except `keep_s`."""
        if not self.closing:
            return wait_s
        return max(0.0, self._until_s - keep_s - time.monotonic())


def clean_name(name: str | None) -> str:
    """The name that a client sent, as it may stand in events: printable characters, at most 80."""
    return "".join(c for c in name or "" if c.isprintable()).strip()[:_MAX_NAME_CHARS]


def _add(totals: Totals, session: ServedSession) -> Totals:
    return Totals(
        totals.sessions + 1,
        totals.events + session.event_count,
        totals.delivered + session.subscribers.delivered,
        totals.dropped + session.subscribers.dropped,
    )


async def _wait_for(condition: Callable[[], bool], wait_s: float) -> None:
    end_s = time.monotonic() + wait_s
    while not condition() and time.monotonic() < end_s:
        await asyncio.sleep(0.01)
