"""One session of the server: the media that its client sends, and everyone who receives its events."""

from __future__ import annotations

import secrets
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from typing import Any, Literal

import av

from affectstream.engines.labels import Modality
from affectstream.stream.events import Event, encode, utc_timestamp
from affectstream.stream.faces.face import FrameObservation
from affectstream.stream.live.callbacks import Callbacks
from affectstream.stream.live.session import LiveSession
from affectstream.stream.live.stats import LiveStats
from affectstream.stream.live.words.dictation import LiveWords
from affectstream.stream.media.types import Cue
from affectstream.stream.options import SourceOptions
from affectstream.stream.recognizer import Recognizer
from affectstream.stream.results.interpret import HopResult
from affectstream.stream.serve.clients import messages
from affectstream.stream.serve.clients.overlay import FaceOverlay
from affectstream.stream.serve.clients.subscribers import SendQueue, Subscribers
from affectstream.stream.serve.limits import SILENCE_END_S, SILENCE_WARNING_S
from affectstream.stream.serve.metrics import Metrics
from affectstream.stream.serve.record import SessionRecorder
from affectstream.stream.sinks.lsl import LslOutlets

SessionKind = Literal["webrtc", "ingest"]
"""How the client sends its media."""

_STORE_S = 0.2
"""Time kept for the recorder at the end, which encodes meanwhile."""


