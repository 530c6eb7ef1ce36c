"""What the worker of a live session does: perceive, resample, interpret, and stamp what comes out.

For one thread. The pipeline of recordings does the same work in the same order, so both read the same
of the same input.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import av
import msgspec

from affectstream.engines.bundle.bundle import Bundle
from affectstream.stream.events import Attention, Emotion, Event, utc_timestamp
from affectstream.stream.faces.face import FrameObservation
from affectstream.stream.faces.perceive import Perceiver
from affectstream.stream.live.callbacks import Stage
from affectstream.stream.live.clock import Clock
from affectstream.stream.live.latency import Completion, LatencyRecorder
from affectstream.stream.live.queue.mailbox import Heard, Look, Silence
from affectstream.stream.live.queue.rate import RateControl
from affectstream.stream.media.grid import time_of_point
from affectstream.stream.media.resample import SoundResampler
from affectstream.stream.media.types import (
    FOREVER_US,
    Bound,
    Cue,
    MediaKind,
    Samples,
    sample_at,
    sample_time_us,
)
from affectstream.stream.options import SourceOptions
from affectstream.stream.results.interpret import HopResult, Interpreter

_GATHER = 50
"""Sound is resampled by 20 ms: a hop must not wait for more to come."""
_MOST_MS = 1e9
_log = logging.getLogger(__name__)


@dataclass(slots=True)
class StageTimes:
    """The latency and the age of the newest events."""

    latency: LatencyRecorder
    age: LatencyRecorder


class LiveWorker:
    """Work items in, hops with stamped events out."""

    def __init__(
        self,
        bundle: Bundle,
        name: str,
        options: SourceOptions,
        sources: Sequence[str],
        *,
        perceiver: Perceiver | None,
        start_us: int,
        clock: Clock,
        control: RateControl,
        duration: Callable[[Stage, float], None] | None = None,
    ) -> None:
        """`sources` are the modalities that the source can give; pictures are passed over without a
        `perceiver`. Hops begin at `start_us`. `duration` gets the seconds of each stage."""
        self._clock = clock
        self._control = control
        self._report_duration = duration
        self._perceiver = perceiver
        self._frame_hz = bundle.manifest.frame_hz
        self._kinds = [k for k, m in KINDS.items() if m in sources]
        self._interpreter = Interpreter(bundle, name, replace(options, start_us=start_us), sources)
        self._sound = SoundResampler(
            2 if options.assignment.channels else 1, first=sample_at(start_us), gather=_GATHER
        )
        self._completion = Completion(self._kinds)
        self._window_points = bundle.manifest.frame_hz * bundle.manifest.window_us // 1_000_000
        self._used: list[tuple[int, int]] = []  # grid point and time of frames, oldest first
        self._heard_us = start_us
        self.stages = StageTimes(LatencyRecorder(), LatencyRecorder())
        self.perceived = 0
        """Pictures that were looked at."""
        self.bad_sounds = 0
        """Frames of sound that could not be resampled."""
        self.faces = 0
        """Faces in the newest picture."""

    @property
    def gap_count(self) -> int:
        """How many gaps were told so far."""
        return self._interpreter.gap_count

    def open(self) -> list[HopResult]:
        """Promise that kinds which the source does not give will never come."""
        hops = []
        for kind in MediaKind:
            if kind not in self._kinds:
                hops += self._interpreter.push_bound(Bound(kind, FOREVER_US))
        return hops

    def look(self, look: Look) -> tuple[list[HopResult], FrameObservation | None]:
        """Perceive and read a picture; what was seen in it is for showing."""
        seen: FrameObservation | None = None
        if look.frame is not None and self._perceiver is not None:
            began_s = self._clock.now_s()
            seen = self._perceiver.perceive([look.frame])[0]
            took_s = self._clock.now_s() - began_s
            self._control.took_frame(took_s)
            if self._report_duration is not None:
                self._report_duration("perceive", took_s)
            self.perceived += 1
            self.faces = len(seen.faces)
            self._used.append((look.points.start, look.frame.pts_us))
        until_us = time_of_point(look.points.stop, self._frame_hz)
        self._completion.came(MediaKind.VIDEO, until_us, look.arrived_s)
        return self._timed(lambda: self._interpreter.push_frame(look.points, seen)), seen

    def hear(self, heard: Heard) -> list[HopResult]:
        """Resample and read a frame of sound."""
        try:
            runs = self._sound.push(heard.sound, heard.t_us)
        except (av.FFmpegError, ValueError) as error:
            self.bad_sounds += 1
            _log.debug("a frame of sound cannot be resampled: %s", error)
            return []
        hops = []
        for run in runs:
            self._heard_us = sample_time_us(run.end)
            self._completion.came(MediaKind.AUDIO, self._heard_us, heard.arrived_s)
            hops += self._heard(run)
        return hops

    def silent(self, silence: Silence) -> list[HopResult]:
        """Read what is held of the sound, then the promise that no more of it will come."""
        hops, bound = [], silence.bound
        for run in self._sound.flush():
            self._heard_us = sample_time_us(run.end)
            hops += self._heard(run)
        self._sound.skip_to(sample_at(bound.t_us))
        self._completion.came(bound.kind, bound.t_us, silence.arrived_s)
        return hops + self._timed(lambda: self._interpreter.push_bound(bound))

    def read(self, cue: Cue) -> None:
        """Words; they count from their end on."""
        self._interpreter.push_cue(cue)

    def flush(self, end_us: int) -> list[HopResult]:
        """The hops that are left of a source that ended at `end_us`, and every open segment."""
        hops = []
        for run in self._sound.flush():
            hops += self._heard(run)
        return hops + self._timed(lambda: self._interpreter.flush(end_us))

    def stamp(self, hop: HopResult, zero_s: float | None) -> HopResult:
        """The hop with the time of its emission, now, in every event; t = 0 was at `zero_s`."""
        now_s, emitted = self._clock.now_s(), utc_timestamp(self._clock.utc())
        fields: dict[str, float] = {}
        if hop.readings and zero_s is not None:
            end_us = hop.readings[0][0].end_us
            complete_s = self._completion.complete_s(end_us)
            age_ms = (now_s - zero_s) * 1e3 - self._newest_used(end_us) / 1e3
            fields["age_ms"] = _bounded(age_ms)
            self.stages.age.push(fields["age_ms"])
            # At the end of a source its last hop goes out though nothing completed it.
            fields["latency_ms"] = _bounded(
                0.0 if complete_s is None else (now_s - complete_s) * 1e3
            )
            if complete_s is not None:
                self.stages.latency.push(fields["latency_ms"])
        return HopResult(hop.readings, tuple(_stamped(hop.events, emitted, fields)))

    def _heard(self, run: Samples) -> list[HopResult]:
        return self._timed(lambda: self._interpreter.push_sound(run))

    def _timed(self, work: Callable[[], list[HopResult]]) -> list[HopResult]:
        began_s = self._clock.now_s()
        hops = work()
        for _ in hops:
            took_s = (self._clock.now_s() - began_s) / len(hops)
            self._control.took_hop(took_s)
            if self._report_duration is not None:
                self._report_duration("read", took_s)
        return hops

    def _newest_used(self, end_us: int) -> int:
        """When the newest frame, or without any the newest sample, of a window was captured."""
        last_point = end_us * self._frame_hz // 1_000_000
        used = [(point, t_us) for point, t_us in self._used if point < last_point]
        self._used = used[-1:] + self._used[len(used) :]
        if used and last_point - used[-1][0] <= self._window_points:
            return used[-1][1]
        return min(self._heard_us, end_us)


KINDS = {MediaKind.VIDEO: "video", MediaKind.AUDIO: "voice"}
"""The modality that each kind of stream gives."""


def _stamped(events: Iterable[Event], emitted: str, fields: dict[str, float]) -> Iterable[Event]:
    for event in events:
        more = fields if isinstance(event, Emotion | Attention) else {}
        yield msgspec.structs.replace(event, emitted_at=emitted, **more)


def _bounded(ms: float) -> float:
    return round(min(max(ms, 0.0), _MOST_MS), 3)
