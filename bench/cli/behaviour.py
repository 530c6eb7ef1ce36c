"""Commands that measure what a bundle says: behaviour, people, confidence, fusion."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from affectstream.bench.cli.options import JsonFolder, OnlyJson
from affectstream.stream.cli.flags import BundleName, Vad


def behaviour(
    data: Annotated[Path, typer.Option(help="Folder of the data sets.", show_default=False)],
    bundle: BundleName = "pocket",
    only: Annotated[
        list[str] | None,
        typer.Option(help="Only this section. Repeatable.", show_default="all"),
    ] = None,
    teacher: Annotated[
        Path | None,
        typer.Option(help="Folder with the face mesh's answers.", show_default="without them"),
    ] = None,
    output: JsonFolder = None,
    vad: Vad = "silero",
    as_json: OnlyJson = False,
) -> None:
    """Check what a bundle does on real recordings: the first thing to run after a change to a model.

    Example: [bold]affectstream bench behaviour --data DATA[/bold]
    """
    from affectstream.bench.behaviour.command import main

    main(data, bundle, only or [], teacher, output, vad=vad, as_json=as_json)


def tracking(
    data: Annotated[Path, typer.Option(help="Folder of the data sets.", show_default=False)],
    bundle: BundleName = "pocket",
    photos: Annotated[
        int,
        typer.Option(
            min=0, help="Animate photos of so many people instead, to choose thresholds on."
        ),
    ] = 0,
    rival: Annotated[
        Path | None,
        typer.Option(
            help="Python with the package 'trackers': measures OC-SORT too.", show_default="none"
        ),
    ] = None,
) -> None:
    """Measure whether one person is one number, on recordings and on sequences with known truth.

    Example: [bold]affectstream bench tracking --data DATA[/bold]
    """
    from affectstream.bench.tracking.report import main

    main(data, bundle, photos=photos, rival=rival)


def confidence(
    data: Annotated[
        Path,
        typer.Option(
            help="Pairs, made by 'paired --part valid --degrade 0.5'.", show_default=False
        ),
    ],
    bundle: BundleName = "pocket",
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Folder for JSON and diagrams.", show_default="none"),
    ] = None,
) -> None:
    """Check that confidence is a probability, for each set of modalities, on clean and degraded input.

    Example: [bold]affectstream bench confidence --data prepared/paired --output confidence[/bold]
    """
    from affectstream.bench.score.confidence import main

    main(bundle, data, output)
