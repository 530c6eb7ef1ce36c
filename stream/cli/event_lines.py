"""Events as lines for people: `demo`, and `score` on a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.console import Console
from rich.markup import escape

from affectstream.stream.events import Attention, Emotion, Event, Segment
from affectstream.stream.results.interpret import HopResult


class EventLines:
    """Prints the events of each hop on a console."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def push(self, hop: HopResult, end_us: int) -> None:
        """Print one hop."""
        for line in event_lines(hop.events):
            self._console.print(line, soft_wrap=True)


def event_lines(events: Sequence[Event]) -> Iterator[str]:
    """One line for each emotion with its attention, for each segment and each stream event."""
    attention = {e.track: e for e in events if isinstance(e, Attention)}
    for event in events:
        when = f"{event.t_start:6.2f}-{event.t_end:5.2f} s"
        who = "recording" if event.track is None else f"person {event.track}"
        match event:
            case Emotion():
                beside = attention.get(event.track)
                text = "" if beside is None else _attention(beside)
                yield f"{when}  {who:10} {_emotion(event):48} {text}"
            case Segment():
                score = f"[dim]mean {event.mean:.0%}, peak {event.peak:.0%}[/dim]"
                yield f"{when}  {who:10} [bold]segment: {event.state}[/bold] {score}"
            case Attention():
                pass  # printed with its emotion
            case _:
                name = f" {event.stream}" if event.what == "started" else ""
                detail = f": {event.detail}" if event.detail else ""
                yield f"[dim]{when}  stream     {event.what}[/dim]{escape(name + detail)}"


def _emotion(event: Emotion) -> str:
    if event.label is None:
        return f"[dim]no label: {str(event.abstain).replace('_', ' ')}[/dim]"
    return f"{event.label} [dim]{event.confidence:.0%}, {' + '.join(event.modalities)}[/dim]"


def _attention(event: Attention) -> str:
    if event.score is None:
        return event.state
    if event.eyes_open is not None and event.gaze_yaw is None:
        return f"{event.state} [dim]eyes closed[/dim]"
    looks, yaw, pitch = ("gaze", event.gaze_yaw, event.gaze_pitch)
    if yaw is None or pitch is None:
        looks, yaw, pitch = ("head", event.yaw, event.pitch)
    if yaw is None or pitch is None:
        return event.state
    return f"{event.state} [dim]{looks}: yaw {yaw:+.0f}, pitch {pitch:+.0f} degrees[/dim]"
