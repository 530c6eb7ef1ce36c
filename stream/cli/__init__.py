"""The command line: `affectstream COMMAND`.

Each command is an entry point of the group ``affectstream.commands``, a function or a `typer.Typer`,
so that another package can add one. Only the command in use is loaded (all of them for ``--help``).

Nothing is imported up here that takes time: `main` has to be in charge when Ctrl-C comes early.
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
    """Run the command line and leave with one of the exit codes in `exits`."""
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
            sys.stdout.flush()  # while an error can still be told
    except ReaderGone:
        raise SystemExit(exits.DONE) from None
    except UsageError as error:
        _leave(str(error), exits.USAGE)
    except AffectstreamError as error:
        _leave(str(error), exits.NOTHING)
    except ModuleNotFoundError as error:
        hint = module_hint(error.name or "")
        if hint is None:
            raise
        _leave(f"this needs {error.name!r}: {hint}", exits.USAGE)
    except KeyboardInterrupt:
        _leave("interrupted", exits.INTERRUPTED)


def _interrupt(number: int, frame: FrameType | None) -> None:
    """Ctrl-C. In the middle of an import the exception would be lost, or turned into another one by
    a library that is half loaded; nothing worth keeping has been begun then, so leave at once."""
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            os.write(2, b"error: interrupted\n")
            os._exit(130)
        frame = frame.f_back
    raise KeyboardInterrupt


def _run(arguments: list[str]) -> None:
    from importlib.metadata import entry_points

    commands = {point.name: point for point in entry_points(group=GROUP)}
    used = (
        [commands[arguments[0]]]
        if arguments[:1] and arguments[0] in commands
        else commands.values()
    )
    _application(sorted(used, key=lambda point: point.name))(arguments)


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
    shown = typer.Option(
        False, "--version", callback=_version, is_eager=True, help="Show the version and exit."
    )

    def root(version: bool = shown) -> None:
        """Emotion and attention from video, voice and words, with the time of each."""

    application.callback()(root)
    for point in points:
        loaded = point.load()
        if isinstance(loaded, typer.Typer):
            for command in loaded.registered_commands:
                command.help = _flowing(command.help or command.callback.__doc__)
            application.add_typer(loaded, name=point.name)
        else:
            application.command(point.name, help=_flowing(loaded.__doc__))(loaded)
    return application


def _flowing(text: str | None) -> str:
    """`text` with each paragraph on one line: typer would show the docstring's own line breaks."""
    import inspect

    paragraphs = inspect.cleandoc(text or "").split("\n\n")
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)


def _version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        print("affectstream", version("affectstream"))
        raise SystemExit(0)


def _leave(message: str, code: int) -> None:
    print(f"error: {message}", file=sys.stderr)
    raise SystemExit(code)
