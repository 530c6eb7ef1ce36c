"""One live source on its way through a recognizer: push pictures, sound and words, get events.

    push_video, push_audio, push_text (any thread) ──► LiveQueue ──► LiveWorker (its thread) ──► callbacks

A push never blocks and never fails: what the worker has no time for is dropped before any work, and
counted.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict

import av

from affectstream.engines.daemon_executor import stop_at_exit
from affectstream.engines.labels import Modality
from affectstream.stream.events import Stream
from affectstream.stream.live.callbacks import Callbacks
from affectstream.stream.live.clock import Clock, SystemClock
from affectstream.stream.live.queue.grid import newest_offset_us, possible_rates
from affectstream.stream.live.queue.live_queue import LiveQueue
from affectstream.stream.live.queue.rate import Cost, RateControl
from affectstream.stream.live.stats import LiveStats
from affectstream.stream.live.stream_events import StreamEvents
from affectstream.stream.live.words.dictation import LiveWords
from affectstream.stream.live.worker import LiveWorker
from affectstream.stream.loaded import LoadedBundle
from affectstream.stream.media.types import Cue, MediaKind
from affectstream.stream.options import SourceOptions

_log = logging.getLogger(__name__)

_LAST_EVENT_S = 0.1
"""How long `close` waits at least for a worker that has begun to emit `ended`."""
_WORDS_S = 0.2
"""How long `close` waits for the speech recognizer."""


class LiveSession:
    """One live source. Every method may be called from any thread, but `close` not from a callback."""

    def __init__(
        self,
        recognizer: LoadedBundle,
        name: str,
        callbacks: Callbacks,
        *,
        options: SourceOptions | None = None,
        modalities: Sequence[Modality] = ("video", "voice"),
        words: LiveWords | None = None,
        transcript: Sequence[Cue] = (),
        cost: Cost | None = None,
        pixel_aspect: float = 1.0,
        clock: Clock | None = None,
        newest: bool = False,
    ) -> None:
        """Start the worker; it waits for the first picture or sound.

        `name` is the `stream` of all events (1 to 255 characters). `modalities` are those that the
        source can give: a hop waits for those (80 ms), and for no others. `words` recognizes words from
        the pushed sound; `transcript` holds words that are known in advance. `cost` is what `measure`
        found on this machine: without it the session starts at the full rate. With `newest`, frames are
        looked at as late as a hop allows, so that results are of newer frames; without it at the same
        times as in a recording, with the same results. Raises `OptionError` if the machine is too slow,
        and ValueError for a source that gives nothing that the bundle reads.
        """
        bundle, manifest = recognizer.bundle, recognizer.bundle.manifest
        options = options or SourceOptions()
        given = tuple(m for m in bundle.modalities if m in modalities and options.allows(m))
        if not given:
            chosen = (
                "" if options.modalities is None else f", the options allow {options.modalities}"
            )
            raise ValueError(
                f"the bundle reads {bundle.modalities}, the source gives {modalities}{chosen}"
            )
        self.name = name
        self._stream_events = StreamEvents(name, given, options)
        clock = clock or SystemClock()
        rates = possible_rates(manifest.frame_hz, manifest.hop_us)
        self._control = RateControl(rates, manifest.hop_us, cost or Cost(0.0, 0.0))
        self._queue = LiveQueue(
            [kind for kind in MediaKind if kind.modality in given],
            frame_hz=manifest.frame_hz,
            hop_us=manifest.hop_us,
            rate_hz=self._control.rate_hz,
            clock=clock,
            # Without sound, a hop is complete as soon as its last frame is: nothing would be won.
            offset_us=newest_offset_us(manifest.frame_hz) if newest and "voice" in given else 0,
        )
        self._worker = LiveWorker(
            bundle,
            name,
            given,
            options,
            self._queue,
            self._control,
            callbacks,
            clock,
            transcript=transcript,
            pixel_aspect=pixel_aspect,
        )
        self._lock = threading.Lock()  # of the fields up to the blank line
        self._reconnects = 0
        self._detail: str | None = None  # why the source ended early
        self._is_closing = self._is_ending = False
        self._ended: Stream | None = None

        self.error: BaseException | None = None
        """The exception that ended the worker early, if there was one."""
        self._thread = threading.Thread(target=self._run, name=f"live {name}", daemon=True)
        stop_at_exit(self._thread, self._queue.abandon)
        self._thread.start()
        self._dictation = None
        if words is not None:
            self._dictation = words.start(
                name, count=self.push_text, show=callbacks.words, warn=self.warn, vad=options.vad
            )

    def push_video(self, picture: av.VideoFrame, t_us: int, arrived_s: float) -> None:
        """Push a picture taken at `t_us` (the session's clock: any t = 0 that all pushes share).

        `arrived_s` is when it came, by `time.monotonic`. Pictures whose time does not increase are
        counted and left out. After `close` nothing happens.
        """
        self._queue.push_video(picture, t_us, arrived_s)

    def push_audio(self, sound: av.AudioFrame, t_us: int, arrived_s: float) -> None:
        """Push a frame of sound that begins at `t_us`; see `push_video`."""
        self._queue.push_audio(sound, t_us, arrived_s)
        if self._dictation is not None:
            self._dictation.push(sound, t_us, arrived_s)

    def push_text(self, cue: Cue) -> None:
        """Push spoken words; they count from their end on, for 5 s or until the next.

        Words that end more than a minute ahead of the pictures and the sound are counted and left out.
        """
        self._queue.push_message(cue)

    def warn(self, detail: str) -> None:
        """Emit a `warning` event."""
        self._queue.push_message(self._stream_events.warning(detail, self.position_us))

    def reconnected(self, detail: str | None = None) -> None:
        """Emit a `reconnected` event: the source was lost and is back."""
        with self._lock:
            self._reconnects += 1
            count = self._reconnects
        event = self._stream_events.reconnected(detail, count, self.position_us)
        self._queue.push_message(event)

    @property
    def position_us(self) -> int:
        """The end of the newest picture or sound, on the session's clock."""
        return self._queue.position_us

    @property
    def zero_s(self) -> float | None:
        """When t = 0 was on the clock of `time.monotonic`, estimated from the arrivals; None before the
        first."""
        return self._queue.zero_s

    @property
    def is_idle(self) -> bool:
        """Whether the worker has done everything and waits for more."""
        return self._queue.is_idle or not self._thread.is_alive()

    @property
    def stats(self) -> LiveStats:
        """The session as it stands, at any time, also after its end."""
        worker, meter = self._worker, self._worker.meter
        return LiveStats(
            **asdict(self._queue.stats()),
            frames_used=worker.frames_used,
            bad_sounds=worker.bad_sounds,
            bad_faces=worker.bad_faces,
            gaps=worker.gap_count,
            reconnects=self._reconnects,
            frame_hz=self._control.rate_hz,
            faces=worker.faces,
            hops=worker.hops,
            events=worker.events,
            latency_p50_ms=meter.latency.quantile(0.5),
            latency_p95_ms=meter.latency.quantile(0.95),
            age_p50_ms=meter.age.quantile(0.5),
        )

    def close(self, *, timeout_s: float = 2.0, detail: str | None = None) -> Stream:
        """Compute what is left, emit `ended` with the counts and return it. Every thread is gone then.

        `detail` says why the source ended early, if it did. A worker that is stuck in an engine for
        longer than `timeout_s` is abandoned: it emits nothing more. Closing again returns the same event.
        """
        until_s = time.monotonic() + timeout_s
        if self._dictation is not None and not self._dictation.close(min(_WORDS_S, timeout_s)):
            self.warn("words: the last words are left out, their recognizer is still busy")
        with self._lock:
            if not self._is_closing:
                self._is_closing, self._detail = True, detail
        self._queue.close()
        self._thread.join(max(0.0, until_s - time.monotonic()))
        with self._lock:
            emitting = self._is_ending and self._ended is None
            self._is_ending = True
        self._queue.abandon()
        if emitting:  # the worker has begun to emit `ended`
            self._thread.join(max(_LAST_EVENT_S, until_s - time.monotonic()))
        with self._lock:
            if self._ended is not None:
                return self._ended
        return self._end("its worker was busy for too long and was abandoned")

    def _run(self) -> None:
        """The worker's thread."""
        error_detail = None
        try:
            self._worker.run()
        except BaseException as error:  # kept for the owner, and reported in `ended`
            _log.debug("live session %s ended by an error", self.name, exc_info=True)
            self.error = error
            error_detail = f"ended by an error: {error}"
        self._queue.close()
        with self._lock:
            self._is_closing = True
            if self._is_ending:
                return
            self._is_ending = True
        try:
            self._end(error_detail or self._detail)
        except BaseException as error:
            self.error = self.error or error

    def _end(self, detail: str | None) -> Stream:
        queue = self._queue
        event = self._stream_events.ended(self.stats, queue.start_us, queue.position_us, detail)
        ended = self._worker.emit_last(event)
        with self._lock:
            self._ended = ended
        return ended
