"""`affectstream train gallery`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from affectstream.train.cli.flags import output_option


def gallery(
    folder: Annotated[Path, typer.Argument(help="Folder of results, in any subfolders.")],
    output: Annotated[
        Path | None, output_option(help="The page.", show_default="FOLDER/gallery.html")
    ] = None,
    media: Annotated[
        bool, typer.Option("--media", help="Pictures of explanations too: personal data.")
    ] = False,
) -> None:
    """Show all evaluations, comparisons, trainings and explanations of a folder on one page.

    A card for each, with its figure, its interval and a small picture, leads to its own page. Damaged results
    are listed, and the exit code is 3.

    Example: [bold]affectstream train gallery results[/bold]
    """
    from affectstream.stream import exits
    from affectstream.train.gallery.gallery import PAGE, find_results, write_gallery

    found = find_results(folder)
    page = output or folder / PAGE
    write_gallery(found, folder, page, media=media)
    damaged = [one for one in found if one.card is None]
    for one in damaged:
        print(f"{one.path}: {one.error}", file=sys.stderr)
    print(f"{len(found) - len(damaged)} results: {page}", file=sys.stderr)
    if damaged:
        raise typer.Exit(exits.PARTLY)
