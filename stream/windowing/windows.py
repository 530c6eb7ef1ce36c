"""One clock: faces, sound and words joined into windows, hop by hop.

A plain state machine. Each kind of stream has a bound, the time before which nothing more will come;
a hop goes out as soon as both bounds have passed its end. How the input was cut into pieces makes no
difference to the windows.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from affectstream.stream.faces.face import Face
from affectstream.stream.faces.pose import Pose
from affectstream.stream.media.types import (
    FOREVER_US,
    SAMPLE_RATE,
    Bound,
    Cue,
    MediaKind,
    Samples,
    sample_time_us,
)
from affectstream.stream.transcript.files import CurrentUtterance
from affectstream.stream.windowing.voice_activity import Timeline, VoiceGate

ABSENT_AFTER_US = 1_000_000
"""A person without a face for this long is absent."""


@dataclass(frozen=True, slots=True)
class WindowShape:
    """How often a reading is due and what it looks at."""

    window_us: int
    hop_us: int
    frame_hz: int

    def __post_init__(self) -> None:
        if self.hop_us <= 0 or self.window_us % self.hop_us:
            raise ValueError(f"window {self.window_us} us must be whole hops of {self.hop_us} us")
        if self.hop_us * self.frame_hz % 1_000_000:
            raise ValueError(f"hop {self.hop_us} us must hold whole frames at {self.frame_hz} Hz")

    @property
    def points(self) -> int:
        """Grid points in a window."""
        return self.window_us * self.frame_hz // 1_000_000

    @property
    def points_per_hop(self) -> int:
        """Grid points in a hop."""
        return self.hop_us * self.frame_hz // 1_000_000


@dataclass(frozen=True, slots=True, eq=False)
class TrackSample:
    """One track at one grid point."""

    point: int
    pts_us: int
    frame_size: tuple[int, int]
    face: Face
    pose: Pose | None


@dataclass(frozen=True, slots=True, eq=False)
class FrameSample:
    """One picture as a whole at one grid point: an embedding (D,) float32 for each eye."""

    point: int
    pts_us: int
    embeddings: tuple[NDArray[np.float32], ...]


@dataclass(frozen=True, slots=True, eq=False)
class Window:
    """All that is known when hop `hop` is due, on the clock of the source.

    `tracks` holds each track's tracked faces at grid points in [end - window, end), oldest first, and
    `frames` the pictures there; `sound` is (samples, channels) float32 over the same stretch, zeros
    where there was none; `voiced_us` says for each channel how much of it is speech, and
    `voiced_us_by_window` the same for the shorter stretches that were asked for. `cue` is the current
    utterance, `earlier_cues` what was said before it, oldest first.
    """

    hop: int
    start_us: int
    end_us: int
    tracks: dict[int, tuple[TrackSample, ...]]
    sound: NDArray[np.float32]
    voiced_us: tuple[int, ...]
    cue: Cue | None
    frames: tuple[FrameSample, ...] = ()
    earlier_cues: tuple[Cue, ...] = ()
    voiced_us_by_window: Mapping[int, tuple[int, ...]] = field(default_factory=dict)

    def voiced_us_in(self, window_us: int) -> tuple[int, ...]:
        """How much of the last `window_us` is speech, for each channel."""
        return self.voiced_us_by_window.get(window_us, self.voiced_us)


class Windower:
    """Joins what was seen, heard and said. Push in any interleaving; each kind must not go back.

    `channels` is the number of voices that are kept apart (1 unless the sound is stereo with one
    speaker on each side). `start_us` is where the wanted part of a recording begins. `within_us` are
    shorter windows that are asked about, and `context` is how many utterances before the current one
    are wanted.
    """

    def __init__(
        self,
        shape: WindowShape,
        *,
        channels: int = 1,
        start_us: int = 0,
        within_us: Sequence[int] = (),
        context: int = 0,
    ) -> None:
        self._shape = shape
        self._within_us = tuple(within_us)
        self._hop = start_us // shape.hop_us
        self._start_us = start_us
        self._looks: dict[int, deque[TrackSample]] = {}
        self._scenes: deque[FrameSample] = deque()
        self._sound = Timeline(channels)
        self._gates = [VoiceGate() for _ in range(channels)]
        self._words = CurrentUtterance(context)
        self._bounds = dict.fromkeys(MediaKind, 0)

    def push_frame(
        self,
        point: int,
        tracked: Sequence[tuple[int, TrackSample]],
        scene: FrameSample | None = None,
    ) -> list[Window]:
        """Faces at a grid point (none is fine), and the picture where it counts as a whole.

        Every point must be told, in order.
        """
        if scene is not None:
            self._scenes.append(scene)
        for track, look in tracked:
            self._looks.setdefault(track, deque()).append(look)
        return self.push_bound(
            Bound(MediaKind.VIDEO, -(-(point + 1) * 1_000_000 // self._shape.frame_hz))
        )

    def push_sound(self, samples: Samples) -> list[Window]:
        """A run of sound."""
        self._sound.push(samples)
        for channel, gate in enumerate(self._gates):
            gate.push(Samples(samples.start, samples.data[:, channel : channel + 1]))
        return self.push_bound(Bound(MediaKind.AUDIO, sample_time_us(samples.end)))

    def push_cue(self, cue: Cue) -> None:
        """A cue of the transcript; it counts from its end time on, whenever it is told."""
        self._words.push(cue)

    def push_bound(self, bound: Bound) -> list[Window]:
        """Note that nothing of a kind earlier than the bound will come."""
        self._bounds[bound.kind] = max(self._bounds[bound.kind], bound.t_us)
        settled = min(self._bounds.values())
        return [] if settled == FOREVER_US else self._due(settled)

    def flush(self, end_us: int) -> list[Window]:
        """The windows of every hop that begins before `end_us`, the end of the recording."""
        for gate in self._gates:
            gate.flush()
        whole = -(-end_us // self._shape.hop_us) * self._shape.hop_us
        return self._due(whole)

    def _due(self, until_us: int) -> list[Window]:
        windows = []
        while (self._hop + 1) * self._shape.hop_us <= until_us:
            windows.append(self._window())
            self._hop += 1
        return windows

    def _window(self) -> Window:
        start_us = self._hop * self._shape.hop_us
        end_us = start_us + self._shape.hop_us
        last_point = (self._hop + 1) * self._shape.points_per_hop
        first_point = last_point - self._shape.points
        for track in list(self._looks):
            looks = self._looks[track]
            while looks and looks[0].point < first_point:
                looks.popleft()
            if not looks:
                del self._looks[track]
        while self._scenes and self._scenes[0].point < first_point:
            self._scenes.popleft()
        first = (end_us - self._shape.window_us) * SAMPLE_RATE // 1_000_000
        last = end_us * SAMPLE_RATE // 1_000_000
        self._sound.forget(first)
        sound = self._sound.window(first, last)
        for gate in self._gates:
            gate.forget(end_us - self._shape.window_us)
        self._words.forget(end_us)
        cue = self._words.at(end_us)
        return Window(
            hop=self._hop,
            start_us=max(start_us, self._start_us),
            end_us=end_us,
            tracks={
                track: tuple(look for look in looks if look.point < last_point)
                for track, looks in sorted(self._looks.items())
                if looks[0].point < last_point
            },
            sound=sound,
            voiced_us=self._voiced_us(end_us, self._shape.window_us),
            cue=cue,
            frames=tuple(scene for scene in self._scenes if scene.point < last_point),
            earlier_cues=() if cue is None else self._words.before(cue),
            voiced_us_by_window={w: self._voiced_us(end_us, w) for w in self._within_us},
        )

    def _voiced_us(self, end_us: int, window_us: int) -> tuple[int, ...]:
        return tuple(gate.voiced_us(end_us - window_us, end_us) for gate in self._gates)
