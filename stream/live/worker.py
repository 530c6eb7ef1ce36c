"""The worker of a live session: takes items from the queue, computes hops, emits events.

    queue ──► perceive faces, resample sound ──► Interpreter ──► age and latency ──► callbacks

`offline.pipeline` does the same work in the same order, so that both give the same results for the
same input.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from datetime import timedelta

import av
import msgspec

from affectstream.engines.bundle.bundle import Bundle
from affectstream.engines.labels import Modality
from affectstream.engines.spans import span, waited
from affectstream.stream.events import Attention, Emotion, Event, Stream, utc_timestamp
from affectstream.stream.faces.face import FrameObservation
from affectstream.stream.faces.perceive import Perceiver
from affectstream.stream.live.callbacks import Callbacks, Stage
from affectstream.stream.live.clock import Clock
from affectstream.stream.live.latency import LatencyMeter
from affectstream.stream.live.queue.buffers import AudioItem, VideoItem
from affectstream.stream.live.queue.live_queue import LiveQueue
from affectstream.stream.live.queue.rate import DropMonitor, RateControl
from affectstream.stream.live.queue.tolerance import Deadline
from affectstream.stream.live.stream_events import StreamEvents
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

_GATHER = 10
"""Sound is resampled in pieces of 100 ms, and at the end of each hop, which must not wait. Each conversion
gives up Python's lock several times: at 20 ms the threads of a dozen sessions mostly waited for it."""
_log = logging.getLogger(__name__)


