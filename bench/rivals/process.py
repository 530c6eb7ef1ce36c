"""A rival in a process of its own, which makes one pass over the recording each time it is asked."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryFile
from threading import Timer
from typing import IO, Any

from affectstream.bench.rivals import worker
from affectstream.bench.rivals.rival import Rival

PASS_S = 600.0
"""A rival that takes longer for one pass is stopped."""
_PYTHON = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")


class RivalFailed(Exception):
    """The process of a rival ended or reported an error, with the reason."""


@dataclass(frozen=True, slots=True)
class Pass:
    """The cost of one pass over the recording, and what it found."""

    wall_s: float
    cpu_s: float
    peak_mb: float
    frames: int
    """Pictures that were decoded."""
    looks: int
    """Pictures in which faces were looked for."""
    faces: int
    """Faces that were found, over all looks."""


@dataclass(slots=True)
class RivalProcess:
    """A running worker; `versions` are those of the packages that it was asked for."""

    versions: dict[str, str] = field(default_factory=dict)
    _process: subprocess.Popen[str] | None = None
    _log: IO[bytes] | None = None

    def run(self) -> Pass:
        """One pass. Raises `RivalFailed`."""
        assert self._process is not None and self._process.stdin is not None
        try:
            self._process.stdin.write("\n")
            self._process.stdin.flush()
        except OSError:
            pass  # the answer says why
        return Pass(**self._answer())

    def _answer(self) -> dict[str, Any]:
        assert self._process is not None and self._process.stdout is not None
        began = time.monotonic()
        watchdog = Timer(PASS_S, self._process.kill)
        watchdog.start()
        line = self._process.stdout.readline()
        watchdog.cancel()
        if not line:
            if time.monotonic() - began >= PASS_S:
                raise RivalFailed(f"one pass took more than {PASS_S:g} s")
            raise RivalFailed(f"its process ended: {self._last_line()}")
        answer: dict[str, Any] = json.loads(line)
        if "failed" in answer:
            raise RivalFailed(answer["failed"])
        return answer

    def _last_line(self) -> str:
        assert self._log is not None
        self._log.seek(0)
        lines = self._log.read().decode("utf-8", "replace").strip().splitlines()
        return lines[-1][:300] if lines else "it printed no message"


@contextmanager
def running(
    rival: Rival, python: Path, clip: Path, bundle: str, hz: float
) -> Iterator[RivalProcess]:
    """Start `rival` and make its first pass, which does not count. Raises `RivalFailed`."""
    command = [str(python), worker.__file__, str(rival.file), str(clip), bundle, str(hz)]
    own = {name: value for name, value in os.environ.items() if name not in _PYTHON}
    environment = own if rival.requirements else dict(os.environ)
    with TemporaryFile() as log:
        try:
            process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env=environment,
            )
        except OSError as error:
            raise RivalFailed(f"{python}: {error.strerror}") from None
        with process:
            try:
                found = RivalProcess(_process=process, _log=log)
                found.versions = found._answer()["versions"]
                yield found
            finally:
                process.kill()
