"""`affectstream serve` in another process, for a measurement."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from tempfile import TemporaryFile
from typing import IO

from affectstream.stream.errors import SourceError


@dataclass(frozen=True, slots=True)
class ServerProcess:
    """A running server: its address, such as ``http://127.0.0.1:8765``, and its process id."""

    address: str
    pid: int
    _process: subprocess.Popen[str]
    _log: IO[bytes]

    def cpu_s(self) -> float:
        """Processor time used so far, in seconds of one core, over all threads and its running workers.

        Raises `SourceError` with its last message if the server has ended.
        """
        import psutil

        if self._process.poll() is not None:
            raise SourceError(f"the server has ended: {_last_line(self._log)}")
        parent = psutil.Process(self.pid)
        processes = [parent, *parent.children(recursive=True)]
        return sum(sum(process.cpu_times()[:2]) for process in processes)


@contextmanager
def serving(
    bundle: str, device: str, count: int, options: Sequence[str] = ()
) -> Iterator[ServerProcess]:
    """A server for `count` sessions on a free port, with more `options` of `affectstream serve`.

    Raises `SourceError` with its last message if it does not start.
    """
    code = "from affectstream.stream.cli import main; main()"
    given = ["--port", "0", "--bundle", bundle, "--device", device, "--max-sessions", str(count)]
    command = [sys.executable, "-c", code, "serve", *given, *options]
    with (
        TemporaryFile() as log,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True) as process,
    ):
        try:
            assert process.stdout is not None
            address = process.stdout.readline().strip()
            if not address:
                raise SourceError(f"the server did not start: {_last_line(log)}")
            yield ServerProcess(address, process.pid, process, log)
        finally:
            process.terminate()


def _last_line(log: IO[bytes]) -> str:
    """The last line of the log."""
    log.seek(0)
    lines = log.read().decode("utf-8", "replace").strip().splitlines()
    return lines[-1] if lines else "it printed no message"
