"""The other workers, as one worker sees them: who has a session, who gets the next one, what all report."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from starlette.types import Message, Scope

from affectstream.stream.serve.workers import tunnel
from affectstream.stream.serve.workers.board import Board

_ANSWER_S = 2.0
"""A worker that has not answered by then is left out of what all report."""
_RELAY_AFTER = 2
"""An upload goes to another worker only if that has this many fewer sessions: all its bytes are passed on."""


class Colleagues:
    """All workers of the server, from the side of worker `number`."""

    def __init__(self, number: int, board: Board, folder: Path) -> None:
        """`folder` holds the sockets between the workers."""
        self.number, self.board, self._folder = number, board, folder
        self._starts = board.state(number).starts
        self._opening: Counter[int] = Counter()

    @property
    def prefix(self) -> str:
        """How the ids of this worker's sessions begin: its number, and how often it was started."""
        return f"{self.number}-{self._starts}-"

    @property
    def socket_path(self) -> Path:
        """Where this worker listens for the others."""
        return self._socket_of(self.number)

    def count_sessions(self, count: int) -> None:
        """This worker has `count` sessions, those that end included."""
        self.board.set_sessions(self.number, count)

    def owner(self, session_id: str) -> int | None:
        """The other worker that opened a session, if it still runs; None: this worker, or nobody."""
        found = _parse(session_id)
        if found is None or found[0] not in range(1, len(self.board.shares) + 1):
            return None
        state = self.board.state(found[0])
        if state.number == self.number or (state.starts, state.ready) != (found[1], True):
            return None
        return state.number

    def lost(self, session_id: str) -> str | None:
        """Why a session that this worker does not have is gone, if its worker died."""
        found = _parse(session_id)
        if found is None or found == (self.number, self._starts):
            return None
        if found[0] not in range(1, len(self.board.shares) + 1):
            return None
        if not 1 <= found[1] <= self.board.state(found[0]).starts:
            return None
        return f"worker {found[0]}, which had this session, ended unexpectedly: open a new session"

    def is_lost(self, session_id: str) -> bool:
        """Whether a session that this worker does not have was that of a worker that died."""
        return self.lost(session_id) is not None

    def for_new_session(self, *, upload: bool, hops: int) -> int | None:
        """The other worker that should open a session; None: this one, or nobody has a place.

        `hops` is how many workers have passed on the request: after the first it stays wherever there is a
        place.
        """
        loads = {s.number: s.sessions + self._opening[s.number] for s in self.board.states}
        free = [s.number for s in self.board.states if s.ready and loads[s.number] < s.max_sessions]
        if not free or hops > len(self.board.shares):
            return None
        best = min(free, key=lambda number: loads[number])
        if self.number in free:
            fewer = loads[self.number] - loads[best]
            if hops or fewer < (_RELAY_AFTER if upload else 1):
                return None
        return None if best == self.number else best

    @contextmanager
    def opening(self, number: int) -> Iterator[None]:
        """While a session is being opened in worker `number`, it counts there."""
        self._opening[number] += 1
        try:
            yield
        finally:
            self._opening[number] -= 1

    async def connect(self, number: int) -> tunnel.Tunnel:
        """A tunnel to worker `number`. Raises `OSError` if it has ended."""
        return await tunnel.connect(self._socket_of(number))

    async def gather(self, scope: Scope) -> dict[int, bytes]:
        """What each other worker answers to the same GET request, by number; those that answer at once."""
        others = [s.number for s in self.board.states if s.ready and s.number != self.number]
        answers = await asyncio.gather(*(self._ask(number, scope) for number in others))
        return {number: body for number, body in zip(others, answers, strict=True) if body}

    async def _ask(self, number: int, scope: Scope) -> bytes | None:
        status, body = 0, bytearray()
        request: asyncio.Queue[Message] = asyncio.Queue()
        request.put_nowait({"type": "http.request", "body": b"", "more_body": False})

        async def send(message: Message) -> None:
            nonlocal status
            status = message.get("status", status)
            body.extend(message.get("body", b""))

        try:
            async with asyncio.timeout(_ANSWER_S):
                await (await self.connect(number)).forward(scope, request.get, send)
        except (OSError, TimeoutError, tunnel.Broken):
            return None
        return bytes(body) if status == 200 else None

    def _socket_of(self, number: int) -> Path:
        return self._folder / f"{number}.sock"


def _parse(session_id: str) -> tuple[int, int] | None:
    """The number of the worker in an id, and how often it had been started; None if there is none."""
    number, _, rest = session_id.partition("-")
    starts, _, rest = rest.partition("-")
    if not (rest and number.isdecimal() and starts.isdecimal() and len(number + starts) < 16):
        return None
    return int(number), int(starts)
