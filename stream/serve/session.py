"""One live session of the server: what comes in from its client, and who is told what comes of it."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any

import av
from msgspec import UNSET

from affectstream.stream.events import Attention, Emotion, Event, Stream, encode
from affectstream.stream.faces.face import Seen
from affectstream.stream.interpret import Hop
from affectstream.stream.live.clock import instant
from affectstream.stream.live.dictation import LiveWords
from affectstream.stream.live.session import LiveSession
from affectstream.stream.live.stats import LiveStats
from affectstream.stream.media import Cue, Kind
from affectstream.stream.recognizer import Recognizer
from affectstream.stream.serve import messages
from affectstream.stream.serve.clocks import Clock
from affectstream.stream.serve.limits import GONE_S, QUIET_S
from affectstream.stream.serve.metrics import Meters
from affectstream.stream.serve.outbox import BOUND, Outbox
from affectstream.stream.serve.overlay import Overlay
from affectstream.stream.serve.record import Recorder
from affectstream.stream.sinks.lsl import LslOutlets

_WORDS_S = 0.2
"""What the recogniser of words has, at the end, to finish."""


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
        meters: Meters,
        recorder: Recorder | None,
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
        self._meters, self._recorder = meters, recorder
        self._loop = asyncio.get_running_loop()
        self._outboxes: dict[Outbox, bool] = {}  # whether it takes more than events
        self._started: bytes | None = None
        self._early: deque[bytes] | None = deque(maxlen=BOUND)  # events of before anyone listened
        self._shown = False  # whether anyone does: the session's thread asks
        self._origin_s: float | None = None
        self._heard_s = self._opened_s = time.monotonic()
        self._quiet = False
        self._counted: LiveStats | None = None
        self._told = self._delivered = self._dropped = 0
        self._overlay = Overlay(name)
        self.at_end: list[Callable[[], Awaitable[None]]] = []
        """What is done once the last event has been told: the hanging up of its client."""
        self._live = LiveSession(
            recognizer,
            name,
            sources=self.sources,
            emit=self._emit,
            hop=self._hop,
            seen=self._seen,
        )
        self._outlets = outlets
        self._dictation = None if words is None else words.start(self._live, self._heard)

    def begin(self) -> float:
        """Something is about to come. Returns when t = 0 was, on the monotonic clock: with the first."""
        if self._origin_s is None:
            self._origin_s = time.monotonic()
        return self._origin_s

    def see(self, clock: Clock, picture: av.VideoFrame) -> None:
        """A picture that has just come. Does not wait."""
        arrived_s = self._heard_s = time.monotonic()
        t_us = clock.stamp(Kind.VIDEO, _media_us(picture), arrived_s)
        self._live.see(picture, t_us, arrived_s)
        if self._recorder is not None:
            self._recorder.see(picture, t_us)

    def hear(self, clock: Clock, sound: av.AudioFrame) -> None:
        """Sound that has just come. Does not wait."""
        arrived_s = self._heard_s = time.monotonic()
        t_us = clock.stamp(Kind.AUDIO, _media_us(sound), arrived_s)
        self._live.hear(sound, t_us, arrived_s)
        if self._dictation is not None:
            self._dictation.hear(sound, t_us, arrived_s)
        if self._recorder is not None:
            self._recorder.hear(sound, t_us)

    def said(self, words: messages.Words) -> None:
        """Words that a program recognised; those who take more than events are told."""
        start_us, end_us = round(words.t_start * 1e6), round(words.t_end * 1e6)
        self._live.read(Cue(start_us, max(start_us, end_us), words.text, words.speaker))
        self._post(messages.pack(words), event=False)

    def warn(self, detail: str) -> None:
        """Tell everyone of something about the source."""
        self._live.warn(detail)

    def present(self) -> None:
        """The client is there, though it may have nothing to show."""
        self._heard_s = time.monotonic()

    def watch(self, now_s: float) -> bool:
        """Warn of silence, once each time. True where the client must be taken for gone."""
        silent_s = now_s - self._heard_s
        if silent_s > QUIET_S and not self._quiet:
            self.warn(f"nothing came from the client for {QUIET_S:g} s")
        self._quiet = silent_s > QUIET_S
        return silent_s > GONE_S

    def listen(self, *, everything: bool) -> Outbox:
        """The queue of a new listener; `everything` adds a greeting, faces, words and state.

        The first gets all events so far: pictures may come before the channel that brings events.
        Later ones get the first event, which says when t = 0 was.
        """
        outbox = Outbox(observe=partial(self._meters.stage, "deliver"))
        if everything:
            outbox.push(messages.pack(self.greeting()))
        early, self._early = self._early, None
        if early is None and self._started is not None:
            early = deque([self._started])
        for line in early or ():
            outbox.push(line)
        self._outboxes[outbox] = everything
        self._shown = any(self._outboxes.values())
        return outbox

    def leave(self, outbox: Outbox) -> None:
        """A listener has gone."""
        if self._outboxes.pop(outbox, None) is not None:
            self._shown = any(self._outboxes.values())
            stats = outbox.stats
            self._delivered += stats.delivered
            self._dropped += stats.dropped
            self._meters.lines_dropped.inc(stats.dropped)

    def greeting(self) -> messages.Session:
        """What a client is told first."""
        return messages.Session(
            session=self.number,
            stream=self.name,
            labels=tuple(self._manifest.labels),
            modalities=self.sources,
            hop_s=self._manifest.hop_us / 1e6,
            recording=self._recorder is not None,
        )

    def state(self) -> messages.State:
        """How the session does now."""
        live = self._live.stats
        return messages.State(
            stream=self.name,
            frames_in=live.frames_in,
            frames_used=live.frames_used,
            frames_dropped=live.frames_dropped,
            lines_dropped=self.dropped,
            fps=round(live.fps, 1),
            frame_hz=live.frame_hz,
            latency_ms=_rounded(live.latency_p50_ms),
            latency_p95_ms=_rounded(live.latency_p95_ms),
            av_skew_ms=_rounded(live.av_skew_ms),
        )

    def tell_state(self) -> None:
        """Count what came since the last time, and tell those who take more than events."""
        live = self._live.stats
        self._meters.session(live, self._counted)
        self._counted = live
        self._post(messages.pack(self.state()), event=False)

    def describe(self) -> dict[str, Any]:
        """One entry of ``GET /sessions``."""
        state = self.state()
        return {
            "session": self.number,
            "stream": self.name,
            "kind": self.kind,
            "modalities": list(self.sources),
            "started_at": instant(self.started_at),
            "seconds": round(time.monotonic() - self._opened_s, 1),
            "recording": self._recorder is not None,
            "listeners": len(self._outboxes),
            "events": self._told,
            **{name: getattr(state, name) for name in state.__struct_fields__ if name != "stream"},
        }

    def gauges(self) -> dict[str, float]:
        """What `/metrics` says of it."""
        live = self._live.stats
        known = {
            "queue_depth": live.pictures_waiting + live.sounds_waiting,
            "fps": live.fps,
            "frame_hz": live.frame_hz,
            "faces": live.faces,
            "listeners": self.listeners,
            "av_skew_seconds": None if live.av_skew_ms is None else live.av_skew_ms / 1000,
        }
        return {name: float(value) for name, value in known.items() if value is not None}

    @property
    def told(self) -> int:
        """Events so far."""
        return self._told

    @property
    def delivered(self) -> int:
        """Lines that listeners took so far."""
        return self._delivered + sum(box.stats.delivered for box in self._outboxes)

    @property
    def dropped(self) -> int:
        """Lines dropped so far because a listener was slow."""
        return self._dropped + sum(box.stats.dropped for box in self._outboxes)

    @property
    def listeners(self) -> int:
        """How many listen now."""
        return len(self._outboxes)

    def close(self, timeout_s: float) -> None:
        """Compute what is left, tell it with the `ended` event, and stop the threads. Blocks."""
        if self._dictation is not None:
            self._dictation.close(_WORDS_S)
            timeout_s -= _WORDS_S
        if self._recorder is not None and self._recorder.dropped:
            self.warn(f"{self._recorder.dropped} pictures or sounds are missing in the recording")
        self.ended = self._live.close(timeout_s=timeout_s)
        if self._outlets is not None:
            self._outlets.close()
        if self._recorder is not None:
            self._recorder.close(timeout_s)

    def dismiss(self) -> None:
        """Tell the last state, and close every queue behind it."""
        self.tell_state()
        for outbox in self._outboxes:
            outbox.close()

    def _emit(self, event: Event) -> None:
        """Called by the session's thread with each event."""
        line = encode(event)
        if self._recorder is not None:
            self._recorder.tell(line)
        latency = age = None
        if isinstance(event, Emotion | Attention):
            latency = None if event.latency_ms is UNSET else event.latency_ms
            age = None if event.age_ms is UNSET else event.age_ms
        self._meters.event(event.type, latency, age)
        self._told += 1
        self._post(line, event=True)
        if self._outlets is not None:
            self._outlets.mark(event, self._live.zero_s)

    def _hop(self, hop: Hop) -> None:
        """Called by the session's thread with each hop."""
        self._overlay.told(reading for reading, _ in hop.readings)
        if self._outlets is not None:
            self._outlets.push(hop, self._live.zero_s)

    def _heard(self, cue: Cue) -> None:
        """Called by the thread of the words with what was said."""
        words = messages.Words(cue.start_us / 1e6, cue.end_us / 1e6, cue.text)
        self._post(messages.pack(words), event=False)

    def _seen(self, seen: Seen) -> None:
        """Called by the session's thread with the faces of each picture that was looked at."""
        if self._shown:
            self._post(messages.pack(self._overlay.seen(seen)), event=False)

    def _post(self, line: bytes, *, event: bool) -> None:
        """Hand a line to the event loop, from any thread."""
        try:
            self._loop.call_soon_threadsafe(self._push, line, event)
        except RuntimeError:  # the loop is gone: there is nobody left to tell
            return

    def _push(self, line: bytes, event: bool) -> None:
        if event:
            self._started = self._started or line
            if self._early is not None:
                self._early.append(line)
        for outbox, everything in self._outboxes.items():
            if event or everything:
                outbox.push(line)


def _media_us(frame: av.VideoFrame | av.AudioFrame) -> int:
    assert (
        frame.pts is not None and frame.time_base is not None
    )  # those without are left out before
    return int(frame.pts * frame.time_base * 1_000_000)


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 1)
