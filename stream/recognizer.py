"""The Python API: open a recognizer, follow a source, or score a whole recording."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Self

import cv2
import pyarrow as pa

from affectstream.engines.bundle import Bundle
from affectstream.engines.choose import Choice, choose
from affectstream.stream.decode import Recording
from affectstream.stream.events import Event, Stream
from affectstream.stream.interpret import Hop, Interpreter, seconds
from affectstream.stream.options import SourceOptions
from affectstream.stream.pipeline import Pipeline
from affectstream.stream.readings import table
from affectstream.stream.words import (
    Transcript,
    embedded_transcript,
    find_transcript,
    read_transcript,
)

_AHEAD = 64
"""Events that may wait for a slow consumer of `follow`."""


@dataclass(frozen=True, slots=True)
class Result:
    """A scored recording. `readings` has one row for each track and hop (see `docs/events.md`)."""

    events: tuple[Event, ...]
    readings: pa.Table
    complete: bool
    """Whether the recording was read up to its end."""
    detail: str | None
    """What went wrong on the way, where something did."""


class Recognizer:
    """An open bundle, ready for any number of sources.

    Use it with ``with``. Scoring from several threads at once is fine: engines are shared.
    """

    def __init__(self, bundle: Bundle, choice: Choice, threads: int) -> None:
        self.bundle = bundle
        self.choice = choice
        self.threads = threads

    @classmethod
    def open(
        cls, bundle: str | Path = "pocket", *, device: str = "auto", threads: int | None = None
    ) -> Recognizer:
        """Open `bundle` (``pocket`` or a folder) on `device` (``auto``, ``cpu``, ``cuda:0``).

        `threads` is how many batches are perceived side by side, the number of cores unless given.
        Raises `BundleError`, `EngineError` or `DeviceError`, naming the fault.
        """
        if threads is not None and threads < 1:
            raise ValueError(f"threads must be at least 1, found {threads}")
        choice = choose(device)
        # OpenCV would split each small picture over all cores, where batches already run side by
        # side: a tenth more processor time for nothing. The setting is the whole process's.
        cv2.setNumThreads(1)
        opened = Bundle.open(bundle, device=choice.device)
        return cls(opened, choice, threads or os.cpu_count() or 1)

    def session(self, path: str | Path, options: SourceOptions | None = None) -> Session:
        """Open one recording; see `Session`. Raises `SourceError` when it cannot be used."""
        return Session(self, Path(path), options or SourceOptions())

    async def follow(
        self, path: str | Path, options: SourceOptions | None = None
    ) -> AsyncIterator[Event]:
        """Events of a recording as they come, without blocking the loop.

        The recording waits for a slow consumer. Leaving the loop stops every thread.
        """
        loop = asyncio.get_running_loop()
        events: asyncio.Queue[Event | BaseException | None] = asyncio.Queue(_AHEAD)
        left = threading.Event()

        def work() -> None:
            try:
                with self.session(path, options) as session:
                    for hop in session:
                        for event in hop.events:
                            if left.is_set():
                                return
                            asyncio.run_coroutine_threadsafe(events.put(event), loop).result()
                final: BaseException | None = None
            except BaseException as error:  # raised again in the consumer's task
                final = error
            if not left.is_set():
                asyncio.run_coroutine_threadsafe(events.put(final), loop).result()

        thread = threading.Thread(target=work, name="follow", daemon=True)
        thread.start()
        try:
            while (event := await events.get()) is not None:
                if isinstance(event, BaseException):
                    raise event
                yield event
        finally:
            left.set()
            while thread.is_alive():  # let a blocked put through, so that the thread can leave
                while not events.empty():
                    events.get_nowait()
                await asyncio.sleep(0.01)

    def score(self, path: str | Path, options: SourceOptions | None = None) -> Result:
        """Score a whole recording. Raises `SourceError` when nothing of it can be used."""
        with self.session(path, options) as session:
            hops = list(session)
        last = session.ended
        return Result(
            events=tuple(event for hop in hops for event in hop.events),
            readings=table(self.bundle.manifest.labels, hops, session.end_us),
            complete=bool(last is None or last.complete),
            detail=None if last is None else last.detail,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.bundle.__exit__(kind, error, trace)


class Session:
    """One recording on its way through a recognizer: iterate once to get its hops.

    The first hop holds the `started` event, the last the `ended` one with every count.
    """

    def __init__(self, recognizer: Recognizer, path: Path, options: SourceOptions) -> None:
        self.name = path.name
        self._options = options
        self._bundle = recognizer.bundle
        self._recording = Recording.open(
            path,
            audio_track=options.audio_track,
            start_us=options.start_us,
            end_us=options.end_us,
            stereo=options.assignment.channels is not None,
        )
        self.info = self._recording.info
        self.ended: Stream | None = None
        self._transcript = self._words(path)
        self.modalities = self._modalities()
        interpreter = Interpreter(self._bundle, self.name, self._with_language(), self.modalities)
        if self._transcript is not None:
            for cue in self._transcript.cues:
                interpreter.read(cue)
        self._pipeline = Pipeline(self._bundle, self._recording, interpreter, recognizer.threads)

    @property
    def end_us(self) -> int:
        """Where the recording ends, as far as is known by now."""
        return self._recording.end_us

    def __iter__(self) -> Iterator[Hop]:
        yield Hop((), tuple(self._started()))
        yield from self._pipeline
        self.ended = self._end_event()
        yield Hop((), (self.ended,))

    def interrupted(self) -> Stream:
        """The `ended` event of a session that was left early."""
        return self._end_event("interrupted: what was done until then is here")

    def _words(self, path: Path) -> Transcript | None:
        if "text" not in self._bundle.modalities:
            return None
        if self._options.transcript is not None:
            return read_transcript(self._options.transcript)
        beside = find_transcript(path)
        if beside is not None:
            return read_transcript(beside)
        return embedded_transcript(path) if self.info.subtitles else None

    def _with_language(self) -> SourceOptions:
        if self._options.language is None and self._transcript is not None:
            return replace(self._options, language=self._transcript.language)
        return self._options

    def _modalities(self) -> tuple[str, ...]:
        have = {
            "video": self.info.video is not None,
            "voice": bool(self.info.audio),
            "text": self._transcript is not None,
        }
        return tuple(m for m in self._bundle.modalities if have[m])

    def _started(self) -> Iterator[Event]:
        start = seconds(self._options.start_us or 0)

        def stream(what: str, detail: str | None) -> Stream:
            return Stream(
                stream=self.name,
                t_start=start,
                t_end=start,
                modalities=self.modalities,  # type: ignore[arg-type]
                what=what,  # type: ignore[arg-type]
                detail=detail,
            )

        yield stream("started", None)
        for warning in self.info.skipped:
            yield stream("warning", warning)

    def _end_event(self, detail: str | None = None) -> Stream:
        faults = self._recording.faults
        detail = detail or faults.ended_early
        return Stream(
            stream=self.name,
            t_start=seconds(self._options.start_us or 0),
            t_end=seconds(self.end_us),
            modalities=self.modalities,  # type: ignore[arg-type]
            what="ended",
            detail=detail,
            complete=detail is None,
            counts=self._recording.counts(),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._recording.close()
