"""Running the command line inside a test."""

from affectstream.stream.cli import main


def run_command(*arguments):
    """The exit code of a command; 0 where it just returns."""
    try:
        main([str(argument) for argument in arguments])
    except SystemExit as exit_:
        return exit_.code or 0
    return 0
