"""What waits for the worker of a live session, between the threads that push and the one that works.

    see, hear, put (any thread) ──► intake, asides ──► next (the worker)

The intake places, samples and drops; here are the lock around it, the waiting, and all that is neither
picture nor sound.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence
from typing import TypeAlias

import av

from affectstream.stream.events import Stream
from affectstream.stream.live.clock import Clock
from affectstream.stream.live.queue.intake import Intake
from affectstream.stream.live.queue.mailbox import Heard, Look, Silence
from affectstream.stream.live.stats import LiveStats, stats_of
from affectstream.stream.live.worker import LiveWorker
from affectstream.stream.media.types import Cue, MediaKind

_MOST_ASIDES = 65_536
"""Cues and stream events that may wait: the transcript of a day."""

Work: TypeAlias = Look | Heard | Silence | Cue | Stream
"""What a worker is given: what was seen, heard, missed or said, or an event of the stream to tell."""


class Inbox:
    """Everything but `next` and `await_first`, which wait, may be called from any thread."""

    def __init__(
        self, kinds: Sequence[MediaKind], *, frame_hz: int, hop_us: int, rate_hz: int, clock: Clock
    ) -> None:
        """`kinds` are those that the source gives; `rate_hz` is how many frames a second are looked at
        to begin with."""
        self._kinds, self._frame_hz, self._hop_us = tuple(kinds), frame_hz, hop_us
        self._rate_hz, self._clock = rate_hz, clock
        self._more = threading.Condition()
        self._intake: Intake | None = None  # from the first picture or sound on
        self._asides: deque[Cue | Stream] = deque(maxlen=_MOST_ASIDES)
        self._arrived: deque[float] = deque(maxlen=128)
        self._closed = self._abandoned = self._resting = False
        self.start_us = 0
        """Where the first hop begins; 0 until it is known."""

    @property
    def position_us(self) -> int:
        """Where the newest that came in ends."""
        intake = self._intake
        return 0 if intake is None else intake.end_us

    @property
    def zero_s(self) -> float | None:
        """When t = 0 was on the monotonic clock, as the arrivals tell; None before the first."""
        with self._more:
            return None if self._intake is None else self._intake.zero_s

    @property
    def dropped(self) -> int:
        """Pictures that were given up so far."""
        with self._more:
            return 0 if self._intake is None else self._intake.pictures.dropped

    @property
    def resting(self) -> bool:
        """Whether the worker waits for more to come."""
        with self._more:
            return self._resting

    def see(self, picture: av.VideoFrame, t_us: int, arrived_s: float) -> None:
        """A picture taken at `t_us`."""
        with self._more:
            if not self._closed:
                self._arrived.append(arrived_s)
                self._begun(t_us).see(picture, t_us, arrived_s)
                self._wake()

    def hear(self, sound: av.AudioFrame, t_us: int, arrived_s: float) -> None:
        """A frame of sound that begins at `t_us`."""
        with self._more:
            if not self._closed:
                self._begun(t_us).hear(sound, t_us, arrived_s)
                self._wake()

    def put(self, aside: Cue | Stream) -> None:
        """Words, or an event of the stream; they go before pictures and sound."""
        with self._more:
            self._asides.append(aside)
            self._wake()

    def sample_at(self, rate_hz: int) -> None:
        """Look at so many frames a second from now on."""
        with self._more:
            if self._intake is not None:
                self._intake.grid.rate_hz = rate_hz

    def close(self) -> None:
        """Take nothing more of the source; what is there is still given out."""
        with self._more:
            if not self._closed and self._intake is not None:
                self._intake.finish(self._clock.now_s())
            self._closed = True
            self._more.notify_all()

    def abandon(self) -> None:
        """Give out nothing more."""
        with self._more:
            self._closed = self._abandoned = True
            self._more.notify_all()

    def await_first(self) -> bool:
        """Whether any picture or sound came before this was closed."""
        with self._more:
            while self._intake is None and not self._closed:
                self._more.wait()
            return self._intake is not None

    def next(self) -> Work | None:
        """The next piece of work; None once this is closed and nothing is left."""
        with self._more:
            while not self._abandoned:
                if self._asides:
                    return self._asides.popleft()
                if (item := self._take()) is not None:
                    return item
                if self._closed:
                    return None
                deadline_s = None if self._intake is None else self._intake.deadline_s()
                self._resting = True
                now_s = self._clock.now_s()
                self._more.wait(None if deadline_s is None else max(0.0, deadline_s - now_s))
                self._resting = False
        return None

    def stats(
        self, flow: LiveWorker | None, *, frame_hz: int, hops: int, events: int, reconnects: int
    ) -> LiveStats:
        """The session as it stands; `flow` is what its worker does, once it does anything."""
        with self._more:
            return stats_of(
                self._intake,
                flow,
                fps=self._fps(),
                frame_hz=frame_hz,
                hops=hops,
                events=events,
                reconnects=reconnects,
            )

    def _begun(self, t_us: int) -> Intake:
        if self._intake is None:
            self.start_us = max(0, t_us) // self._hop_us * self._hop_us
            self._intake = Intake(
                self._kinds,
                frame_hz=self._frame_hz,
                hop_us=self._hop_us,
                start_us=self.start_us,
                rate_hz=self._rate_hz,
            )
        return self._intake

    def _take(self) -> Look | Heard | Silence | None:
        """What came, or else what has to be given up by now."""
        intake = self._intake
        if intake is None:
            return None
        if (item := intake.take()) is None and not self._closed:
            intake.give_up(self._clock.now_s())
            item = intake.take()
        return item

    def _wake(self) -> None:
        self._resting = False
        self._more.notify()

    def _fps(self) -> float:
        now_s = self._clock.now_s()
        recent = [t for t in self._arrived if now_s - t < 2.0]
        return (len(recent) - 1) / (recent[-1] - recent[0]) if len(set(recent)) > 1 else 0.0
