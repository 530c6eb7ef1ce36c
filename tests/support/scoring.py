"""The command line in a process of its own, and the events of a result."""

import subprocess
import sys


def run(*arguments, **options):
    """Run `affectstream` with `arguments`; `options` are those of `subprocess.run`."""
    code = "from affectstream.stream.cli import main; main()"
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        **options,
    )


def events_of(result, kind):
    """The events of one type."""
    return [event for event in result.events if event.type == kind]
