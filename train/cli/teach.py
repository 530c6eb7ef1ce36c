"""`affectstream teach`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from affectstream.stream.cli import flags
from affectstream.train.cli.flags import (
    Overwrite,
    Rename,
    SkipTier,
    folder_option,
    parse_pairs,
    parse_renames,
    refuse_bundle,
)

Depth = Literal["calibration", "fusion", "embeddings", "encoders"]


def teach(
    recordings: Annotated[
        list[str],
        typer.Argument(help="The recordings that were coded: files, folders or patterns."),
    ],
    annotations: Annotated[
        list[Path],
        typer.Option(
            "--annotations",
            "-a",
            help="What a person coded: ELAN, Praat, BORIS or a table; a file or a folder. Repeatable.",
        ),
    ],
    output: Annotated[Path, folder_option(help="Folder for the new bundle.")],
    bundle: flags.BundleName = "pocket",
    person: Annotated[
        list[str] | None, typer.Option(help="Who is which track, as Anna=1; repeat.")
    ] = None,
    people: Annotated[
        Path | None,
        typer.Option(help="Table recording,person (and track): who is in which recording."),
    ] = None,
    rename: Rename = None,
    skip_tier: SkipTier = None,
    new_label: Annotated[
        list[str] | None, typer.Option(help="A label that the bundle shall learn; repeat.")
    ] = None,
    leave_out: Annotated[
        list[str] | None, typer.Option(help="Do not use stretches with this label; repeat.")
    ] = None,
    start: Annotated[
        str | None, typer.Option(help="Only what follows was coded: 90 or 00:01:30.")
    ] = None,
    end: Annotated[
        str | None, typer.Option(help="Only what comes before was coded: 120 or 00:02:00.")
    ] = None,
    depth: Annotated[
        Depth | None,
        typer.Option(
            help="Change no more than how sure it is, how much each modality counts, the last layer of the "
            "head, or the last layers of the encoders (these need the bundle's folder training/).",
            show_default="what helps most",
        ),
    ] = None,
    overwrite: Overwrite = False,
    write_anyway: Annotated[
        bool, typer.Option("--write-anyway", help="Write the bundle even if it does not help.")
    ] = False,
    transcript: flags.Transcript = None,
    words: flags.Words = None,
    words_download: flags.WordsDownload = False,
    language: flags.Language = None,
    vad: flags.Vad = "silero",
    modalities: flags.Modalities = None,
    device: flags.Device = "auto",
    threads: flags.Threads = None,
) -> None:
    """Teach a bundle from your own coding of your own recordings.

    The loop: score, correct the result in ELAN, Praat or BORIS (or code afresh), agree, teach; the new
    bundle then scores the archive and runs live. People who were held out show whether it helps; if it does
    not, nothing is written (exit code 3).

    Example: [bold]affectstream teach interviews --annotations coded --output mine[/bold]
    """
    from affectstream.stream import exits
    from affectstream.stream.options import parse_time
    from affectstream.train.teach.report import lines
    from affectstream.train.teach.teach import Settings
    from affectstream.train.teach.teach import teach as teach_bundle

    refuse_bundle(output, overwrite=overwrite)
    settings = Settings(
        tracks=_tracks(parse_pairs(person, "--person")),
        people=people,
        rename=parse_renames(rename),
        skip_tiers=tuple(skip_tier or ()),
        new_labels=tuple(label.casefold() for label in new_label or ()),
        leave_out=tuple(label.casefold() for label in leave_out or ()),
        reviewed=(
            0.0 if start is None else parse_time(start) / 1e6,
            float("inf") if end is None else parse_time(end) / 1e6,
        ),
        depth=depth,
        options=flags.source_options(
            transcript=transcript,
            language=language,
            speakers=None,
            metadata=None,
            attention="gaze",
            baseline="0s",
            neutral="0s",
            focal=None,
            vad=vad,
            modalities=modalities,
            words=words,
            words_download=words_download,
        ),
        device=device,
        threads=threads,
    )
    found = teach_bundle(
        recordings,
        annotations,
        output,
        bundle=bundle,
        settings=settings,
        write_anyway=write_anyway,
        report=lambda line: print(line, file=sys.stderr, flush=True),
    )
    print("\n".join(lines(found)))
    if found.output is None:
        raise typer.Exit(exits.PARTLY)


def _tracks(pairs: dict[str, str]) -> dict[str, int]:
    for name, track in pairs.items():
        if not track.isdecimal() or int(track) < 1:
            raise typer.BadParameter(
                f"{name}={track}: expected the number of a track", param_hint="--person"
            )
    return {name: int(track) for name, track in pairs.items()}