class ServedSession:
    """One client's media on its way through a recognizer, and the clients that receive the results.

    For the event loop, except `start_clock`, `push_frame` and `warn`, which any thread may call, and
    `close`, which blocks.
    """

    def __init__(
        self,
        recognizer: Recognizer,
        session_id: str,
        name: str,
        kind: SessionKind,
        modalities: Sequence[Modality],
        *,
        metrics: Metrics,
        recorder: SessionRecorder | None,
        words: LiveWords | None = None,
        outlets: LslOutlets | None = None,
        options: SourceOptions | None = None,
    ) -> None:
        """`session_id` names the session in URLs and logs, `name` is the `stream` of its events.

        `modalities` are those that the client sends and the bundle reads. `words` recognizes speech.
        The session closes its `recorder` and `outlets`.
        """
        self.id, self.name, self.kind = session_id, name, kind
        self.secret = secrets.token_urlsafe()
        """What the client that opened the session shows to reach it (see `access`)."""
        self.modalities = tuple(modalities)
        self.event_count = 0
        """Events so far."""
        self.bad_packets = 0
        """Packets and frames of the client that could not be decoded; a warning reports them at the end."""
        self.on_end: list[Callable[[], Awaitable[None]]] = []
        """Called after the last event was sent: they disconnect the client."""
        self.subscribers = Subscribers(metrics, lambda: messages.pack(self._greeting()))
        self._manifest = recognizer.bundle.manifest
        self._metrics, self._recorder, self._outlets = metrics, recorder, outlets
        if recorder is not None:
            recorder.on_failure = self._warn_not_stored
        self._opened_at, self._opened_s = datetime.now(UTC), time.monotonic()
        self._origin_s: float | None = None
        self._alive_s = self._opened_s
        self._silent = False
        self._counted: LiveStats | None = None
        self._overlay = FaceOverlay(name)
        self._live = LiveSession(
            recognizer,
            name,
            Callbacks(
                event=self._emit,
                hop=self._on_hop,
                observation=self._on_faces,
                duration=metrics.observe_work,
                words=self._on_words,
            ),
            options=options,
            modalities=self.modalities,
            words=words,
            newest=True,
        )

    # --- What the client sends ---

    def start_clock(self) -> float:
        """The session's t = 0, by `time.monotonic`: the first call, just before the first frame."""
        if self._origin_s is None:
            self._origin_s = time.monotonic()
        return self._origin_s

    def push_frame(self, frame: av.VideoFrame | av.AudioFrame, t_us: int, arrived_s: float) -> None:
        """Add a frame of session time `t_us` that arrived at `arrived_s`. Does not wait."""
        self._alive_s = arrived_s
        if isinstance(frame, av.VideoFrame):
            self._live.push_video(frame, t_us, arrived_s)
        else:
            self._live.push_audio(frame, t_us, arrived_s)
        if self._recorder is not None:
            self._recorder.push_frame(frame, t_us)

    def receive_text(self, text: str | bytes, replies: SendQueue) -> bool:
        """Handle one text message. Returns False if it is the client's last."""
        try:
            message = messages.unpack(text)
        except ValueError as error:
            replies.push(messages.pack(messages.Error(str(error)[:200])))
            return True
        match message:
            case messages.Ping():
                replies.push(messages.pack(messages.Pong(message.t)))
            case messages.Words():
                self._add_words(message)
            case messages.End():
                return False
        return True

    def warn(self, detail: str) -> None:
        """Emit a `warning` event."""
        self._live.warn(detail)

    def mark_alive(self) -> None:
        """The client is there, though it may send no media."""
        self._alive_s = time.monotonic()

    def check_silence(self, now_s: float) -> str | None:
        """Warn if the client is silent, once each time. Returns why the session must end, if it must."""
        if self._live.error is not None:
            return f"an error of the server: {self._live.error}"
        silent_s = now_s - self._alive_s
        if silent_s > SILENCE_WARNING_S and not self._silent:
            self.warn(f"nothing came from the client for {SILENCE_WARNING_S:g} s")
        self._silent = silent_s > SILENCE_WARNING_S
        if silent_s > SILENCE_END_S:
            return f"nothing came from the client for {SILENCE_END_S:g} s"
        return None

    def _add_words(self, words: messages.Words) -> None:
        start_us, end_us = round(words.t_start * 1e6), round(words.t_end * 1e6)
        self._live.push_text(Cue(start_us, max(start_us, end_us), words.text, words.speaker))
        self._publish(words)

    # --- What is known about the session ---

    @property
    def recording(self) -> bool:
        """Whether it is stored; no longer once something could not be."""
        return self._recorder is not None and self._recorder.failure is None

    def describe(self) -> dict[str, Any]:
        """One entry of ``GET /sessions``."""
        state = self._state()
        return {
            "session": self.id,
            "stream": self.name,
            "kind": self.kind,
            "modalities": list(self.modalities),
            "started_at": utc_timestamp(self._opened_at),
            "seconds": round(time.monotonic() - self._opened_s, 1),
            "listeners": len(self.subscribers),
            "events": self.event_count,
            **{name: getattr(state, name) for name in state.__struct_fields__ if name != "stream"},
        }

    def report(self) -> None:
        """Update the metrics, and send the state to clients that receive everything. Once a second."""
        live = self._count()
        self._metrics.set_session(
            self.id,
            {
                "queue_depth": live.pictures_waiting + live.sounds_waiting,
                "fps": live.fps,
                "frame_hz": live.frame_hz,
                "faces": live.faces,
                "listeners": len(self.subscribers),
                "av_skew_seconds": None if live.av_skew_ms is None else live.av_skew_ms / 1000,
            },
        )
        self._publish(self._state())

    def _greeting(self) -> messages.SessionInfo:
        return messages.SessionInfo(
            session=self.id,
            secret=self.secret,
            stream=self.name,
            labels=tuple(self._manifest.labels),
            modalities=self.modalities,
            hop_s=self._manifest.hop_us / 1e6,
            recording=self.recording,
        )

    def _state(self) -> messages.State:
        live = self._live.stats
        return messages.State(
            stream=self.name,
            frames_in=live.frames_in,
            frames_used=live.frames_used,
            frames_dropped=live.frames_dropped,
            lines_dropped=self.subscribers.dropped,
            fps=round(live.fps, 1),
            frame_hz=live.frame_hz,
            latency_ms=_rounded(live.latency_p50_ms),
            latency_p95_ms=_rounded(live.latency_p95_ms),
            av_skew_ms=_rounded(live.av_skew_ms),
            recording=self.recording,
        )

    def _count(self) -> LiveStats:
        """Add to the metrics what came since the last call."""
        live = self._live.stats
        self._metrics.count_input(live, self._counted)
        self._metrics.count_waiting(live.most_waiting)
        self._counted = live
        return live

    # --- Its end ---

    def close(self, timeout_s: float, reason: str | None = None) -> None:
        """Process what is left, emit `ended` and stop the threads. Blocks, for at most `timeout_s`.

        `reason` says why the session ended early, if it did.
        """
        until_s = time.monotonic() + timeout_s

        def left_s(keep_s: float = 0.0) -> float:
            return max(0.0, until_s - keep_s - time.monotonic())

        if self.bad_packets:
            self.warn(f"{self.bad_packets} packets or pictures could not be decoded")
        if self._recorder is not None and self._recorder.dropped:
            self.warn(f"{self._recorder.dropped} pictures or sounds are missing in the recording")
        detail = None if reason is None else f"{self.name}: {reason}"
        self._live.close(timeout_s=left_s(_STORE_S if self._recorder else 0.0), detail=detail)
        if self._outlets is not None:
            self._outlets.close()
        if self._recorder is not None:
            self._recorder.close(left_s())

    def close_subscribers(self) -> None:
        """After `close`: count the rest, and let every client leave once it has the last event."""
        self._count()
        self._metrics.remove_session(self.id)
        self.subscribers.close()

    # --- Results, on the threads of the live session and of the words ---

    def _publish(self, message: messages.ServerMessage) -> None:
        self.subscribers.publish(messages.pack(message), is_event=False)

    def _emit(self, event: Event) -> None:
        line = encode(event)
        if self._recorder is not None:
            self._recorder.push_event(line)
        self._metrics.observe_event(event)
        self.event_count += 1
        self.subscribers.publish(line, is_event=True)
        if self._outlets is not None:
            self._outlets.mark(event, self._live.zero_s)

    def _on_hop(self, hop: HopResult) -> None:
        self._overlay.update_tracks(reading for reading, _ in hop.readings)
        if self._outlets is not None:
            self._outlets.push(hop, self._live.zero_s)

    def _on_faces(self, observation: FrameObservation) -> None:
        if self.subscribers.wants_everything:
            self._publish(self._overlay.message(observation))

    def _on_words(self, cue: Cue) -> None:
        self._publish(messages.Words(cue.start_us / 1e6, cue.end_us / 1e6, cue.text))

    def _warn_not_stored(self, reason: str) -> None:
        self.warn(f"nothing is stored any more: {reason}")


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 1)
