"""The parent of the workers: accepts connections, hands them out, starts workers again, ends them all."""

from __future__ import annotations

import logging
import os
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from multiprocessing.connection import Connection
from pathlib import Path
from types import FrameType

from affectstream.stream.errors import AffectstreamError, OptionError
from affectstream.stream.exits import INTERRUPTED, describe_status
from affectstream.stream.serve import worker_process
from affectstream.stream.serve.http.accepting import BACKLOG, reserve_descriptors
from affectstream.stream.serve.hub import Totals
from affectstream.stream.serve.options import ServeOptions, check_certificate
from affectstream.stream.serve.record import check_folder
from affectstream.stream.serve.server import SAME_SIGNAL_S, address_of, listen
from affectstream.stream.serve.worker_process import Ready, Report, Settings
from affectstream.stream.serve.workers.board import Board, divide
from affectstream.stream.serve.workers.handing import hand_over
from affectstream.stream.serve.workers.lost import end_recordings

_log = logging.getLogger(__name__)

_END_S = 1.9
"""What the workers have to end; then they are killed. Their own limit is 1.7 s."""
_RESTART_AFTER_S = (0.0, 0.0, 1.0, 2.0, 5.0, 10.0, 30.0)
"""How long to wait before a worker starts again, by how often in a row it lived less than `_STABLE_S`."""
_STABLE_S = 60.0
_RECENT_S = 0.5
"""A connection that was handed over this recently counts as a session: it may be about to open one."""
_POLL_S = 0.5
_RETRY_S = 0.02
"""When to try again to hand over connections that no worker takes."""
_DESCRIPTORS = 256
_PROGRAM = f"from {worker_process.__name__} import run; run()"


