"""The Python that a rival runs in: ours, one that the user names, or an environment made here with pip."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from affectstream.bench.rivals.rival import Rival

_DONE = "affectstream-requirements.txt"
"""Written into an environment once everything is installed."""


class NotInstalled(Exception):
    """A rival cannot be run here, with the reason."""


def find_python(rival: Rival, given: Mapping[str, Path], folder: Path | None) -> Path:
    """The Python for `rival`: `given` by name, our own, or that of `folder`/NAME, installed if need be.

    Raises `NotInstalled`.
    """
    if rival.name in given:
        return given[rival.name]
    if not rival.requirements:
        return Path(sys.executable)
    if rival.needs:
        raise NotInstalled(
            f"it needs {rival.needs}: give the Python of an environment that has them, "
            f"with --python {rival.name}=PATH"
        )
    if folder is None:
        packages = " ".join(rival.requirements)
        raise NotInstalled(f"give --environments FOLDER: it installs {packages} there")
    return _install(rival, folder / rival.name)


def _install(rival: Rival, environment: Path) -> Path:
    python, done = environment / "bin" / "python", environment / _DONE
    wanted = "\n".join(rival.requirements) + "\n"
    if python.exists() and done.is_file() and done.read_text() == wanted:
        return python
    print(f"installing {' '.join(rival.requirements)} in {environment} ...", file=sys.stderr)
    _call(sys.executable, "-m", "venv", "--clear", str(environment))
    _call(str(python), "-m", "pip", "install", "--no-input", "--quiet", *rival.requirements)
    done.write_text(wanted)
    return python


def _call(*command: str) -> None:
    """Raises `NotInstalled` with the last error that the command prints: the shortest of pip's."""
    found = subprocess.run(command, capture_output=True, text=True)
    if found.returncode:
        lines = (found.stderr + found.stdout).splitlines()
        errors = [line for line in lines if line.startswith("ERROR")] or lines[-1:]
        reason = errors[-1] if errors else f"exit code {found.returncode}"
        raise NotInstalled(f"{Path(command[0]).name} {' '.join(command[1:4])}: {reason}"[:400])
