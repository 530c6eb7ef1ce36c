"""`affectstream explain`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from affectstream.stream.cli.flags import (
    AudioTrack,
    BundleName,
    Channel,
    Consent,
    Device,
    Language,
    MaxPixels,
    Metadata,
    MinConfidence,
    Modalities,
    Neutral,
    Purpose,
    Speakers,
    Threads,
    Transcript,
    Vad,
    Voices,
    Words,
    parse_time_option,
    source_options,
)


def explain(
    recording: Annotated[
        Path,
        typer.Argument(help="The recording, or a transcript.", show_default=False),
    ],
    output: Annotated[
        Path,
        typer.Option(
            "--output",
            "-o",
            file_okay=False,
            help="Folder for explanation.html, explanation.json and pictures.",
            show_default=False,
        ),
    ],
    at: Annotated[
        str | None,
        typer.Option(help="The time to explain: 83.5 or 01:23.5.", show_default=False),
    ] = None,
    from_: Annotated[
        str | None,
        typer.Option(
            "--from", help="Explain a stretch, as a video: from this time on.", show_default=False
        ),
    ] = None,
    to: Annotated[
        str | None, typer.Option("--to", help="The end of that stretch.", show_default=False)
    ] = None,
    bundle: BundleName = "pocket",
    track: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="The person; 0: the recording itself.",
            show_default="the first with a result",
        ),
    ] = None,
    of: Annotated[
        str | None,
        typer.Option(
            help="The label to explain, or another number that the bundle predicts, such as valence.",
            show_default="the label with the highest score",
        ),
    ] = None,
    patches: Annotated[
        int, typer.Option(min=2, max=64, help="Patches down and across the face.")
    ] = 9,
    device: Device = "auto",
    threads: Threads = None,
    start: Annotated[
        str | None,
        typer.Option(help="Where scoring began: 90 or 00:01:30.", show_default=False),
    ] = None,
    end: Annotated[
        str | None,
        typer.Option(help="Where scoring ended: 120 or 00:02:00.", show_default=False),
    ] = None,
    audio_track: AudioTrack = None,
    transcript: Transcript = None,
    words: Words = None,
    language: Language = None,
    speakers: Speakers = None,
    channel: Channel = None,
    voices: Voices = None,
    metadata: Metadata = None,
    neutral: Neutral = "0s",
    vad: Vad = "silero",
    max_pixels: MaxPixels = None,
    modalities: Modalities = None,
    min_confidence: MinConfidence = None,
    purpose: Purpose = None,
    consent: Consent = None,
    results: Annotated[
        Path | None,
        typer.Option(
            "--results",
            help="Folder of the recording's results, whose purpose and consent are stated again.",
            show_default="the folder with run.json that --output lies in",
        ),
    ] = None,
) -> None:
    """Explain one result of a recording: which parts of face, voice and words it rests on.

    Scores the recording up to that time, with the same options as `affectstream score`, then hides parts of
    the input and computes the score again. Works with every bundle.

    Example: [bold]affectstream explain interview.mp4 --at 01:23.5 --output why[/bold]

    Example: [bold]affectstream explain interview.mp4 --from 01:20 --to 01:30 --output why[/bold]
    """
    from affectstream.stream.errors import OptionError
    from affectstream.stream.explain.explanation import Detail
    from affectstream.stream.explain.stated_use import inherit_use
    from affectstream.stream.explain.summary import summary_lines
    from affectstream.stream.recognizer import Recognizer

    options = source_options(
        transcript=transcript,
        words=words,
        language=language,
        speakers=speakers,
        metadata=metadata,
        attention="gaze",
        baseline="0s",
        neutral=neutral,
        focal=None,
        vad=vad,
        channel=channel,
        voices=voices,
        start=start,
        end=end,
        audio_track=audio_track,
        max_pixels=max_pixels,
        modalities=modalities,
        min_confidence=min_confidence,
        purpose=purpose,
        consent=consent,
    )
    options = inherit_use(options, recording, output, results)
    if at is None:
        if from_ is None or to is None:
            raise OptionError(
                "say what to explain: a time with --at, or a stretch with --from and --to"
            )
        span = parse_time_option(from_, "--from") / 1e6, parse_time_option(to, "--to") / 1e6
        with Recognizer.open(bundle, device=device, threads=threads) as recognizer:
            clip = recognizer.explain_clip(
                recording, *span, options, track=track, explained=of, patches=patches
            )
            for note in clip.document["notes"]:
                typer.echo(f"note: {note}", err=True)
            typer.echo(f"{clip.write(output)}")
        return
    if from_ is not None or to is not None:
        raise OptionError("--at explains one time, --from and --to a stretch: give one of them")
    at_s = parse_time_option(at, "--at") / 1e6
    if at_s < 0:
        raise OptionError(f"--at {at}: expected 0 or later")
    with Recognizer.open(bundle, device=device, threads=threads) as recognizer:
        found = recognizer.explain(
            recording, at_s, options, track=track, explained=of, detail=Detail(face=patches)
        )
    page = found.write(output)
    for line in summary_lines(found.document):
        typer.echo(line)
    typer.echo(f"{page}")
