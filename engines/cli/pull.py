"""`affectstream engines pull`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from affectstream.engines.models.registry import PublicFile


def pull(
    name: Annotated[
        str | None, typer.Argument(help="A model of the registry, such as yunet.")
    ] = None,
    show: Annotated[bool, typer.Option("--list", help="Show the registry.")] = False,
    folder: Annotated[
        Path | None,
        typer.Option(
            "--from",
            help="Copy the files from this folder instead of downloading them; its models.toml may "
            "describe your own models.",
            show_default=False,
        ),
    ] = None,
    into: Annotated[
        Path | None,
        typer.Option(
            help="Put the model into this bundle. A missing folder is created as a copy of --bundle.",
            show_default=False,
        ),
    ] = None,
    bundle: Annotated[str, typer.Option(help="The bundle that --into copies.")] = "pocket",
) -> None:
    """Fetch a public model, check its SHA-256, and put it into a bundle.

    Example: [bold]affectstream engines pull yunet --into my-bundle[/bold]
    """
    from affectstream.engines.models.registry import model

    if show or name is None:
        return _list(folder)
    chosen = model(name, folder)
    for file in chosen.files:
        typer.echo(f"{name}: {_fetch(name, file, folder)}")
    if into is not None:
        from affectstream.engines.bundle.swap import swap_model
        from affectstream.engines.bundle.training import training_parts

        manifest = swap_model(into, name, chosen, bundle)
        if parts := training_parts(into, manifest):
            typer.echo(f"{into}: training/ still has {'; '.join(map(str, parts))}")
        path = into if into.is_absolute() else f"./{into}"
        typer.echo(f"{into}: {chosen.role} is {name}; use it with --bundle {path}")


def _list(folder: Path | None) -> None:
    from affectstream.engines.models.registry import models

    for name, model in models(folder).items():
        state = "pulled" if all(file.path.is_file() for file in model.files) else "not pulled"
        typer.echo(f"{name}  [{state}]\n    {model.summary}")
        typer.echo(f"    {model.role}, license: {model.licence}")
        for file in model.files:
            typer.echo(f"    {file.url}, {file.size:,} bytes\n    SHA-256 {file.sha256}")


def _fetch(name: str, model: PublicFile, folder: Path | None) -> Path:
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn

    from affectstream.engines.models.pull import pull_file

    console = Console(stderr=True)
    columns = ("{task.description}", BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(
        *columns, console=console, disable=not console.is_terminal, transient=True
    ) as bar:
        task = bar.add_task(name, total=model.size)
        return pull_file(
            name, model, folder=folder, progress=lambda done: bar.update(task, completed=done)
        )
