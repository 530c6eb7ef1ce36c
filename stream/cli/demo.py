"""`affectstream demo`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from affectstream.stream.cli.flags import Attention


def demo(
    keep: Annotated[
        Path | None, typer.Option(help="Folder to keep the clip in.", show_default=False)
    ] = None,
    attention: Attention = "gaze",
) -> None:
    """Make a short clip with a real face, score it, and show the events.

    It needs no download and no camera. The portrait comes with the extra 'demo'.

    Example: [bold]affectstream demo --keep demo[/bold]
    """
    from tempfile import TemporaryDirectory

    from rich.console import Console

    from affectstream.stream.cli.event_lines import EventLines
    from affectstream.stream.demo import SECONDS, write_clip
    from affectstream.stream.options import SourceOptions
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
        options = SourceOptions(attention=attention)
        with Recognizer.open() as recognizer, recognizer.session(clip, options) as session:
            manifest = recognizer.bundle.manifest
            console.print(
                f"Scoring it with bundle {manifest.name} {manifest.version} ({recognizer.choice.reason}).\n",
                soft_wrap=True,
            )
            lines = EventLines(console)
            for hop in session:
                lines.push(hop, session.results_end_us)
    console.print(
        "\nEach line is an event; programs get the same as JSON Lines. Next, try your own recording:\n"
        "  affectstream score interview.mp4                    events as JSON Lines\n"
        "  affectstream score interview.mp4 --output results   events, readings.parquet, segments.vtt\n"
        "  affectstream doctor                                 what this machine can do",
        soft_wrap=True,
    )
    if keep is not None:
        console.print(f"The clip is in {clip}.")
