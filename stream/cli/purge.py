"""`affectstream purge`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer


def purge(
    recording: Annotated[
        Path,
        typer.Argument(
            help="The recording, which may be gone already, or the folder of its results.",
            show_default=False,
        ),
    ],
    output: Annotated[
        str,
        typer.Option(
            "--output",
            "-o",
            metavar="FOLDER",
            help="The folder, or the address of the object store, that results were written to.",
            show_default=False,
        ),
    ],
    explanations: Annotated[
        list[str] | None,
        typer.Option(
            "--explanations",
            metavar="FOLDER",
            help="Another folder with explanations; may be given several times.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Remove all results and explanations of one recording, and check that nothing is left of it.

    What was removed goes to stdout as JSON, with the hash of each file, to keep as a record, also if an error
    ends this early. Exits with code 3 if a file in the folder still names the recording or cannot be
    searched, or if the store may keep what was removed, and with 4 if there was nothing to remove.

    Example: [bold]affectstream purge interview.mp4 --output results[/bold]

    Example: [bold]affectstream purge interview.mp4 --output results --explanations why[/bold]
    """
    from rich.console import Console

    from affectstream.stream import exits
    from affectstream.stream.batch.output.purge import Removed
    from affectstream.stream.batch.output.purge import purge as remove
    from affectstream.stream.batch.output.storage import storage_at
    from affectstream.stream.errors import OptionError
    from affectstream.stream.options import valid_text

    for place in (output, *(explanations or ())):
        local = storage_at(place).local
        if local is not None and not local.is_dir():
            raise OptionError(f"{place}: there is no such folder of results")
    removed: list[Removed] = []
    try:
        done = remove(recording, output, explanations or (), removed.append)
    except BaseException as error:
        if removed:  # no later run can say what it was
            why = str(error) or type(error).__name__
            _print_json({"recording": valid_text(recording), "removed": removed, "error": why})
        raise
    _print_json(done)
    console = Console(stderr=True, markup=False, highlight=False, soft_wrap=True)
    if done.left:
        console.print(f"error: these files still name {done.recording}: {', '.join(done.left)}")
    if done.unread:
        console.print(
            f"error: these files could not be searched for {done.recording}: {', '.join(done.unread)}; "
            "remove them, or let the command that wrote them end; what a killed run has left in a folder "
            f"NAME is removed by affectstream purge NAME --output {output}"
        )
    for reason in done.kept:
        console.print(f"error: removed, but perhaps not gone: {reason}")
    if done.left or done.unread or done.kept:
        raise typer.Exit(exits.PARTLY)
    if not done.removed:
        console.print(
            f"{output} holds no results of {done.recording}; {done.searched} files were searched; what a "
            "killed run has left in a folder NAME, which a table gave, is removed by "
            f"affectstream purge NAME --output {output}"
        )
        raise typer.Exit(exits.NOTHING)
    count = "1 file" if len(done.removed) == 1 else f"{len(done.removed)} files"
    console.print(f"{count} removed; none of the {done.searched} that stay names {done.recording}")


def _print_json(record: Any) -> None:
    import msgspec

    typer.echo(msgspec.json.format(msgspec.json.encode(record), indent=2).decode())