class _Worker:
    """One place for a worker, and the process that fills it, if it runs."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.process: subprocess.Popen[bytes] | None = None
        self.control: Connection | None = None
        self.channel: socket.socket | None = None
        self.totals: Totals | None = None
        self.error: Exception | None = None
        self.is_ready = False
        self.started_s = 0.0
        self.start_at_s = 0.0
        self.failures = 0
        """How many times in a row it lived only shortly."""
        self.handed_s: deque[float] = deque()
        """When connections were handed to it."""

    def start(self, settings: Settings) -> None:
        """Start the process."""
        self.totals, self.error, self.is_ready = None, None, False
        self.started_s = time.monotonic()
        ours, theirs = socket.socketpair()
        channel, their_channel = socket.socketpair()
        with theirs, their_channel:
            descriptors = theirs.fileno(), their_channel.fileno()
            self.process = subprocess.Popen(
                [sys.executable, "-c", _PROGRAM, *map(str, descriptors)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=descriptors,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            )
        channel.setblocking(False)
        self.control, self.channel = Connection(ours.detach()), channel
        with suppress(OSError):  # its death is noticed where reports are read
            self.control.send(settings)

    def receive(self) -> bool:
        """Read one report. Returns False once the process has closed its connection."""
        assert self.control is not None
        try:
            report: Report = self.control.recv()
        except (EOFError, OSError):
            return False
        match report:
            case Ready():
                self.is_ready = True
            case Totals():
                self.totals = report
            case _:
                self.error = report
        return True

    def send_signal(self, number: int) -> None:
        """Send a signal, if the process runs."""
        if self.process is not None:
            self.process.send_signal(number)

    def end(self, until_s: float = 0.0) -> int:
        """Wait for the process until `until_s`, kill it then, and return its exit status."""
        assert self.process is not None and self.control is not None and self.channel is not None
        try:
            status = self.process.wait(max(0.0, until_s - time.monotonic()))
        except subprocess.TimeoutExpired:
            self.process.kill()
            status = self.process.wait()
        while self.control.poll() and self.receive():
            pass
        self.control.close()
        self.channel.close()
        self.process = self.control = self.channel = None
        return status


class Supervisor:
    """Serves with several processes. Create it, then `run` it once."""

    def __init__(self, bundle: str, device: str, options: ServeOptions, workers: int) -> None:
        """Each worker opens `bundle` on `device` by itself.

        The sessions of `options` are divided among the workers. Raises `OptionError`.
        """
        if not 2 <= workers <= options.max_sessions:
            raise OptionError(
                f"--workers {workers}: expected 1 to {options.max_sessions}, the most sessions "
                "(--max-sessions), which the workers divide among them"
            )
        if not hasattr(socket, "send_fds") or not hasattr(socket, "AF_UNIX"):
            raise OptionError("--workers needs Linux or macOS, which can hand over connections")
        if options.tls is not None:
            check_certificate(*options.tls)
        if options.record is not None:
            check_folder(options.record)
        self._bundle, self._device, self._options = bundle, device, options
        self._shares = divide(options.max_sessions, workers)
        self._workers = [_Worker(number) for number in range(1, workers + 1)]
        self._waiting: deque[socket.socket] = deque()
        self._past = Totals(0, 0, 0, 0)
        self._wake, self._wake_sender = socket.socketpair()
        self._signalled_s = 0.0
        self._stopping = False
        self.signal: int | None = None
        """The signal that ended it, if one did."""

    @property
    def totals(self) -> Totals:
        """What the workers did that have ended properly. A worker that died takes its counts with it."""
        return self._past

    @property
    def pids(self) -> list[int | None]:
        """The process of each worker, None while it is being started again."""
        return [None if w.process is None else w.process.pid for w in self._workers]

    def stop(self) -> None:
        """End all workers; `run` returns then. Any thread may call it."""
        self._stopping = True
        with suppress(OSError):
            self._wake_sender.send(b"s")

    def run(self, announce: Callable[[str], None]) -> None:
        """Serve until a signal or `stop`. `announce` gets the address once all workers serve.

        Raises `OptionError` if the address cannot be used, and the error of a worker that cannot start:
        `AffectstreamError` where it did not say why.
        """
        reserve_descriptors(_DESCRIPTORS + 8 * len(self._workers))
        with ExitStack() as stack:
            stack.enter_context(self._signals())
            listener = stack.enter_context(listen(self._options))
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="affectstream-")))
            self._folder, self._board = (
                folder,
                Board(worker_process.board_path(folder), self._shares),
            )
            stack.callback(self._end_all)
            for worker in self._workers:
                self._start(worker)
            self._await_all(stack)
            if self._stopping:
                return
            listener.listen(BACKLOG)
            listener.setblocking(False)
            announce(address_of(listener, self._options.scheme))
            self._serve(listener)

    # --- Workers ---

    def _start(self, worker: _Worker) -> None:
        self._board.count_start(worker.number)
        worker.start(
            Settings(
                self._bundle,
                self._device,
                max(1, (os.cpu_count() or 1) // len(self._workers)),
                self._options,
                worker.number,
                self._folder,
                self._shares,
            )
        )

    def _await_all(self, stack: ExitStack) -> None:
        """Wait until every worker serves. Raises the error of one that does not."""
        with selectors.DefaultSelector() as selector:
            selector.register(self._wake, selectors.EVENT_READ)
            for worker in self._workers:
                assert worker.control is not None
                selector.register(worker.control, selectors.EVENT_READ, worker)
            while not self._stopping and not all(w.is_ready for w in self._workers):
                for key, _ in selector.select(_POLL_S):
                    if key.data is None:
                        self._wake.recv(64)
                        continue
                    if not key.data.receive():
                        selector.unregister(key.fileobj)
                        status = key.data.end(time.monotonic() + 1.0)
                        raise key.data.error or AffectstreamError(
                            f"worker {key.data.number} did not start ({describe_status(status)}); if "
                            "memory is short, use fewer --workers"
                        )
                    self._board.set_ready(key.data.number, key.data.is_ready)

    def _bury(self, worker: _Worker) -> None:
        """A worker has died: its sessions are lost, and it starts again."""
        state = self._board.state(worker.number)
        self._board.set_ready(worker.number, False)
        lived_s = time.monotonic() - worker.started_s
        why = describe_status(worker.end(time.monotonic() + 1.0))
        if worker.totals is not None:
            self._past = self._past + worker.totals
        worker.failures = 0 if lived_s > _STABLE_S else worker.failures + 1
        wait_s = _RESTART_AFTER_S[min(worker.failures, len(_RESTART_AFTER_S) - 1)]
        worker.start_at_s = time.monotonic() + wait_s
        cause = "" if worker.error is None else f": {worker.error}"
        again = f"in {wait_s:g} s" if wait_s else "now"
        _log.warning(
            "worker %d ended unexpectedly (%s)%s; %d sessions are lost; it starts again %s",
            worker.number, why, cause, state.sessions, again,
        )  # fmt: skip
        if self._options.record is not None:
            prefix = f"{worker.number}-{state.starts}-"
            reason = f"worker {worker.number} of the server ended unexpectedly ({why})"
            end_recordings(self._options.record, prefix, reason)

    def _end_all(self) -> None:
        """End every worker within the time that a shutdown may take."""
        until_s = time.monotonic() + _END_S
        for client in self._waiting:
            client.close()
        for worker in self._workers:
            self._board.set_ready(worker.number, False)
            worker.send_signal(signal.SIGTERM)
        for worker in self._workers:
            if worker.process is not None:
                worker.end(until_s)
                self._past = self._past + (worker.totals or Totals(0, 0, 0, 0))

    # --- Connections ---

    def _serve(self, listener: socket.socket) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(self._wake, selectors.EVENT_READ)
            selector.register(listener, selectors.EVENT_READ, listener)
            for worker in self._workers:
                assert worker.control is not None
                selector.register(worker.control, selectors.EVENT_READ, worker)
            while not self._stopping:
                for key, _ in selector.select(_RETRY_S if self._waiting else _POLL_S):
                    if key.data is listener:
                        self._accept(listener)
                    elif key.data is None:
                        self._wake.recv(64)
                    elif key.data.receive():
                        self._board.set_ready(key.data.number, key.data.is_ready)
                    else:
                        selector.unregister(key.fileobj)
                        if not self._stopping:
                            self._bury(key.data)
                self._hand_over()
                for worker in self._workers:
                    if worker.process is None and time.monotonic() >= worker.start_at_s:
                        self._start(worker)
                        assert worker.control is not None
                        selector.register(worker.control, selectors.EVENT_READ, worker)

    def _accept(self, listener: socket.socket) -> None:
        if len(self._waiting) >= _DESCRIPTORS // 2:
            time.sleep(_RETRY_S)  # more wait in the kernel
            return
        try:
            client, _ = listener.accept()
        except (BlockingIOError, ConnectionError):
            return
        except OSError as error:
            _log.error("cannot accept connections: %s", error.strerror)
            time.sleep(1.0)
            return
        self._waiting.append(client)

    def _hand_over(self) -> None:
        """Give each waiting connection to the worker with the fewest sessions that takes it."""
        while self._waiting:
            order = sorted((w for w in self._workers if w.is_ready), key=self._load)
            if not any(self._give(worker, self._waiting[0]) for worker in order):
                return
            self._waiting.popleft().close()

    def _give(self, worker: _Worker, client: socket.socket) -> bool:
        if worker.channel is None:
            return False
        try:
            if not hand_over(worker.channel, client):
                return False
        except OSError:  # it has just died
            return False
        worker.handed_s.append(time.monotonic())
        return True

    def _load(self, worker: _Worker) -> int:
        while worker.handed_s and time.monotonic() - worker.handed_s[0] > _RECENT_S:
            worker.handed_s.popleft()
        return self._board.state(worker.number).sessions + len(worker.handed_s)

    # --- Signals ---

    @contextmanager
    def _signals(self) -> Iterator[None]:
        """Ctrl-C and SIGTERM end the workers, a second signal kills them and ends the process at once."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {s: signal.signal(s, self._on_signal) for s in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        now_s = time.monotonic()
        if self.signal is None:
            self.signal, self._signalled_s = number, now_s
        elif now_s - self._signalled_s > SAME_SIGNAL_S:
            for worker in self._workers:
                worker.send_signal(signal.SIGKILL)
            os.write(2, b"error: interrupted\n")
            os._exit(INTERRUPTED)
        self.stop()
