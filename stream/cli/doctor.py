"""`affectstream doctor`."""

from __future__ import annotations

import typer

from affectstream.stream.cli.flags import BundleName


def doctor(
    bundle: BundleName = "pocket",
) -> None:
    """Check this machine: versions, media formats, devices, runtimes, the bundle and its licenses.

    Exits with code 3 if a check fails.

    Example: [bold]affectstream doctor[/bold]
    """
    from rich.console import Console
    from rich.markup import escape

    from affectstream.stream import exits
    from affectstream.stream.doctor import examine

    console = Console(highlight=False)
    failed = 0
    for finding in examine(bundle):
        mark = "[green]ok[/green]  " if finding.ok else "[red]FAIL[/red]"
        console.print(f"{mark} {finding.topic:9} {escape(finding.text)}", soft_wrap=True)
        failed += not finding.ok
    raise typer.Exit(exits.PARTLY if failed else exits.DONE)
