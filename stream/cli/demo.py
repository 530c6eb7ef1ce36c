"""`affectstream demo`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from affectstream.stream.events import Attention, Emotion, Event


def demo(
    keep: Annotated[
        Path | None, typer.Option(help="Folder to keep the clip in.", show_default=False)
    ] = None,
) -> None:
    """Make a short clip with a real face, score it, and show the events.

    It needs no download and no camera. The portrait comes with the extra 'demo'.

    Example: [bold]affectstream demo --keep demo[/bold]
    """
    from tempfile import TemporaryDirectory

    from rich.console import Console

    from affectstream.stream.demo import SECONDS, write_clip
    from affectstream.stream.recognizer import Recognizer

    console = Console(highlight=False)
    with TemporaryDirectory() as scratch:
        folder = keep or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        console.print(
            f"Making {SECONDS} s of video: NASA's portrait of Eileen Collins (public domain) drifts,\n"
            "turns away by warping, leaves and returns. Sound and words are artificial: nobody speaks.",
            soft_wrap=True,
        )
        clip = write_clip(folder)
        with Recognizer.open() as recognizer, recognizer.session(clip) as session:
            manifest = recognizer.bundle.manifest
            console.print(
                f"Scoring it with bundle {manifest.name} {manifest.version} ({recognizer.choice.reason}).\n",
                soft_wrap=True,
            )
            for hop in session:
                for line in _lines(hop.events):
                    console.print(line, soft_wrap=True)
    console.print(
        "\nEach line is an event; programs get the same as JSON Lines. Next, try your own recording:\n"
        "  affectstream score interview.mp4                    events as JSON Lines\n"
        "  affectstream score interview.mp4 --output results   events, readings.parquet, segments.vtt\n"
        "  affectstream doctor                                 what this machine can do",
        soft_wrap=True,
    )
    if keep is not None:
        console.print(f"The clip is in {clip}.")


def _lines(events: Sequence[Event]) -> Iterator[str]:
    """One line for each emotion with its attention, for each segment and each stream event."""
    from affectstream.stream.events import Attention, Emotion, Segment

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
                yield f"[dim]{when}  stream     {event.what}[/dim]" + (
                    f": {event.detail}" if event.detail else ""
                )


def _emotion(event: Emotion) -> str:
    if event.label is None:
        return f"[dim]no label: {str(event.abstain).replace('_', ' ')}[/dim]"
    return f"{event.label} [dim]{event.confidence:.0%}, {' + '.join(event.modalities)}[/dim]"


def _attention(event: Attention) -> str:
    if event.score is None:
        return event.state
    return f"{event.state} [dim]yaw {event.yaw:+.0f}, pitch {event.pitch:+.0f} degrees[/dim]"
