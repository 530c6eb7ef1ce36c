"""The command line: `affectstream COMMAND`.

Each command is an entry point of the group ``affectstream.commands``: a function or a `typer.Typer`. Another
package can add one. Only the command in use is loaded, for ``--help`` all of them.

This module imports nothing slow at the top, so that `main` can handle an early Ctrl-C.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from importlib.metadata import EntryPoint
    from types import FrameType

    import typer

GROUP = "affectstream.commands"


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line and exit with one of the codes in `exits`."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, _interrupt)
    from affectstream.engines.extras import module_hint
    from affectstream.stream import exits
    from affectstream.stream.errors import AffectstreamError, UsageError
    from affectstream.stream.stdout import ReaderGone, guard_stdout

    try:
        guard_stdout()
        try:
            _run(list(sys.argv[1:] if argv is None else argv))
        finally:
            sys.stdout.flush()  # here an error can still be reported
    except ReaderGone:
        raise SystemExit(exits.DONE) from None
    except UsageError as error:
        _fail(str(error), exits.USAGE)
    except AffectstreamError as error:
        _fail(str(error), exits.NOTHING)
    except ModuleNotFoundError as error:
        hint = module_hint(error.name or "")
        if hint is None:
            raise
        _fail(f"this needs {error.name!r}: {hint}", exits.USAGE)
    except KeyboardInterrupt:
        _fail("interrupted", exits.INTERRUPTED)


def _interrupt(number: int, frame: FrameType | None) -> None:
    """Handle Ctrl-C. During an import the exception could get lost, or a half-loaded library could turn it
    into another one; no work has begun then, so exit at once."""
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            os.write(2, b"error: interrupted\n")
            os._exit(130)
        frame = frame.f_back
    raise KeyboardInterrupt


def _run(arguments: list[str]) -> None:
    from importlib.metadata import entry_points

    commands = {point.name: point for point in entry_points(group=GROUP)}
    named = commands.get(arguments[0]) if arguments else None
    points = sorted(commands.values(), key=lambda point: point.name) if named is None else [named]
    _application(points)(arguments)


def _application(points: Sequence[EntryPoint]) -> typer.Typer:
    import typer

    application = typer.Typer(
        name="affectstream",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode="rich",
        context_settings={"help_option_names": ["-h", "--help"]},
        epilog="Start with: [bold]affectstream demo[/bold]",
    )
    version_option = typer.Option(
        False, "--version", callback=_version, is_eager=True, help="Show the version and exit."
    )

    def root(version: bool = version_option) -> None:
        """Recognize emotion and attention in video, voice and words, with timestamps."""

    application.callback()(root)
    for point in points:
        loaded = point.load()
        if isinstance(loaded, typer.Typer):
            for command in loaded.registered_commands:
                command.help = _unwrapped(command.help or command.callback.__doc__)
            application.add_typer(loaded, name=point.name)
        else:
            application.command(point.name, help=_unwrapped(loaded.__doc__))(loaded)
    return application


def _unwrapped(text: str | None) -> str:
    """`text` with each paragraph on one line; typer would keep the line breaks of a docstring."""
    import inspect

    paragraphs = inspect.cleandoc(text or "").split("\n\n")
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)


def _version(requested: bool) -> None:
    if requested:
        from importlib.metadata import version

        print("affectstream", version("affectstream"))
        raise SystemExit(0)


def _fail(message: str, code: int) -> None:
    print(f"error: {message}", file=sys.stderr)
    raise SystemExit(code)