class LiveWorker:
    """Computes everything of one session. `run` is for one thread; the counts may be read from any."""

    def __init__(
        self,
        bundle: Bundle,
        name: str,
        modalities: Sequence[Modality],
        options: SourceOptions,
        queue: LiveQueue,
        control: RateControl,
        callbacks: Callbacks,
        clock: Clock,
        *,
        transcript: Sequence[Cue] = (),
        pixel_aspect: float = 1.0,
    ) -> None:
        """`modalities` are those that the source can give; `transcript` holds words known in advance."""
        self._bundle, self._name, self._modalities = bundle, name, tuple(modalities)
        self._options, self._queue, self._clock = options, queue, clock
        self._control, self._drops = control, DropMonitor(control)
        self._transcript = tuple(transcript)
        self._callbacks, self._stream_events = callbacks, StreamEvents(name, modalities, options)
        self._kinds = [kind for kind in MediaKind if kind.modality in modalities]
        self._perceiver: Perceiver | None = None
        if "video" in modalities:
            self._perceiver = Perceiver(bundle, pixel_aspect=pixel_aspect)
        manifest = bundle.manifest
        self.meter = LatencyMeter(self._kinds, manifest.frame_hz, manifest.window_us)
        self.frames_used = 0
        """Pictures that were analyzed."""
        self.bad_sounds = 0
        """Frames of sound that could not be resampled."""
        self.faces = 0
        """Faces in the newest picture."""
        self.hops = self.events = 0
        self._start_at(0)  # again with the first frame

    @property
    def gap_count(self) -> int:
        """The number of reported gaps."""
        return self._interpreter.gap_count

    @property
    def bad_faces(self) -> int:
        """Detections that were left out, because nothing can be cropped from their landmarks."""
        return self._interpreter.bad_faces

    def run(self) -> None:
        """Work until the queue is closed and empty."""
        started = self._queue.wait_start()
        if started:
            self._start()
        else:
            self._emit_now(self._stream_events.started(self._clock.utc(), 0))
        while (item := self._queue.next()) is not None:
            if isinstance(item, Stream):
                self._emit_now(item)
            elif started:  # without any frame there is no hop that words could belong to
                self._emit_hops(self._process(item))
                if isinstance(item, VideoItem):
                    self._adapt_rate()
        if started and not self._queue.is_abandoned:
            self._emit_hops(self._flush(self._queue.position_us))

    def emit_last(self, event: Stream) -> Stream:
        """Emit the `ended` event, even if the queue was abandoned, and return it with its time."""
        stamped = self._stamp_now(event)
        self.events += 1
        self._callbacks.event(stamped)
        return stamped

    def _start_at(self, start_us: int) -> None:
        """Place the first hop at `start_us`."""
        options = replace(self._options, start_us=start_us)
        self._interpreter = Interpreter(
            self._bundle, self._name, options, self._modalities, live=True
        )
        channels = 2 if options.assignment.channels else 1
        hop_us = self._bundle.manifest.hop_us
        self._resampler = SoundResampler(
            channels, first=sample_at(start_us), gather=_GATHER, hop_us=hop_us
        )
        self.meter.push_sound(start_us)

    def _start(self) -> None:
        """The first frame is here: the start of the first hop and the time of t = 0 are known."""
        start_us, zero_s = self._queue.start_us, self._queue.zero_s
        self._start_at(start_us)
        ago_s = 0.0 if zero_s is None else self._clock.now_s() - zero_s
        zero = self._clock.utc() - timedelta(seconds=ago_s)
        self._emit_now(self._stream_events.started(zero, start_us))
        if self._control.rate_hz < self._control.full_hz:
            self._report_rate()
        for cue in self._transcript:
            self._interpreter.push_cue(cue)
        for kind in MediaKind:
            if kind not in self._kinds:
                self._emit_hops(self._interpreter.push_bound(Bound(kind, FOREVER_US)))

    def _process(self, item: VideoItem | AudioItem | Deadline | Cue) -> list[HopResult]:
        match item:
            case VideoItem():
                return self._process_video(item)
            case AudioItem():
                return self._process_audio(item)
            case Deadline():
                return self._process_deadline(item)
            case Cue():
                # Words wait until their end: those of a wrong time would wait, and take memory, for good.
                if self._queue.is_plausible(item.end_us):
                    self._interpreter.push_cue(item)
                else:
                    self._queue.count_wrong_time()
                return []

    def _process_video(self, item: VideoItem) -> list[HopResult]:
        observation: FrameObservation | None = None
        if item.frame is not None and self._perceiver is not None:
            began_s = self._clock.now_s()
            waited("queue", began_s - item.arrived_s)
            observation = self._perceiver.perceive([item.frame])[0]
            took_s = self._clock.now_s() - began_s
            self._control.push_frame_cost(took_s)
            self._report_duration("perceive", took_s)
            self.frames_used += 1
            self.faces = len(observation.faces)
            self.meter.push_frame(item.points.start, item.frame.pts_us)
            if self._callbacks.observation is not None:
                self._callbacks.observation(observation)
        complete_us = time_of_point(item.points.stop, self._bundle.manifest.frame_hz)
        self.meter.push_complete(MediaKind.VIDEO, complete_us, item.arrived_s)
        return self._timed(lambda: self._interpreter.push_frame(item.points, observation))

    def _process_audio(self, item: AudioItem) -> list[HopResult]:
        try:
            runs = self._resampler.push(item.sound, item.t_us)
        except (av.FFmpegError, ValueError) as error:
            self.bad_sounds += 1
            _log.debug("a frame of sound cannot be resampled: %s", error)
            return []
        hops = []
        for run in runs:
            self.meter.push_complete(MediaKind.AUDIO, sample_time_us(run.end), item.arrived_s)
            hops += self._push_sound(run)
        return hops

    def _process_deadline(self, deadline: Deadline) -> list[HopResult]:
        """Read what the resampler holds back, then go on without the missing sound."""
        hops = self._flush_resampler()
        self._resampler.skip_to(sample_at(deadline.t_us))
        self.meter.push_complete(deadline.kind, deadline.t_us, deadline.at_s)
        bound = Bound(deadline.kind, deadline.t_us)
        return hops + self._timed(lambda: self._interpreter.push_bound(bound))

    def _flush(self, end_us: int) -> list[HopResult]:
        """The last hops of a source that ended at `end_us`, and every open segment."""
        return self._flush_resampler() + self._timed(lambda: self._interpreter.flush(end_us))

    def _flush_resampler(self) -> list[HopResult]:
        return [hop for run in self._resampler.flush() for hop in self._push_sound(run)]

    def _push_sound(self, run: Samples) -> list[HopResult]:
        self.meter.push_sound(sample_time_us(run.end))
        return self._timed(lambda: self._interpreter.push_sound(run))

    def _timed(self, work: Callable[[], Iterable[HopResult]]) -> list[HopResult]:
        began_s = self._clock.now_s()
        hops = list(work())
        for _ in hops:
            took_s = (self._clock.now_s() - began_s) / len(hops)
            self._control.push_hop_cost(took_s)
            self._report_duration("read", took_s)
        return hops

    def _adapt_rate(self) -> None:
        """Report dropped frames, and analyze fewer or more of them."""
        count, changed = self._drops.push(self._queue.frames_dropped, self._clock.now_s())
        if count:
            self._emit_now(self._stream_events.dropped(count, self._queue.position_us))
        if changed:
            self._queue.set_rate(self._control.rate_hz)
            self._report_rate()

    def _report_rate(self) -> None:
        rate_hz, full_hz = self._control.rate_hz, self._control.full_hz
        self._emit_now(self._stream_events.rate(rate_hz, full_hz, self._queue.position_us))

    def _report_duration(self, stage: Stage, seconds: float) -> None:
        if self._callbacks.duration is not None:
            self._callbacks.duration(stage, seconds)

    def _emit_hops(self, hops: Iterable[HopResult]) -> None:
        for hop in hops:
            stamped = self._stamp(hop)
            self.hops += bool(hop.readings)
            with span("emit", len(stamped.events)):
                for event in stamped.events:
                    self._emit(event)
                if self._callbacks.hop is not None and not self._queue.is_abandoned:
                    self._callbacks.hop(stamped)

    def _stamp(self, hop: HopResult) -> HopResult:
        """The hop with the time of its emission, now, in every event."""
        emitted_at, zero_s = utc_timestamp(self._clock.utc()), self._queue.zero_s
        durations: dict[str, float] = {}
        if hop.readings and zero_s is not None:
            end_us = hop.readings[0][0].end_us
            age_ms, latency_ms = self.meter.measure(end_us, self._clock.now_s(), zero_s)
            durations = {"age_ms": age_ms, "latency_ms": latency_ms}
        events = [
            msgspec.structs.replace(
                event,
                emitted_at=emitted_at,
                **(durations if isinstance(event, Emotion | Attention) else {}),
            )
            for event in hop.events
        ]
        return HopResult(hop.readings, tuple(events))

    def _stamp_now(self, event: Stream) -> Stream:
        return msgspec.structs.replace(event, emitted_at=utc_timestamp(self._clock.utc()))

    def _emit_now(self, event: Stream) -> None:
        self._emit(self._stamp_now(event))

    def _emit(self, event: Event) -> None:
        if not self._queue.is_abandoned:
            self.events += 1
            self._callbacks.event(event)
