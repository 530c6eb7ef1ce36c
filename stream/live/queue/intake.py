"""The head of a live session: what comes in is placed on one clock, sampled, and waits its turn.

Everything here is quick enough for the thread that brings a frame; dropping happens here and nowhere
else. Pure but for what it holds: the caller has the lock and passes the time.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import av

from affectstream.stream.live.queue.arrival import Arrivals
from affectstream.stream.live.queue.mailbox import Heard, Look, PictureBox, Silence, SoundBox
from affectstream.stream.live.queue.sampling import LiveGrid
from affectstream.stream.live.queue.tolerance import Tolerance
from affectstream.stream.media.picture import RotationReader
from affectstream.stream.media.types import Bound, Frame, MediaKind

MOST_PICTURES = 3
"""Sampled pictures that may wait: more would only be older."""
MOST_SOUND_US = 5_000_000
FAR_AHEAD_S = 60.0
"""A time that is this far ahead of all others is wrong, not early."""
_REMEMBER_S = 2.0
"""When a source gets slower on its way, all of it is late for this long, and then no more."""
_SLACK_US = 20_000
"""Sound is complete up to this before its newest sample: the resampler holds some back."""


@dataclass(slots=True)
class Counts:
    """What became of what came in."""

    frames: int = 0
    sounds: int = 0
    sounds_late: int = 0
    wrong_times: int = 0


class Intake:
    """Put in frames and sound, take out work."""

    def __init__(
        self, kinds: Sequence[MediaKind], *, frame_hz: int, hop_us: int, start_us: int, rate_hz: int
    ) -> None:
        """`kinds` are those that the source gives; `start_us` is where the first hop begins."""
        self._kinds = tuple(kinds)
        self._start_us = start_us
        self.grid = LiveGrid(frame_hz, start_us)
        self.grid.rate_hz = rate_hz
        self.pictures = PictureBox(MOST_PICTURES)
        self.sound = SoundBox(MOST_SOUND_US)
        self.counts = Counts()
        self._arrivals = {kind: Arrivals(_REMEMBER_S) for kind in kinds}
        self._tolerance = Tolerance(kinds, hop_us, start_us)
        self._rotation = RotationReader()
        self._reached_us = dict.fromkeys(kinds, start_us)
        self._silent_until_us = -math.inf

    @property
    def end_us(self) -> int:
        """Where the newest that came ends."""
        return max(self._reached_us.values(), default=self._start_us)

    @property
    def zero_s(self) -> float | None:
        """When t = 0 was on the monotonic clock, as far as the arrivals tell."""
        return min((z for z in self._zeros().values()), default=None)

    @property
    def lag_ms(self) -> float | None:
        """How much later pictures arrive than the sound of the same time; None without both."""
        zeros = self._zeros()
        if len(zeros) < 2:
            return None
        return (zeros[MediaKind.VIDEO] - zeros[MediaKind.AUDIO]) * 1e3

    def see(self, picture: av.VideoFrame, t_us: int, arrived_s: float) -> None:
        """A picture of media time `t_us`."""
        self.counts.frames += 1
        if MediaKind.VIDEO not in self._arrivals or not self._believable(t_us, arrived_s):
            return
        self._arrivals[MediaKind.VIDEO].push(t_us, arrived_s)
        for look in self.grid.push(Frame(t_us, picture, self._rotation.read(picture)), arrived_s):
            self.pictures.put(look)
        self._came(MediaKind.VIDEO, self.grid.reached_us, arrived_s)
        ends_us = t_us + _duration_us(picture)
        self._reached_us[MediaKind.VIDEO] = max(self._reached_us[MediaKind.VIDEO], ends_us)

    def hear(self, sound: av.AudioFrame, t_us: int, arrived_s: float) -> None:
        """A frame of sound that begins at `t_us`."""
        self.counts.sounds += 1
        if MediaKind.AUDIO not in self._arrivals or not self._believable(t_us, arrived_s):
            return
        ends_us = t_us + sound.samples * 1_000_000 // max(1, sound.sample_rate)
        self._arrivals[MediaKind.AUDIO].push(t_us, arrived_s)
        self.counts.sounds_late += t_us < self._silent_until_us
        self.sound.put(Heard(sound, t_us, arrived_s))
        self._came(MediaKind.AUDIO, ends_us - _SLACK_US, arrived_s)
        self._reached_us[MediaKind.AUDIO] = max(self._reached_us[MediaKind.AUDIO], ends_us)

    def take(self) -> Look | Heard | Silence | None:
        """The next piece of work; sound first, for it is quick and a hop needs all of it."""
        return self.sound.take() or self.pictures.take()

    def deadline_s(self) -> float | None:
        """When the tolerance for something runs out next."""
        return self._tolerance.deadline_s()

    def give_up(self, now_s: float) -> None:
        """Stop waiting for what is overdue at `now_s`."""
        for one in self._tolerance.overdue(now_s):
            if one.kind is MediaKind.VIDEO:
                for look in self.grid.settle(one.t_us, one.ran_out_s):
                    self.pictures.put(look)
            else:
                self._silent_until_us = one.t_us
                self.sound.put(Silence(Bound(one.kind, one.t_us), one.ran_out_s))

    def finish(self, now_s: float) -> None:
        """Nothing more will come: settle what was seen until the end."""
        if MediaKind.VIDEO in self._arrivals:
            for look in self.grid.flush(self.end_us, now_s):
                self.pictures.put(look)

    def _believable(self, t_us: int, arrived_s: float) -> bool:
        zero_s = self.zero_s
        ahead_s = 0.0 if zero_s is None else zero_s - (arrived_s - t_us / 1e6)
        if t_us >= self._start_us - 1_000_000 and ahead_s < FAR_AHEAD_S:
            return True
        self.counts.wrong_times += 1
        return False

    def _came(self, kind: MediaKind, reached_us: int, arrived_s: float) -> None:
        zero_s = self._arrivals[kind].zero_s
        assert zero_s is not None
        self._tolerance.came(kind, reached_us, zero_s, arrived_s)

    def _zeros(self) -> dict[MediaKind, float]:
        found = {kind: arrivals.zero_s for kind, arrivals in self._arrivals.items()}
        return {kind: zero_s for kind, zero_s in found.items() if zero_s is not None}


def _duration_us(picture: av.VideoFrame) -> int:
    if not picture.duration or picture.time_base is None:
        return 0
    unit = picture.time_base
    return picture.duration * unit.numerator * 1_000_000 // unit.denominator
