"""`affectstream demo`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from affectstream.stream.events import Event


def demo(
    keep: Annotated[
        Path | None, typer.Option(help="Keep the clip in this folder.", show_default=False)
    ] = None,
) -> None:
    """Make a short clip with a real face, score it, and show what was recognized.

    Needs no download and no camera; the 'demo' extra ships the portrait.

    Example: [bold]affectstream demo --keep demo[/bold]
    """
    from tempfile import TemporaryDirectory

    from affectstream.stream.demo import SECONDS, write_clip
    from affectstream.stream.recognizer import Recognizer
    from rich.console import Console

    console = Console(highlight=False)
    with TemporaryDirectory() as scratch:
        folder = keep or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        console.print(
            f"Making {SECONDS} s of video: NASA's portrait of Eileen Collins (public domain) drifts, turns\n"
            "away by warping, leaves and returns. Sound and words are made up: nobody speaks."
        )
        clip = write_clip(folder)
        with Recognizer.open() as recognizer, recognizer.session(clip) as session:
            manifest = recognizer.bundle.manifest
            console.print(
                f"Scoring it with bundle {manifest.name} {manifest.version} ({recognizer.choice.reason}).\n"
            )
            for hop in session:
                for event in hop.events:
                    console.print(_line(event), soft_wrap=True)
    console.print(
        "\nEach line is one event; scripts get the same as JSON Lines. Next, try your own recording:\n"
        "  affectstream score interview.mp4                    events as JSON Lines\n"
        "  affectstream score interview.mp4 --output results   events, readings.parquet, segments.vtt\n"
        "  affectstream doctor                                 what this machine can do"
    )
    if keep is not None:
        console.print(f"The clip is in {clip}.")


def _line(event: Event) -> str:
    from affectstream.stream.events import Attention, Emotion, Segment

    when = f"{event.t_start:6.2f}-{event.t_end:5.2f} s"
    who = "recording" if event.track is None else f"person {event.track}"
    match event:
        case Emotion(label=str(label), confidence=confidence):
            what = f"{label} [dim]{confidence:.0%}, from {' and '.join(event.modalities)}[/dim]"
        case Emotion():
            what = f"[dim]no verdict: {str(event.abstain).replace('_', ' ')}[/dim]"
        case Attention(score=None):
            what = event.state
        case Attention():
            what = (
                f"{event.state} [dim]yaw {event.yaw:+.0f}, pitch {event.pitch:+.0f} degrees[/dim]"
            )
        case Segment():
            what = f"[bold]{event.state}[/bold] [dim]mean {event.mean:.0%}, peak {event.peak:.0%}[/dim]"
        case _:
            what = event.what + (f": {event.detail}" if event.detail else "")
            return f"[dim]{when}  {'stream':10}  {'':10}  {what}[/dim]"
    return f"{when}  {event.type:10}  {who:10}  {what}"
