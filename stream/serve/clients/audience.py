"""All who listen to one session: its client, and programs that want the events.

session's threads ──► post ──► event loop ──► a queue for each listener ──► its connection
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from functools import partial

from affectstream.stream.serve.clients.outbox import BOUND, Outbox
from affectstream.stream.serve.metrics import Metrics


class Audience:
    """Made on the event loop, and used there except for `post` and `watches`."""

    def __init__(self, metrics: Metrics, greeting: Callable[[], bytes]) -> None:
        """`greeting` is what those who take more than events are told first."""
        self._metrics, self._greeting = metrics, greeting
        self._loop = asyncio.get_running_loop()
        self._outboxes: dict[Outbox, bool] = {}  # whether it takes more than events
        self._started: bytes | None = None
        self._early: deque[bytes] | None = deque(maxlen=BOUND)  # events of before anyone listened
        self._delivered = self._dropped = 0
        self.watches = False
        """Whether anyone takes more than events."""

    def __len__(self) -> int:
        """How many listen now."""
        return len(self._outboxes)

    @property
    def delivered(self) -> int:
        """Lines that listeners took so far."""
        return self._delivered + sum(box.stats.delivered for box in self._outboxes)

    @property
    def dropped(self) -> int:
        """Lines dropped so far because a listener was slow."""
        return self._dropped + sum(box.stats.dropped for box in self._outboxes)

    def listen(self, *, everything: bool) -> Outbox:
        """The queue of a new listener; `everything` adds the greeting, faces, words and state.

        The first gets all events so far: pictures may come before the channel that brings events.
        Later ones get the first event, which says when t = 0 was.
        """
        outbox = Outbox(observe=partial(self._metrics.observe_stage, "deliver"))
        if everything:
            outbox.push(self._greeting())
        early, self._early = self._early, None
        missed: Iterable[bytes] = () if self._started is None else (self._started,)
        for line in missed if early is None else early:
            outbox.push(line)
        self._outboxes[outbox] = everything
        self.watches = any(self._outboxes.values())
        return outbox

    def leave(self, outbox: Outbox) -> None:
        """A listener has gone."""
        if self._outboxes.pop(outbox, None) is not None:
            self.watches = any(self._outboxes.values())
            stats = outbox.stats
            self._delivered += stats.delivered
            self._dropped += stats.dropped
            self._metrics.count_lines_dropped(stats.dropped)

    def post(self, line: bytes, *, event: bool) -> None:
        """Hand a line to all whom it concerns, from any thread."""
        try:
            self._loop.call_soon_threadsafe(self._push, line, event)
        except RuntimeError:  # the loop is gone: there is nobody left to tell
            return

    def close(self) -> None:
        """Nothing more will come; what is there is still delivered."""
        for outbox in self._outboxes:
            outbox.close()

    def _push(self, line: bytes, event: bool) -> None:
        if event:
            self._started = self._started or line
            if self._early is not None:
                self._early.append(line)
        for outbox, everything in self._outboxes.items():
            if event or everything:
                outbox.push(line)
