"""One live session of the command line: dashboard or JSON Lines, sinks, signals, a quick end."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import FrameType
from typing import BinaryIO

from rich.console import Console, RenderableType
from rich.live import Live

from affectstream.stream import exits
from affectstream.stream.cli.dashboard import Dashboard
from affectstream.stream.errors import OptionError
from affectstream.stream.events import Event, Stream
from affectstream.stream.live.callbacks import Callbacks
from affectstream.stream.live.sink_thread import SinkThread, Unbuffered
from affectstream.stream.live.source import LiveOptions, LiveSource
from affectstream.stream.live.words.dictation import LiveWords
from affectstream.stream.media.types import Cue
from affectstream.stream.offline.output import OutputFolder, live_folder_name
from affectstream.stream.options import SourceOptions
from affectstream.stream.recognizer import Recognizer
from affectstream.stream.results.interpret import HopResult
from affectstream.stream.sinks import Format
from affectstream.stream.sinks.jsonl import JsonlStream
from affectstream.stream.sinks.lsl import LslOutlets
from affectstream.stream.words.opening import open_recognizer

END_S, CLOSE_S = 2.0, 1.2
"""The time for the whole end, and of it for closing the session; the sinks have the rest."""
_DISCARD_S = 0.1
"""How long to wait for unfinished files to be removed: on storage that is stuck they stay."""
_POLL_S = 0.1


@dataclass(frozen=True, slots=True)
class LiveJob:
    """What to watch and where to write. Without `output` events go to stdout, as JSON Lines or, on a
    terminal, as a dashboard. With `duration_s` None it runs until the source ends or Ctrl-C. `lsl` names
    the outlets of the Lab Streaming Layer, `words` a speech recognizer (`open_recognizer`), which
    downloads its model with `words_download`; None turns them off. Raises `OptionError` for a duration of
    0 or less."""

    live: LiveOptions
    options: SourceOptions
    bundle: str
    device: str
    output: Path | None
    formats: Sequence[Format]
    duration_s: float | None
    lsl: str | None = None
    words: str | None = None
    words_download: bool = False

    def __post_init__(self) -> None:
        if self.duration_s is not None and self.duration_s <= 0:
            raise OptionError(f"--duration {self.duration_s:g}: expected more than 0 seconds")

    @property
    def inputs(self) -> list[Path]:
        """The files that are read, as far as the options name them."""
        source = () if self.live.source is None else (Path(self.live.source),)
        return [*source, *filter(None, (self.options.transcript,))]


def run_live(job: LiveJob, stdout: BinaryIO, screen: Console, log: Console | None = None) -> int:
    """Watch until the end and return the exit code. `screen` shows the dashboard where it is a terminal;
    messages go to `log` (stderr)."""
    log = log or Console(stderr=True, markup=False, highlight=False, soft_wrap=True)
    with Recognizer.open(job.bundle, device=job.device) as recognizer:
        watch = _Watch(job, recognizer, stdout, screen, log)
        # Only now: opening may take minutes (a plan, a model), and Ctrl-C must end it at once.
        with _signals() as stop, watch.on_screen():
            code = watch.run(stop)
        watch.report()
        return code


class _Watch:
    """One run: the source and its sinks."""

    def __init__(
        self,
        job: LiveJob,
        recognizer: Recognizer,
        stdout: BinaryIO,
        screen: Console,
        log: Console,
    ) -> None:
        self._job, self._log = job, log
        self._dashboard: Dashboard | None = None
        self._source = LiveSource(
            recognizer,
            job.live,
            Callbacks(event=self._emit, hop=self._hop, words=self._show_words),
            options=job.options,
            words=_open_words(job, recognizer),
        )
        self._screen = screen
        if screen.is_terminal:
            self._dashboard = Dashboard(self._source.name)
        self._lsl: LslOutlets | None = None
        if job.lsl is not None:
            self._lsl = LslOutlets(job.lsl, recognizer.bundle)
            log.print(self._lsl.note)
        self._folder: OutputFolder | None = None
        self._sink: SinkThread | None = None
        if job.output is not None:
            folder = job.output / live_folder_name(self._source.name, job.live.source)
            self._folder = OutputFolder(
                folder,
                job.formats,
                recognizer,
                self._source.name,
                job.options,
                inputs=job.inputs,
            )
            self._sink = SinkThread(self._folder, self._end_us)
        elif self._dashboard is None:
            self._sink = SinkThread(JsonlStream(Unbuffered(stdout)), self._end_us)
        self._ended: Stream | None = None
        self._unfinished = False

    @contextmanager
    def on_screen(self) -> Iterator[None]:
        """Show the dashboard, if there is one."""
        if self._dashboard is None:
            yield
            return
        with Live(get_renderable=self._render, console=self._screen, refresh_per_second=8):
            yield

    def run(self, stop: _Stop) -> int:
        """Watch until the source ends, the time is over, or `stop` is set; returns the exit code."""
        try:
            if self._job.live.listen:
                self._log.print(f"{self._source.name}: waiting for a publisher; Ctrl-C ends it")
            self._source.open(stop)
            self._wait(stop)
        except BaseException:
            self._close()
            raise
        self._close()
        if self._sink is not None and self._sink.error is not None:
            raise self._sink.error
        if stop.number == signal.SIGINT:
            return exits.INTERRUPTED
        whole = self._source.failure is None and not self._unfinished
        return exits.DONE if whole else exits.PARTLY

    def report(self) -> None:
        """Write to stderr what was delivered."""
        counts = {} if self._ended is None else self._ended.counts
        parts = [f"{self._source.name}: ended"]
        if self._ended is not None:
            parts[0] += f" at {self._ended.t_end:.1f} s"
            parts.append(f"{counts['frames']} pictures, {counts['used']} analyzed")
            parts.append(f"{counts['dropped']} dropped")
        if self._sink is not None:
            parts.append(f"{self._sink.delivered} events delivered")
            if self._sink.lost:
                parts.append(f"{self._sink.lost} events lost: their reader is stuck")
        if self._folder is not None and self._unfinished:
            parts.append(f"{self._folder.folder} is incomplete: its storage does not answer")
        if self._source.abandoned:
            parts.append(f"{self._source.abandoned} threads abandoned in FFmpeg")
        if self._source.failure is not None:
            parts.append(self._source.failure)
        if self._lsl is not None and self._lsl.missing:
            parts.append(f"{self._lsl.missing} hops missing in LSL, {self._lsl.late} of them late")
        self._log.print("; ".join(parts))

    def _wait(self, stop: threading.Event) -> None:
        began_s, duration_s = time.monotonic(), self._job.duration_s
        while not stop.is_set() and not self._source.wait(_POLL_S):
            if duration_s is not None and time.monotonic() - began_s >= duration_s:
                return
            if self._sink is not None and self._sink.error is not None:
                raise self._sink.error

    def _close(self) -> None:
        until_s = time.monotonic() + END_S
        try:
            self._ended = self._source.close(timeout_s=CLOSE_S)
        finally:
            if self._lsl is not None:
                self._lsl.close()
        if self._sink is None:
            return
        folder, ended = self._folder, self._ended
        commit = None
        if folder is not None and ended is not None:
            commit = partial(folder.commit, self._source.name, ended)
        left_s = max(_DISCARD_S, until_s - time.monotonic() - _DISCARD_S)
        self._unfinished = not self._sink.finish(left_s, commit)
        if folder is not None and (self._unfinished or ended is None):
            # Storage that does not answer holds up the removal of files too.
            remover = threading.Thread(target=folder.discard, name="discard", daemon=True)
            remover.start()
            remover.join(_DISCARD_S)

    def _emit(self, event: Event) -> None:
        if self._dashboard is not None:
            self._dashboard.push(event)
        elif isinstance(event, Stream) and event.what in ("warning", "reconnected"):
            self._log.print(f"{event.what}: {event.detail}")
        if self._sink is not None:
            self._sink.put(HopResult((), (event,)))
        if self._lsl is not None:
            self._lsl.mark(event, self._source.session.zero_s)

    def _hop(self, hop: HopResult) -> None:
        if self._sink is not None and hop.readings:
            self._sink.put(HopResult(hop.readings, ()))
        if self._lsl is not None:
            self._lsl.push(hop, self._source.session.zero_s)

    def _show_words(self, cue: Cue) -> None:
        if self._dashboard is not None:
            self._dashboard.push_words(cue)

    def _end_us(self) -> int:
        return self._source.position_us

    def _render(self) -> RenderableType:
        assert self._dashboard is not None
        return self._dashboard.render(self._source.stats)


def _open_words(job: LiveJob, recognizer: Recognizer) -> LiveWords | None:
    """The speech recognizer of the options."""
    if job.words is None:
        return None
    opened = open_recognizer(job.words, language=job.options.language, download=job.words_download)
    return LiveWords(opened, recognizer.bundle)


class _Stop(threading.Event):
    """Set by a signal; `number` is that of the first."""

    number: int | None = None


@contextmanager
def _signals() -> Iterator[_Stop]:
    """Sets the event on Ctrl-C or SIGTERM. Further signals do nothing: the end is on its way."""
    stop = _Stop()

    def first(number: int, frame: FrameType | None) -> None:
        stop.number = stop.number or number
        stop.set()

    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, first) for number in numbers]
    try:
        yield stop
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)
