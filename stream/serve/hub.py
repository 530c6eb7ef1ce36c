"""Every live session of the server, and the bound on how many there may be."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from affectstream.stream.errors import AffectstreamError
from affectstream.stream.live.words.dictation import LiveWords
from affectstream.stream.recognizer import Recognizer
from affectstream.stream.serve.memory import give_back
from affectstream.stream.serve.metrics import Metrics
from affectstream.stream.serve.record import SessionRecorder
from affectstream.stream.serve.session import ServedSession
from affectstream.stream.sinks.lsl import LslOutlets

_log = logging.getLogger(__name__)

_CLOSE_S = 1.0
"""What a session has to compute and tell the rest."""
_DRAIN_S = 0.2
"""What listeners have to take the last lines."""
_HANG_UP_S = 5.0
"""A hanging up that is cut off leaves sockets behind, so only a shutdown is in a hurry."""
_FOR_LISTENERS_S, _FOR_HANG_UP_S = 0.4, 0.2
"""What a shutdown keeps of its time for the listeners and all after them, and for hanging up."""
_NAME_CHARS = 80


class Full(AffectstreamError):
    """There are as many sessions as may be, or the server is closing."""


@dataclass(frozen=True, slots=True)
class Tally:
    """What the server did in all."""

    sessions: int
    events: int
    delivered: int
    dropped: int

    def __str__(self) -> str:
        return (
            f"{self.sessions} sessions, {self.events} events, {self.delivered} lines delivered, "
            f"{self.dropped} dropped for slow clients"
        )


class Hub:
    """Opens, knows and closes sessions. All on the event loop."""

    def __init__(
        self,
        recognizer: Recognizer,
        *,
        max_sessions: int,
        record: Path | None = None,
        words: LiveWords | None = None,
        lsl: str | None = None,
        metrics: Metrics,
    ) -> None:
        """`recognizer` and `words` are shared by all sessions; `record` stores each below it. `lsl`
        begins the names of each session's outlets, which its own name ends."""
        self.recognizer, self.metrics = recognizer, metrics
        self.max_sessions, self.record = max_sessions, record
        self._words, self._lsl = words, lsl
        self.sessions: dict[str, ServedSession] = {}
        self.closing = False
        self._until_s = float("inf")
        """When a shutdown has to be over, on the monotonic clock."""
        self._places = 0
        self._count = 0
        self._past = Tally(0, 0, 0, 0)
        self._pool = ThreadPoolExecutor(max_sessions, "session")
        metrics.sessions.set_function(lambda: len(self.sessions))

    def open(self, kind: str, sources: Sequence[str], name: str | None) -> ServedSession:
        """A new session. Raises `Full`, or `AffectstreamError` where it cannot be."""
        if self.closing:
            raise Full("the server is closing")
        if self.full:
            raise Full(
                f"all {self.max_sessions} sessions of this server are in use: try again later"
            )
        used = tuple(m for m in self.recognizer.bundle.modalities if m in sources)
        if not used:
            raise AffectstreamError(
                f"the client sends {', '.join(sources) or 'nothing'}, and the bundle takes "
                f"{', '.join(self.recognizer.bundle.modalities)}"
            )
        if self._words is not None and "voice" in sources:
            used = (*used, "text")
        self._places += 1
        self._count += 1
        number = secrets.token_hex(6)
        name = clean_name(name) or f"{kind}-{self._count}"
        recorder: SessionRecorder | None = None
        outlets: LslOutlets | None = None
        try:
            if self.record is not None:
                recorder = SessionRecorder(self.record, number, used)
            if self._lsl is not None:
                outlets = LslOutlets(f"{self._lsl}-{name}", self.recognizer.bundle)
            session = ServedSession(
                self.recognizer,
                number,
                name,
                kind,
                used,
                metrics=self.metrics,
                recorder=recorder,
                words=self._words,
                outlets=outlets,
            )
        except BaseException:
            self._places -= 1
            if recorder is not None:
                recorder.close(_CLOSE_S)
            if outlets is not None:
                outlets.close()
            raise
        self.sessions[number] = session
        self.metrics.count_opened(kind)
        _log.info("session %s (%s) opened: %s", number, kind, ", ".join(used))
        return session

    async def close(self, session: ServedSession, why: str | None = None) -> None:
        """End a session: what is left is computed and told. Does nothing the second time.

        `why` says what came before its proper end; its `ended` event is not complete then.
        """
        if self.sessions.pop(session.number, None) is None:
            return
        try:
            await self._end(session, why)
        finally:
            self._places -= 1
            past = self._past
            self._past = Tally(
                past.sessions + 1,
                past.events + session.told,
                past.delivered + session.audience.delivered,
                past.dropped + session.audience.dropped,
            )
        _log.info("session %s ended: %d events", session.number, session.told)

    async def _end(self, session: ServedSession, why: str | None) -> None:
        loop = asyncio.get_running_loop()
        try:
            await loop.run_in_executor(
                self._pool, session.close, self._at_most(_CLOSE_S, _FOR_LISTENERS_S), why
            )
        except Exception:  # one session's fault is no reason to keep its client
            _log.exception("session %s did not end cleanly", session.number)
        session.dismiss()
        await _until(lambda: not session.audience, self._at_most(_DRAIN_S, _FOR_HANG_UP_S))
        for hang_up in session.at_end:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._at_most(_HANG_UP_S)):
                    await hang_up()
        if not self.closing:
            await loop.run_in_executor(self._pool, give_back)

    def _at_most(self, wait_s: float, keep_s: float = 0.0) -> float:
        """`wait_s`; in a shutdown all that is left of its time but for `keep_s`."""
        if not self.closing:
            return wait_s
        return max(0.0, self._until_s - keep_s - time.monotonic())

    async def close_all(self, until_s: float) -> Tally:
        """End every session until `until_s` of the monotonic clock, and take no new one."""
        self.closing, self._until_s = True, until_s
        await asyncio.gather(*(self.close(session) for session in list(self.sessions.values())))
        await _until(lambda: not self._places, self._at_most(0.0))  # those that were just ending
        self._pool.shutdown(wait=False)
        return self.tally

    @property
    def full(self) -> bool:
        """Whether no further session would be taken."""
        return self._places >= self.max_sessions

    async def watch(self) -> None:
        """Once a second, tell each session's state."""
        while True:
            await asyncio.sleep(1.0)
            for session in list(self.sessions.values()):
                session.tell_state()

    @property
    def tally(self) -> Tally:
        """What was done so far, live sessions included."""
        live = list(self.sessions.values())
        return Tally(
            self._past.sessions + len(live),
            self._past.events + sum(s.told for s in live),
            self._past.delivered + sum(s.audience.delivered for s in live),
            self._past.dropped + sum(s.audience.dropped for s in live),
        )


async def _until(done: Callable[[], bool], wait_s: float) -> None:
    end_s = time.monotonic() + wait_s
    while not done() and time.monotonic() < end_s:
        await asyncio.sleep(0.01)


def clean_name(name: str | None) -> str:
    """A name for events out of what a client sent: printable, and not too long."""
    return "".join(c for c in name or "" if c.isprintable()).strip()[:_NAME_CHARS]
