"""One live session of the server: what comes in from its client, and who is told what comes of it."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import av

from affectstream.stream.events import Event, Stream, encode, utc_timestamp
from affectstream.stream.faces.face import FrameObservation
from affectstream.stream.live.callbacks import Callbacks
from affectstream.stream.live.session import LiveSession
from affectstream.stream.live.stats import LiveStats
from affectstream.stream.live.words.dictation import LiveWords
from affectstream.stream.media.types import Cue, MediaKind
from affectstream.stream.recognizer import Recognizer
from affectstream.stream.results.interpret import HopResult
from affectstream.stream.serve.clients import messages
from affectstream.stream.serve.clients.audience import Audience
from affectstream.stream.serve.clients.overlay import Overlay
from affectstream.stream.serve.clocks import MediaClock
from affectstream.stream.serve.limits import GONE_S, QUIET_S
from affectstream.stream.serve.metrics import Metrics
from affectstream.stream.serve.record import SessionRecorder
from affectstream.stream.sinks.lsl import LslOutlets

_STORE_S = 0.2
"""What is left of the time at the end for the recorder, which encodes meanwhile."""


class ServedSession:
    """One client's pictures and sound on their way through a recognizer, and all who listen.

    Made on the event loop, and used there except for `see`, `hear` and `said`, which any one thread
    may call. `close` blocks.
    """

    def __init__(
        self,
        recognizer: Recognizer,
        number: str,
        name: str,
        kind: str,
        sources: Sequence[str],
        *,
        metrics: Metrics,
        recorder: SessionRecorder | None,
        words: LiveWords | None = None,
        outlets: LslOutlets | None = None,
    ) -> None:
        """`number` names it to programs, `name` in events; `kind` is ``webrtc`` or ``ingest``.

        `words` recognises what is said, and `outlets`, closed with the session, get what comes of it.
        """
        self.number, self.name, self.kind = number, name, kind
        self.sources = tuple(sources)
        self.started_at = datetime.now(UTC)
        self.ended: Stream | None = None
        """The last event, once it is closed."""
        self._manifest = recognizer.bundle.manifest
        self._metrics, self._recorder = metrics, recorder
        if recorder is not None:
            recorder.at_failure = self._not_stored
        self.audience = Audience(metrics, lambda: messages.pack(self.greeting()))
        self._origin_s: float | None = None
        self._heard_s = self._opened_s = time.monotonic()
        self._quiet = False
        self._counted: LiveStats | None = None
        self.told = 0
        """Events so far."""
        self.bad_packets = 0
        """Packets and pictures of its client that could not be decoded, told of at the end."""
        self._overlay = Overlay(name)
        self.at_end: list[Callable[[], Awaitable[None]]] = []
        """What is done once the last event has been told: the hanging up of its client."""
        self._live = LiveSession(
            recognizer,
            name,
            Callbacks(
                event=self._emit,
                hop=self._hop,
                observation=self._seen,
                duration=metrics.observe_work,
                words=self._heard,
            ),
            modalities=self.sources,
            words=words,
        )
        self._outlets = outlets

    def begin(self) -> float:
        """Something is about to come. Returns when t = 0 was, on the monotonic clock: with the first."""
        if self._origin_s is None:
            self._origin_s = time.monotonic()
        return self._origin_s

    def see(self, clock: MediaClock, picture: av.VideoFrame) -> None:
        """A picture that has just come. Does not wait."""
        arrived_s = self._heard_s = time.monotonic()
        t_us = clock.stamp(MediaKind.VIDEO, _media_us(picture), arrived_s)
        self._live.push_video(picture, t_us, arrived_s)
        if self._recorder is not None:
            self._recorder.see(picture, t_us)

    def hear(self, clock: MediaClock, sound: av.AudioFrame) -> None:
        """Sound that has just come. Does not wait."""
        arrived_s = self._heard_s = time.monotonic()
        t_us = clock.stamp(MediaKind.AUDIO, _media_us(sound), arrived_s)
        self._live.push_audio(sound, t_us, arrived_s)
        if self._recorder is not None:
            self._recorder.hear(sound, t_us)

    def said(self, words: messages.Words) -> None:
        """Words that a program recognised; those who take more than events are told."""
        start_us, end_us = round(words.t_start * 1e6), round(words.t_end * 1e6)
        self._live.push_text(Cue(start_us, max(start_us, end_us), words.text, words.speaker))
        self.audience.post(messages.pack(words), event=False)

    def warn(self, detail: str) -> None:
        """Tell everyone of something about the source."""
        self._live.warn(detail)

    @property
    def recording(self) -> bool:
        """Whether what comes is stored: not any more once something could not be."""
        return self._recorder is not None and self._recorder.failure is None

    def present(self) -> None:
        """The client is there, though it may have nothing to show."""
        self._heard_s = time.monotonic()

    def watch(self, now_s: float) -> str | None:
        """Warn of silence, once each time. Returns why the session has to end, if it has to."""
        if self._live.error is not None:
            return f"an error of the server: {self._live.error}"
        silent_s = now_s - self._heard_s
        if silent_s > QUIET_S and not self._quiet:
            self.warn(f"nothing came from the client for {QUIET_S:g} s")
        self._quiet = silent_s > QUIET_S
        return f"nothing came from the client for {GONE_S:g} s" if silent_s > GONE_S else None

    def greeting(self) -> messages.Session:
        """What a client is told first."""
        return messages.Session(
            session=self.number,
            stream=self.name,
            labels=tuple(self._manifest.labels),
            modalities=self.sources,
            hop_s=self._manifest.hop_us / 1e6,
            recording=self.recording,
        )

    def state(self) -> messages.State:
        """How the session does now."""
        live = self._live.stats
        return messages.State(
            stream=self.name,
            frames_in=live.frames_in,
            frames_used=live.frames_used,
            frames_dropped=live.frames_dropped,
            lines_dropped=self.audience.dropped,
            fps=round(live.fps, 1),
            frame_hz=live.frame_hz,
            latency_ms=_rounded(live.latency_p50_ms),
            latency_p95_ms=_rounded(live.latency_p95_ms),
            av_skew_ms=_rounded(live.av_skew_ms),
            recording=self.recording,
        )

    def tell_state(self) -> None:
        """Count what came since the last time, and tell those who take more than events."""
        self._count()
        self._metrics.set_session(self.number, self._gauges())
        self.audience.post(messages.pack(self.state()), event=False)

    def describe(self) -> dict[str, Any]:
        """One entry of ``GET /sessions``."""
        state = self.state()
        return {
            "session": self.number,
            "stream": self.name,
            "kind": self.kind,
            "modalities": list(self.sources),
            "started_at": utc_timestamp(self.started_at),
            "seconds": round(time.monotonic() - self._opened_s, 1),
            "listeners": len(self.audience),
            "events": self.told,
            **{name: getattr(state, name) for name in state.__struct_fields__ if name != "stream"},
        }

    def _gauges(self) -> dict[str, float | None]:
        live = self._live.stats
        return {
            "queue_depth": live.pictures_waiting + live.sounds_waiting,
            "fps": live.fps,
            "frame_hz": live.frame_hz,
            "faces": live.faces,
            "listeners": len(self.audience),
            "av_skew_seconds": None if live.av_skew_ms is None else live.av_skew_ms / 1000,
        }

    def close(self, timeout_s: float, why: str | None = None) -> None:
        """Compute what is left, tell it with the `ended` event, and stop the threads. Blocks, for
        `timeout_s` in all.

        `why` says what ended it before its time, where something did.
        """
        until_s = time.monotonic() + timeout_s

        def left_s(later_s: float = 0.0) -> float:
            return max(0.0, until_s - later_s - time.monotonic())

        if self.bad_packets:
            self.warn(f"{self.bad_packets} packets or pictures could not be decoded")
        if self._recorder is not None and self._recorder.dropped:
            self.warn(f"{self._recorder.dropped} pictures or sounds are missing in the recording")
        detail = None if why is None else f"{self.name}: {why}"
        later_s = 0.0 if self._recorder is None else _STORE_S
        self.ended = self._live.close(timeout_s=left_s(later_s), detail=detail)
        if self._outlets is not None:
            self._outlets.close()
        if self._recorder is not None:
            self._recorder.close(left_s())

    def dismiss(self) -> None:
        """Once the last event was told: count the rest, and let all who listen go."""
        self._count()
        self._metrics.remove_session(self.number)
        self.audience.close()

    def _count(self) -> None:
        live = self._live.stats
        self._metrics.count_input(live, self._counted)
        self._counted = live

    def _emit(self, event: Event) -> None:
        """Called by the session's thread with each event."""
        line = encode(event)
        if self._recorder is not None:
            self._recorder.tell(line)
        self._metrics.observe_event(event)
        self.told += 1
        self.audience.post(line, event=True)
        if self._outlets is not None:
            self._outlets.mark(event, self._live.zero_s)

    def _hop(self, hop: HopResult) -> None:
        """Called by the session's thread with each hop."""
        self._overlay.told(reading for reading, _ in hop.readings)
        if self._outlets is not None:
            self._outlets.push(hop, self._live.zero_s)

    def _not_stored(self, why: str) -> None:
        """Called by any thread where the recording ends before the session."""
        self.warn(f"nothing is stored any more: {why}")

    def _heard(self, cue: Cue) -> None:
        """Called by the thread of the words with what was said."""
        words = messages.Words(cue.start_us / 1e6, cue.end_us / 1e6, cue.text)
        self.audience.post(messages.pack(words), event=False)

    def _seen(self, seen: FrameObservation) -> None:
        """Called by the session's thread with the faces of each picture that was looked at."""
        if self.audience.watches:
            self.audience.post(messages.pack(self._overlay.seen(seen)), event=False)


def _media_us(frame: av.VideoFrame | av.AudioFrame) -> int:
    assert (
        frame.pts is not None and frame.time_base is not None
    )  # those without are left out before
    return int(frame.pts * frame.time_base * 1_000_000)


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 1)
