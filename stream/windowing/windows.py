"""Faces, sound and words on one clock, joined into windows, hop by hop.

A plain state machine. Each kind of stream has a bound: nothing earlier than it will come. A hop is due
as soon as both bounds have passed its end. The windows do not depend on how the input was cut.
They are given out one by one: a long stretch without media takes no memory.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from affectstream.engines.labels import SpeechGateOption
from affectstream.stream.faces.face import Face
from affectstream.stream.media.types import (
    FOREVER_US,
    SAMPLE_RATE,
    UPRIGHT,
    Bound,
    Cue,
    MediaKind,
    Rotation,
    Samples,
    sample_time_us,
)
from affectstream.stream.transcript.context import CurrentUtterance
from affectstream.stream.windowing.gaps import HOLE_US, MediaSpans
from affectstream.stream.windowing.sound_timeline import SoundTimeline
from affectstream.stream.windowing.voice_activity import VoiceGate

ABSENT_AFTER_US = 1_000_000
"""A person without a face for longer than this is absent."""

RECENT_VOICE_US, MIN_RECENT_US = 1_000_000, 100_000
"""With less speech than `MIN_RECENT_US` in the last second of a window the speaker has stopped, and the voice
counts as absent, as a face does that was last seen a second ago. Pauses within a sentence are shorter."""

HolePolicy = Literal["keep", "skip", "wait"]
"""What a windower does in a stretch without media (see `MediaSpans`).

``keep``: every hop is due, for words alone. ``skip``: after `HOLE_US` hops stop until media comes, for live
sources. ``wait``: hops wait until media follows, and a hole has none at all, for recordings.
"""


@dataclass(frozen=True, slots=True)
class WindowShape:
    """The length of a window, how often one is due, and its grid points a second."""

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
    """The face of one track at one grid point.

    `frame_size` is (width, height) in pixels of the upright picture, and `rotation` the one that made it so.
    """

    point: int
    pts_us: int
    frame_size: tuple[int, int]
    face: Face
    rotation: Rotation = UPRIGHT


@dataclass(frozen=True, slots=True, eq=False)
class FrameSample:
    """One whole picture at one grid point: an embedding (D,) float32 for each encoder of frames."""

    point: int
    pts_us: int
    embeddings: tuple[NDArray[np.float32], ...]


@dataclass(frozen=True, slots=True, eq=False)
class Window:
    """The input that is known when hop `hop` is due, on the clock of the source.

    `tracks` holds the samples of each track, and `frames` those of whole pictures, at grid points in
    [end - window, end), oldest first. `sound` is (samples, channels) float32 over the same time, zeros
    where no sound came. `voiced_us` says for each channel how much of it is speech, in microseconds, and
    `voiced_us_by_window` the same for shorter windows that end here. `cue` is the current utterance;
    `earlier_cues` come before it, oldest first.
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

    def has_recent_speech(self, channel: int) -> bool:
        """Whether somebody spoke on a channel up to a moment ago."""
        return self.voiced_us_in(RECENT_VOICE_US)[channel] >= MIN_RECENT_US

    def voiced_us_in(self, window_us: int) -> tuple[int, ...]:
        """How much of the last `window_us` is speech, for each channel, in microseconds."""
        return self.voiced_us_by_window.get(window_us, self.voiced_us)


