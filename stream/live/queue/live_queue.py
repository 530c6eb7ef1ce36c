"""The queue of a live session: any thread pushes, the worker takes.

    push_video ──► plausible time? ──► grid ──► VideoBuffer ──┐
    push_audio ──► plausible time? ─────────► AudioBuffer ────┼──► next (the worker)
    push_message ─────────────────────────────────────────────┘

A push never waits for the worker. Frames and sound are dropped here, before any work, and nowhere else.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence
from typing import TypeAlias

import av

from affectstream.stream.events import Stream
from affectstream.stream.live.clock import Clock
from affectstream.stream.live.queue.arrivals import Arrivals
from affectstream.stream.live.queue.buffers import AudioBuffer, AudioItem, VideoBuffer, VideoItem
from affectstream.stream.live.queue.grid import LiveGrid
from affectstream.stream.live.queue.tolerance import Deadline, Tolerance
from affectstream.stream.live.stats import QueueStats
from affectstream.stream.media.picture import RotationReader
from affectstream.stream.media.types import FOREVER_US, Cue, Frame, MediaKind

MAX_FRAMES = 3
"""Sampled frames that may wait: more would only be older."""
MAX_SOUND_US = 5_000_000
MAX_MESSAGES = 1024
"""Cues and stream events that may wait; the oldest are lost."""
FAR_AHEAD_S = 60.0
"""A time that is this far ahead of all others is wrong, not early."""
_REMEMBER_S = 2.0
"""When a source gets slower on its way, everything is late for this long, and then no more."""
_HELD_BACK_US = 20_000
"""The resampler holds back up to this much of the newest sound."""
_FPS_S = 2.0
"""The frame rate is measured over this long."""

Work: TypeAlias = VideoItem | AudioItem | Deadline | Cue | Stream
"""What the worker takes: a frame, sound, a missed deadline of the sound, words, a stream event to emit."""


class LiveQueue:
    """Every method but `wait_start` and `next`, which wait, may be called from any thread."""

    def __init__(
        self,
        kinds: Sequence[MediaKind],
        *,
        frame_hz: int,
        hop_us: int,
        rate_hz: int,
        clock: Clock,
        offset_us: int = 0,
    ) -> None:
        """`kinds` are those that the source gives; `rate_hz` frames a second are analyzed at first, each
        `offset_us` after its grid point."""
        self._frame_hz, self._hop_us, self._clock = frame_hz, hop_us, clock
        self._offset_us = offset_us
        self._changed = threading.Condition()
        self._video, self._audio = VideoBuffer(MAX_FRAMES), AudioBuffer(MAX_SOUND_US)
        self._messages: deque[Cue | Stream] = deque(maxlen=MAX_MESSAGES)
        self._arrivals = {kind: Arrivals(_REMEMBER_S) for kind in kinds}
        self._rotation = RotationReader()
        self._frame_times_s: deque[float] = deque(maxlen=128)
        self._sound_deadline_us = -FOREVER_US
        self._frames_in = self._sounds_in = self._sounds_late = self._wrong_times = 0
        self._most_waiting = 0
        self._started = self._closed = self._abandoned = self._waiting = False
        self._start_at(0, rate_hz)  # again with the first frame

    def _start_at(self, start_us: int, rate_hz: int) -> None:
        """Place the first hop at `start_us`."""
        self._start_us = start_us
        self._grid = LiveGrid(self._frame_hz, start_us, rate_hz, self._offset_us)
        self._tolerance = Tolerance(self._arrivals, self._hop_us, start_us)
        self._end_us = dict.fromkeys(self._arrivals, start_us)

    # --- from any thread ---

    def push_video(self, picture: av.VideoFrame, t_us: int, arrived_s: float) -> None:
        """Push a picture taken at `t_us`; after `close` nothing happens."""
        with self._changed:
            if self._closed:
                return
            self._frame_times_s.append(arrived_s)
            self._frames_in += 1
            if self._accept(MediaKind.VIDEO, t_us, arrived_s):
                frame = Frame(t_us, picture, self._rotation.read(picture))
                for item in self._grid.push(frame, arrived_s):
                    self._video.push(item)
                end_us = t_us + _duration_us(picture)
                self._advance(MediaKind.VIDEO, self._grid.complete_us, end_us, arrived_s)
            self._notify()

    def push_audio(self, sound: av.AudioFrame, t_us: int, arrived_s: float) -> None:
        """Push a frame of sound that begins at `t_us`; after `close` nothing happens."""
        with self._changed:
            if self._closed:
                return
            self._sounds_in += 1
            if self._accept(MediaKind.AUDIO, t_us, arrived_s):
                item = AudioItem(sound, t_us, arrived_s)
                self._sounds_late += t_us < self._sound_deadline_us
                self._audio.push(item)
                end_us = t_us + item.duration_us
                self._advance(MediaKind.AUDIO, end_us - _HELD_BACK_US, end_us, arrived_s)
            self._notify()

    def push_message(self, message: Cue | Stream) -> None:
        """Push words or an event of the stream; the worker takes them before frames and sound."""
        with self._changed:
            self._messages.append(message)
            self._notify()

    def is_plausible(self, t_us: int) -> bool:
        """Whether words of this time can be meant: not further ahead than any picture or sound may be."""
        with self._changed:
            return t_us < self._newest_us + FAR_AHEAD_S * 1e6

    def count_wrong_time(self) -> None:
        """Something was left out because of its time."""
        with self._changed:
            self._wrong_times += 1

    def set_rate(self, rate_hz: int) -> None:
        """Analyze `rate_hz` frames a second from now on."""
        with self._changed:
            self._grid.rate_hz = rate_hz

    def close(self) -> None:
        """Accept nothing more; the worker still gets what is waiting."""
        with self._changed:
            if not self._closed and MediaKind.VIDEO in self._arrivals:
                for item in self._grid.flush(self._newest_us, self._clock.now_s()):
                    self._video.push(item)
            self._closed = True
            self._changed.notify_all()

    def abandon(self) -> None:
        """Give the worker nothing more."""
        with self._changed:
            self._closed = self._abandoned = True
            self._changed.notify_all()

    @property
    def position_us(self) -> int:
        """The end of the newest frame or sound; 0 before the first."""
        with self._changed:
            return self._newest_us

    @property
    def zero_s(self) -> float | None:
        """When t = 0 was on the monotonic clock, estimated from the arrivals; None before the first."""
        with self._changed:
            return min(self._zeros_s().values(), default=None)

    @property
    def start_us(self) -> int:
        """Where the first hop begins; 0 before the first frame."""
        return self._start_us

    @property
    def frames_dropped(self) -> int:
        """Frames dropped so far."""
        with self._changed:
            return self._video.dropped

    @property
    def is_idle(self) -> bool:
        """Whether the worker waits for more."""
        with self._changed:
            return self._waiting

    @property
    def is_abandoned(self) -> bool:
        """Whether `abandon` was called."""
        return self._abandoned

    def stats(self) -> QueueStats:
        """The counts so far."""
        with self._changed:
            zeros_s = self._zeros_s()
            skew_ms = None
            if len(zeros_s) == 2:
                skew_ms = (zeros_s[MediaKind.VIDEO] - zeros_s[MediaKind.AUDIO]) * 1e3
            return QueueStats(
                frames_in=self._frames_in,
                frames_dropped=self._video.dropped,
                frames_late=self._grid.late,
                sounds_in=self._sounds_in,
                sounds_late=self._sounds_late,
                sounds_dropped=self._audio.dropped,
                wrong_times=self._wrong_times + self._grid.backwards,
                pictures_waiting=len(self._video),
                sounds_waiting=len(self._audio),
                most_waiting=self._most_waiting,
                fps=self._fps(),
                av_skew_ms=skew_ms,
            )

    # --- for the worker ---

    def wait_start(self) -> bool:
        """Wait for the first frame or sound; False if the queue was closed before it came."""
        with self._changed:
            while not self._started and not self._closed:
                self._changed.wait()
            return self._started

    def next(self) -> Work | None:
        """Wait for the next item: messages first, then sound, then frames. None once the queue is closed
        and empty."""
        with self._changed:
            while not self._abandoned:
                if (item := self._pop()) is not None:
                    return item
                if self._closed:
                    return None
                now_s = self._clock.now_s()
                if self._miss_deadlines(now_s):
                    continue
                until_s = self._tolerance.next_s()
                self._waiting = True
                self._changed.wait(None if until_s is None else max(0.0, until_s - now_s))
                self._waiting = False
        return None

    # --- with the lock held ---

    @property
    def _newest_us(self) -> int:
        return max(self._end_us.values(), default=self._start_us)

    def _accept(self, kind: MediaKind, t_us: int, arrived_s: float) -> bool:
        """Whether something of `kind` is wanted and its time is plausible; the first starts the clock."""
        if not self._started:
            self._started = True
            self._start_at(max(0, t_us) // self._hop_us * self._hop_us, self._grid.rate_hz)
        if kind not in self._arrivals:
            return False
        zero_s = min(self._zeros_s().values(), default=None)
        ahead_s = 0.0 if zero_s is None else zero_s - (arrived_s - t_us / 1e6)
        if t_us < self._start_us - 1_000_000 or ahead_s >= FAR_AHEAD_S:
            self._wrong_times += 1
            return False
        self._arrivals[kind].push(t_us, arrived_s)
        return True

    def _advance(self, kind: MediaKind, complete_us: int, end_us: int, arrived_s: float) -> None:
        """Everything of `kind` before `complete_us` is here, and the newest item ends at `end_us`."""
        self._tolerance.push(kind, complete_us, self._zeros_s()[kind], arrived_s)
        self._end_us[kind] = max(self._end_us[kind], end_us)

    def _miss_deadlines(self, now_s: float) -> bool:
        """Stop waiting for what is overdue at `now_s`; whether there was anything."""
        missed = self._tolerance.missed(now_s)
        for deadline in missed:
            if deadline.kind is MediaKind.VIDEO:
                for item in self._grid.advance(deadline.t_us, deadline.at_s):
                    self._video.push(item)
            else:
                self._sound_deadline_us = deadline.t_us
                self._audio.push(deadline)
        return bool(missed)

    def _pop(self) -> Work | None:
        """The next item. Sound goes before frames: it takes little time, and a hop needs all of it."""
        if self._messages:
            return self._messages.popleft()
        return self._audio.pop() or self._video.pop()

    def _notify(self) -> None:
        self._most_waiting = max(self._most_waiting, len(self._video) + len(self._audio))
        self._waiting = False
        self._changed.notify()

    def _zeros_s(self) -> dict[MediaKind, float]:
        zeros_s = {kind: arrivals.zero_s for kind, arrivals in self._arrivals.items()}
        return {kind: zero_s for kind, zero_s in zeros_s.items() if zero_s is not None}

    def _fps(self) -> float:
        now_s = self._clock.now_s()
        recent = [t for t in self._frame_times_s if now_s - t < _FPS_S]
        return (len(recent) - 1) / (recent[-1] - recent[0]) if len(set(recent)) > 1 else 0.0


def _duration_us(picture: av.VideoFrame) -> int:
    if not picture.duration or picture.time_base is None:
        return 0
    unit = picture.time_base
    return picture.duration * unit.numerator * 1_000_000 // unit.denominator
