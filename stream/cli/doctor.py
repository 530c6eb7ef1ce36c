"""`affectstream doctor`."""

from __future__ import annotations

from typing import Annotated

import typer


def doctor(
    bundle: Annotated[
        str, typer.Option(help="Recognizer to check: 'pocket', or a folder.")
    ] = "pocket",
) -> None:
    """Report versions, media support, devices, runtimes, the bundle and its licences.

    Leaves with 3 when something has to be mended.

    Example: [bold]affectstream doctor[/bold]
    """
    from rich.console import Console
    from rich.markup import escape

    from affectstream.stream import exits
    from affectstream.stream.doctor import examine

    console = Console(highlight=False)
    broken = 0
    for finding in examine(bundle):
        mark = "[green]ok[/green]  " if finding.ok else "[red]MEND[/red]"
        console.print(f"{mark} {finding.topic:9} {escape(finding.text)}", soft_wrap=True)
        broken += not finding.ok
    raise typer.Exit(exits.PARTLY if broken else exits.DONE)