class Windower:
    """Joins faces, sound and words. Push them in any interleaving; no kind may go back in time.

    `channels` is the number of voices that are kept apart: 1, or 2 for stereo sound with one speaker on
    each side. `start_us` is where the requested part of a recording begins. `shorter_us` are lengths of
    shorter windows, for `Window.voiced_us_by_window`; `context` is the number of `Window.earlier_cues`.
    `vad` decides which sound is speech. With `holes` other than ``keep``,
    state where media came with `push_media`.
    """

    def __init__(
        self,
        shape: WindowShape,
        *,
        channels: int = 1,
        start_us: int = 0,
        shorter_us: Sequence[int] = (),
        context: int = 0,
        holes: HolePolicy = "keep",
        vad: SpeechGateOption = "silero",
    ) -> None:
        self._shape = shape
        self._shorter_us = tuple(shorter_us)
        self._hop = start_us // shape.hop_us
        self._start_us = start_us
        self._tracks: dict[int, deque[TrackSample]] = {}
        self._frames: deque[FrameSample] = deque()
        self._sound = SoundTimeline(channels)
        self._gates = [VoiceGate(vad) for _ in range(channels)]
        self._utterances = CurrentUtterance(context)
        self._bounds = dict.fromkeys(MediaKind, 0)
        self._holes, self._media = holes, MediaSpans(start_us)

    def push_frame(
        self,
        point: int,
        tracked: Sequence[tuple[int, TrackSample]],
        frame: FrameSample | None = None,
    ) -> Iterator[Window]:
        """The faces at a grid point, by track, and the whole picture where a bundle encodes it.

        Push every point in order, those without a face too.
        """
        if frame is not None:
            self._frames.append(frame)
        for track, sample in tracked:
            self._tracks.setdefault(track, deque()).append(sample)
        end_us = -(-(point + 1) * 1_000_000 // self._shape.frame_hz)
        return self.push_bound(Bound(MediaKind.VIDEO, end_us))

    def push_sound(self, samples: Samples) -> Iterator[Window]:
        """A run of sound (n, channels)."""
        self._sound.push(samples)
        for channel, gate in enumerate(self._gates):
            gate.push(Samples(samples.start, samples.data[:, channel : channel + 1]))
        return self.push_bound(Bound(MediaKind.AUDIO, sample_time_us(samples.end)))

    def push_media(self, kind: MediaKind, start_us: int, end_us: int) -> None:
        """Media of a kind came for [start, end). Push it before the picture or sound itself."""
        self._media.push(kind, start_us, end_us)

    def push_cue(self, cue: Cue) -> None:
        """A cue of the transcript. It counts from its end on, whenever it is pushed."""
        self._utterances.push(cue)

    def push_bound(self, bound: Bound) -> Iterator[Window]:
        """A promise that nothing of one kind earlier than the bound will come."""
        self._bounds[bound.kind] = max(self._bounds[bound.kind], bound.t_us)
        bound_us = min(self._bounds.values())
        return iter(()) if bound_us == FOREVER_US else self._due(bound_us)

    def flush(self, end_us: int) -> Iterator[Window]:
        """The windows of every hop that begins before `end_us`, the end of the recording."""
        for gate in self._gates:
            gate.flush()
        whole = -(-end_us // self._shape.hop_us) * self._shape.hop_us
        return self._due(whole, last=True)

    def _due(self, until_us: int, *, last: bool = False) -> Iterator[Window]:
        """The windows of the hops that end by `until_us`, without those in a hole."""
        hop_us = self._shape.hop_us
        while (self._hop + 1) * hop_us <= until_us:
            before_us, after_us = self._media.around(self._hop * hop_us)
            empty = after_us is None or after_us >= (self._hop + 1) * hop_us
            if empty and self._holes != "keep":
                known_us = until_us if after_us is None else min(after_us, until_us)
                if known_us - before_us > HOLE_US:
                    self._hop = known_us // hop_us
                    continue
                if self._holes == "wait" and not last and known_us != after_us:
                    return
            yield self._window()
            self._hop += 1

    def _window(self) -> Window:
        shape = self._shape
        start_us = self._hop * shape.hop_us
        end_us = start_us + shape.hop_us
        last_point = (self._hop + 1) * shape.points_per_hop
        self._forget(last_point - shape.points, end_us)
        first_sample = (end_us - shape.window_us) * SAMPLE_RATE // 1_000_000
        last_sample = end_us * SAMPLE_RATE // 1_000_000
        cue = self._utterances.at(end_us)
        return Window(
            hop=self._hop,
            start_us=max(start_us, self._start_us),
            end_us=end_us,
            tracks={
                track: tuple(sample for sample in samples if sample.point < last_point)
                for track, samples in sorted(self._tracks.items())
                if samples[0].point < last_point
            },
            sound=self._sound.window(first_sample, last_sample),
            voiced_us=self._voiced_us(end_us, shape.window_us),
            cue=cue,
            frames=tuple(frame for frame in self._frames if frame.point < last_point),
            earlier_cues=() if cue is None else self._utterances.before(cue),
            voiced_us_by_window={w: self._voiced_us(end_us, w) for w in self._shorter_us},
        )

    def _forget(self, first_point: int, end_us: int) -> None:
        """Drop what lies before the window that begins at `first_point` and ends at `end_us`."""
        for track in list(self._tracks):
            samples = self._tracks[track]
            while samples and samples[0].point < first_point:
                samples.popleft()
            if not samples:
                del self._tracks[track]
        while self._frames and self._frames[0].point < first_point:
            self._frames.popleft()
        start_us = end_us - self._shape.window_us
        self._sound.forget(start_us * SAMPLE_RATE // 1_000_000)
        for gate in self._gates:
            gate.forget(start_us)
        self._utterances.forget(end_us)

    def _voiced_us(self, end_us: int, window_us: int) -> tuple[int, ...]:
        return tuple(gate.voiced_us(end_us - window_us, end_us) for gate in self._gates)
