"""The dashboard of a live session in a terminal: faces, emotions, attention, latency, drops."""

from __future__ import annotations

import threading

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from affectstream.stream.events import Attention, Emotion, Event, Segment, Stream
from affectstream.stream.live.stats import LiveStats
from affectstream.stream.media.types import Cue

_BAR = 24
_LINES = 4
_COLORS = {"attentive": "green", "away": "yellow", "absent": "bright_black"}
WHY = {
    "no_face": "no face",
    "tiny_face": "face too small",
    "blurred_face": "face blurred",
    "turned_face": "face turned away",
    "no_picture": "no picture",
    "no_speech": "no speech",
    "no_words": "no words",
    "language": "another language",
    "low_confidence": "not sure",
    "conflict": "face, voice and words disagree",
}
"""Why there is no label: a text for each `Reason`."""


class Dashboard:
    """Push events as they come, render with the newest statistics. Each may be called from any thread."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._lock = threading.Lock()  # of the fields below
        self._emotions: dict[int | None, Emotion] = {}
        self._attentions: dict[int | None, Attention] = {}
        self._lines: list[str] = []
        self._hop_s = -1.0

    def push(self, event: Event) -> None:
        """Take one event; only people of the newest hop stay on screen."""
        with self._lock:
            match event:
                case Emotion():
                    if event.t_start > self._hop_s:
                        self._emotions, self._attentions = {}, {}
                        self._hop_s = event.t_start
                    self._emotions[event.track] = event
                case Attention():
                    self._attentions[event.track] = event
                case Segment():
                    span = f"{event.t_start:7.1f} to {event.t_end:.1f} s"
                    self._add_line(f"{span}  {_who(event.track)}: {event.state}")
                case Stream():
                    self._add_line(f"{event.t_end:7.1f} s  {event.what}: {event.detail or ''}")

    def push_words(self, cue: Cue) -> None:
        """Show recognized words."""
        span = f"{cue.start_us / 1e6:7.1f} to {cue.end_us / 1e6:.1f} s"
        with self._lock:
            self._add_line(f"{span}  words: {cue.text}")

    def render(self, stats: LiveStats | None) -> RenderableType:
        """The whole picture."""
        with self._lock:
            emotions, attentions = dict(self._emotions), dict(self._attentions)
            lines, hop_s = self._lines, self._hop_s
        people = [
            _person(emotions[track], attentions.get(track))
            for track in sorted(emotions, key=lambda t: t or 0)
        ]
        if not people:
            people = [Text("waiting for the first half second", style="bright_black")]
        texts = [Text(line, style="bright_black", no_wrap=True) for line in lines]
        body = Group(*people, _numbers(stats), *texts)
        title = Text(self._name if hop_s < 0 else f"{self._name}  {hop_s:.1f} s")
        return Panel(body, title=title, title_align="left")

    def _add_line(self, line: str) -> None:
        self._lines = [*self._lines, line][-_LINES:]


def _person(emotion: Emotion, attention: Attention | None) -> RenderableType:
    head = Text(_who(emotion.track), style="bold")
    if emotion.label is not None:
        head.append(f"  {emotion.label}", style="bold cyan")
    elif emotion.abstain is not None:
        head.append(f"  {WHY[emotion.abstain]}", style="yellow")
    if attention is not None:
        head.append(f"  {attention.state}", style=_COLORS[attention.state])
        if attention.score is not None:
            head.append(f" {attention.score:.2f}")
    head.append(f"  by {', '.join(emotion.modalities) or 'nothing'}", style="bright_black")
    bars = Table.grid(padding=(0, 1))
    for label, score in (emotion.scores or {}).items():
        full = round(score * _BAR)
        best = label == emotion.label
        bar = Text("█" * full, style="cyan" if best else "blue")
        bar.append("·" * (_BAR - full), style="bright_black")
        bars.add_row(f"  {label}", bar, f"{score:.2f}")
    return Group(head, bars)


def _who(track: int | None) -> str:
    return "recording" if track is None else f"person {track}"


def _numbers(stats: LiveStats | None) -> RenderableType:
    if stats is None:
        return Text("")
    parts = [
        f"{stats.fps:.0f} pictures/s, {stats.frame_hz} analyzed",
        f"faces {stats.faces}",
        f"latency {_ms(stats.latency_p50_ms)}, 95 % {_ms(stats.latency_p95_ms)}",
        f"age {_ms(stats.age_p50_ms)}",
    ]
    if stats.av_skew_ms is not None:
        parts.append(f"video behind sound {stats.av_skew_ms:+.0f} ms")
    text = Text("  ".join(parts), style="bright_black")
    lost = stats.frames_dropped + stats.sounds_dropped
    text.append(
        f"  dropped {lost}, late {stats.frames_late}", style="red" if lost else "bright_black"
    )
    if stats.reconnects:
        text.append(f"  reconnected {stats.reconnects}", style="yellow")
    return text


def _ms(value: float | None) -> str:
    return "-" if value is None else f"{value:.0f} ms"
