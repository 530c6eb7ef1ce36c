"""One live source on its way through a recognizer: push pictures and sound, get events.

    push_video, push_audio (any thread) ──► inbox: one clock, grid, newest wins ──► worker ──► callbacks

Pushing never blocks and never fails: what there is no time for is dropped at the head, before any work,
and counted. The worker is a thread of its own.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from datetime import timedelta

import av
import msgspec

from affectstream.stream.events import Event, Stream, utc_timestamp
from affectstream.stream.faces.perceive import Perceiver
from affectstream.stream.live.callbacks import Callbacks
from affectstream.stream.live.clock import Clock, SystemClock
from affectstream.stream.live.notices import Drops, Notices
from affectstream.stream.live.queue.inbox import Inbox, Work
from affectstream.stream.live.queue.mailbox import Heard, Look, Silence
from affectstream.stream.live.queue.rate import Cost, RateControl
from affectstream.stream.live.queue.sampling import rates_of
from affectstream.stream.live.stats import LiveStats
from affectstream.stream.live.words.dictation import LiveWords
from affectstream.stream.live.worker import KINDS, LiveWorker
from affectstream.stream.loaded import LoadedBundle
from affectstream.stream.media.types import Cue
from affectstream.stream.options import SourceOptions
from affectstream.stream.results.interpret import HopResult

_log = logging.getLogger(__name__)

_HAND_OUT_S = 0.1
"""What the worker has at least to hand out `ended`, once it has begun."""

_WORDS_S = 0.2
"""How long `close` waits for the speech recognizer."""


class LiveSession:
    """One live source. Every method may be called from any thread."""

    def __init__(
        self,
        recognizer: LoadedBundle,
        name: str,
        callbacks: Callbacks,
        *,
        options: SourceOptions | None = None,
        modalities: Sequence[str] = ("video", "voice"),
        words: LiveWords | None = None,
        cost: Cost | None = None,
        pixel_aspect: float = 1.0,
        clock: Clock | None = None,
    ) -> None:
        """Start the worker; it waits for the first picture or sound.

        `name` is the `stream` of all events (1 to 255 characters). `modalities` are those that the
        source can give: a hop waits for those (80 ms), and for no others. `words` recognizes words from
        the pushed sound. `cost` is what `measure` found on this machine: without it the session starts
        at the full rate. Raises `OptionError` if the machine is too slow, and ValueError for a source
        that gives nothing that the bundle reads.
        """
        self.name = name
        self._bundle = bundle = recognizer.bundle
        manifest = bundle.manifest
        self.sources = tuple(m for m in bundle.modalities if m in modalities)
        if not self.sources:
            raise ValueError(f"the bundle reads {bundle.modalities}, the source gives {modalities}")
        self._options = options or SourceOptions()
        self._callbacks = callbacks
        self._clock = clock or SystemClock()
        self._rates = rates_of(manifest.frame_hz, manifest.hop_us)
        self._control = RateControl(self._rates, manifest.hop_us, cost or Cost(0.0, 0.0))
        self._drops = Drops(self._control)
        self._notices = Notices(name, self.sources)
        watches = "video" in self.sources
        self._perceiver = Perceiver(bundle, pixel_aspect=pixel_aspect) if watches else None
        self._inbox = Inbox(
            [kind for kind, modality in KINDS.items() if modality in self.sources],
            frame_hz=manifest.frame_hz,
            hop_us=manifest.hop_us,
            rate_hz=self._control.rate_hz,
            clock=self._clock,
        )
        self._flow: LiveWorker | None = None
        self._lock = threading.Lock()  # of what follows
        self._closing = self._abandoned = self._ending = False
        self._detail: str | None = None
        self._hops = self._events = self._reconnects = 0
        self._ended: Stream | None = None
        self.error: BaseException | None = None
        """What ended the worker before its time; None while all is well."""
        self._worker = threading.Thread(target=self._work, name=f"live {name}", daemon=True)
        self._worker.start()
        self._dictation = None
        if words is not None:
            self._dictation = words.start(
                name, count=self.push_text, show=callbacks.words, warn=self.warn
            )

    # --- from any thread ---

    def push_video(self, picture: av.VideoFrame, t_us: int, arrived_s: float) -> None:
        """Push a picture taken at `t_us` (the session's clock: any t = 0 that all pushes share).

        `arrived_s` is when it came, by `time.monotonic`. Pictures whose time does not go forward are
        counted and left out. After `close` nothing happens.
        """
        self._inbox.see(picture, t_us, arrived_s)

    def push_audio(self, sound: av.AudioFrame, t_us: int, arrived_s: float) -> None:
        """Push a frame of sound that begins at `t_us`; see `push_video`."""
        self._inbox.hear(sound, t_us, arrived_s)
        if self._dictation is not None:
            self._dictation.push(sound, t_us, arrived_s)

    def push_text(self, cue: Cue) -> None:
        """Push spoken words; they count from their end on, for 5 s or until the next."""
        self._inbox.put(cue)

    def warn(self, detail: str) -> None:
        """Emit a `warning` event of the stream."""
        self._inbox.put(self._notices.of("warning", self.position_us, detail))

    def reconnected(self, detail: str | None = None) -> None:
        """The source was lost and is back: emit a `reconnected` event."""
        with self._lock:
            self._reconnects += 1
            count = self._reconnects
        counts = {"reconnects": count}
        self._inbox.put(self._notices.of("reconnected", self.position_us, detail, counts))

    @property
    def position_us(self) -> int:
        """Where the newest that came in ends, on the session's clock."""
        return self._inbox.position_us

    @property
    def zero_s(self) -> float | None:
        """When t = 0 was on the clock of `time.monotonic`, as the arrivals tell; None before the first."""
        return self._inbox.zero_s

    @property
    def idle(self) -> bool:
        """Whether everything that came was dealt with, and the worker waits for more."""
        return self._inbox.resting or not self._worker.is_alive()

    @property
    def stats(self) -> LiveStats:
        """The session as it stands, at any time, also after its end."""
        return self._inbox.stats(
            self._flow,
            frame_hz=self._control.rate_hz,
            hops=self._hops,
            events=self._events,
            reconnects=self._reconnects,
        )

    def close(self, *, timeout_s: float = 2.0, detail: str | None = None) -> Stream:
        """Read what is left, emit `ended` with the counts and return it. Every thread is gone then.

        `detail` says why the source ended before its time, where it did. A worker that is stuck in an
        engine for longer than `timeout_s` is abandoned: it emits nothing more. Closing twice returns
        the same event. Not for the callbacks, which are on the worker's thread.
        """
        until_s = time.monotonic() + timeout_s
        if self._dictation is not None and not self._dictation.close(min(_WORDS_S, timeout_s)):
            self.warn("words: the last words are left out, their recognizer is still busy")
        with self._lock:
            if not self._closing:
                self._closing, self._detail = True, detail
        self._inbox.close()
        self._worker.join(max(0.0, until_s - time.monotonic()))
        with self._lock:
            emitting = self._ending and self._ended is None
            self._abandoned = self._ending = True
        self._inbox.abandon()
        if emitting:  # the worker is handing out `ended` just now
            self._worker.join(max(_HAND_OUT_S, until_s - time.monotonic()))
        with self._lock:
            if self._ended is not None:
                return self._ended
        return self._end("its worker was busy for too long and was abandoned")

    # --- on the worker's thread ---

    def _work(self) -> None:
        error_detail = None
        try:
            if self._inbox.await_first():
                self._start()
            while (item := self._inbox.next()) is not None:
                self._do(item)
            if not self._abandoned and self._flow is not None:
                self._give(self._flow, self._flow.flush(self.position_us))
        except BaseException as error:  # kept for the owner, and told in `ended`
            _log.debug("live session %s ended by an error", self.name, exc_info=True)
            self.error = error
            error_detail = f"ended by an error: {error}"
        self._inbox.close()
        with self._lock:
            self._closing = True
            if self._ending:
                return
            self._ending = True
        try:
            self._end(error_detail or self._detail)
        except BaseException as error:
            self.error = self.error or error

    def _start(self) -> None:
        """The start of the first hop is known now: open the flow and say when t = 0 was."""
        flow = self._flow = LiveWorker(
            self._bundle,
            self.name,
            self._options,
            self.sources,
            perceiver=self._perceiver,
            start_us=self._inbox.start_us,
            clock=self._clock,
            control=self._control,
            duration=self._callbacks.duration,
        )
        zero_s = self._inbox.zero_s
        ago_s = 0.0 if zero_s is None else self._clock.now_s() - zero_s
        began = self._clock.utc() - timedelta(seconds=ago_s)
        self._tell(self._notices.started(began, self._inbox.start_us))
        if self._control.rate_hz < self._rates[0]:
            self._tell_rate()
        self._give(flow, flow.open())

    def _do(self, item: Work) -> None:
        if isinstance(item, Stream):
            self._tell(item)
            return
        flow = self._flow
        if flow is None:  # words, and nothing ever came that they belong to
            return
        match item:
            case Look():
                hops, seen = flow.look(item)
                if seen is not None and self._callbacks.observation is not None:
                    self._callbacks.observation(seen)
                self._give(flow, hops)
                self._keep_up()
            case Heard():
                self._give(flow, flow.hear(item))
            case Silence():
                self._give(flow, flow.silent(item))
            case Cue():
                flow.read(item)

    def _give(self, flow: LiveWorker, hops: list[HopResult]) -> None:
        for hop in hops:
            stamped = flow.stamp(hop, self._inbox.zero_s)
            self._hops += bool(hop.readings)
            for event in stamped.events:
                self._emit(event)
            if self._callbacks.hop is not None and not self._abandoned:
                self._callbacks.hop(stamped)

    def _keep_up(self) -> None:
        """Have the rate control see what was dropped, and tell others of it."""
        count, changed = self._drops.push(self._inbox.dropped, self._clock.now_s())
        if count:
            self._tell(self._notices.dropped(count, self.position_us))
        if changed:
            self._inbox.sample_at(self._control.rate_hz)
            self._tell_rate()

    def _tell_rate(self) -> None:
        rate_hz, full_hz = self._control.rate_hz, self._rates[0]
        self._tell(self._notices.rate(rate_hz, full_hz, self.position_us))

    def _emit(self, event: Event) -> None:
        if not self._abandoned:
            self._events += 1
            self._callbacks.event(event)

    # --- either ---

    def _tell(self, event: Stream) -> None:
        self._emit(self._stamped(event))

    def _stamped(self, event: Stream) -> Stream:
        return msgspec.structs.replace(event, emitted_at=utc_timestamp(self._clock.utc()))

    def _end(self, detail: str | None) -> Stream:
        ended = self._stamped(
            self._notices.ended(self.stats, self._inbox.start_us, self.position_us, detail)
        )
        self._events += 1
        self._callbacks.event(ended)
        with self._lock:
            self._ended = ended
        return ended
