"""The Python API: open a recognizer, follow a source, or score a whole recording."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from affectstream.engines.daemon_executor import stop_at_exit
from affectstream.stream.errors import OptionError
from affectstream.stream.event_queue import EventQueue
from affectstream.stream.events import Event
from affectstream.stream.loaded import LoadedBundle
from affectstream.stream.media.content import Content, as_file, content_name
from affectstream.stream.offline.session import Session
from affectstream.stream.options import SourceOptions, parse_time
from affectstream.stream.ranges.opening import RangeOptions
from affectstream.stream.results.origin import Origin
from affectstream.stream.results.readings import table_rows, table_schema

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from affectstream.engines.labels import Modality
    from affectstream.stream.batch.run import BatchResult
    from affectstream.stream.explain.clip import ClipExplanation
    from affectstream.stream.explain.explanation import Detail, Explanation
    from affectstream.stream.live.source import LiveOptions
    from affectstream.stream.push import Policy, PushStream

_QUEUE_EVENTS = 64
"""Events that may wait for a slow consumer of `follow`."""
_LEAVE_S = 2.0
"""How long leaving `follow` waits for its thread before it is abandoned."""


@dataclass(frozen=True, slots=True)
class Result:
    """A scored recording. `readings` has one row for each track and hop (see `docs/reference/events.md`)."""

    events: tuple[Event, ...]
    readings: pa.Table
    complete: bool
    """Whether the recording was read up to its end."""
    detail: str | None
    """Why it is not complete."""


class Recognizer(LoadedBundle):
    """An open bundle, ready for any number of sources.

    Use it with ``with``. Several threads may score at the same time; they share the engines.
    """

    def session(
        self,
        source: str | Path | Content,
        options: SourceOptions | None = None,
        *,
        name: str | None = None,
        workers: int = 1,
    ) -> Session:
        """Open one recording or transcript; see `Session`. Use it with ``with``.

        `source` is a path, the bytes of a file, or a binary file object; bytes and what a file object holds
        from where it stands are copied to a temporary file until the session is closed. `name` is their file
        name: events name their stream by it, and a transcript must end in ``.srt`` or ``.vtt``. With two or
        more `workers`, so many processes share the pictures of a recording of 40 s or more; the results are
        the same. Raises `OptionError` for fewer than one worker, and `SourceError` if the source cannot be
        used.
        """
        options = options or SourceOptions()
        if workers < 1:
            raise OptionError(f"workers={workers}: expected 1 or more")
        ranges = RangeOptions(workers, self.choice.device)
        if isinstance(source, str | Path):
            if name is not None:
                raise OptionError(f"name={name!r}: {source} has its own name")
            return Session(self.bundle, Path(source), options, self.threads, ranges=ranges)
        with ExitStack() as copy:
            path = copy.enter_context(as_file(source, content_name(source, name)))
            return Session(self.bundle, path, options, self.threads, copy=copy, ranges=ranges)

    async def follow(
        self,
        source: str | Path | Content,
        options: SourceOptions | None = None,
        *,
        name: str | None = None,
    ) -> AsyncIterator[Event]:
        """Yield the events of a recording as they come, without blocking the event loop.

        `source` and `name` are those of `session`. Scoring waits for a slow consumer. Leaving the iteration
        stops all threads, within two seconds: one that is stuck in a decoder or an engine is abandoned.
        """
        events = EventQueue(_QUEUE_EVENTS)

        def work() -> None:
            error: BaseException | None = None
            try:
                with self.session(source, options, name=name) as session:
                    for hop in session:
                        if not all(events.put(event) for event in hop.events):
                            return
            except BaseException as raised:  # the consumer's task raises it
                error = raised
            finally:
                events.close(error)

        thread = threading.Thread(target=work, name="follow", daemon=True)
        stop_at_exit(thread, events.stop)
        thread.start()
        try:
            async for event in events:
                yield event
        finally:
            events.stop()
            until_s = time.monotonic() + _LEAVE_S
            while thread.is_alive() and time.monotonic() < until_s:
                await asyncio.sleep(0.01)

    def watch(
        self,
        source: str | LiveOptions,
        options: SourceOptions | None = None,
        *,
        duration_s: float | None = None,
    ) -> AsyncIterator[Event]:
        """Yield the events of a live source: a camera (``"0"``), a URL, or a file at its own speed.

        See `live.watch`.
        """
        from affectstream.stream.live.watch import watch

        return watch(self, source, options, duration_s=duration_s)

    def stream(
        self,
        *,
        policy: Policy,
        name: str = "stream",
        modalities: Sequence[Modality] | None = None,
        options: SourceOptions | None = None,
    ) -> PushStream:
        """Open a stream that the program pushes its own pictures, sound and words into; see `PushStream`.

        With the policy ``"all"`` every window is computed, as for a file, and a push waits while the machine
        is busy. With ``"newest"`` a push never waits: what the machine has no time for is dropped and
        counted, as for a camera. `name` is the `stream` of all events. `modalities` are those that will be
        pushed (``"video"``, ``"voice"``, ``"text"``; by default all that the bundle reads): a window waits
        for the pictures and the sound among them. Raises `OptionError` for options that do not fit.
        """
        from affectstream.stream.push import open_stream

        return open_stream(self, policy, name, modalities, options)

    def score(
        self,
        source: str | Path | Content,
        options: SourceOptions | None = None,
        *,
        name: str | None = None,
        workers: int = 1,
    ) -> Result:
        """Score a whole recording or transcript; `source`, `name` and `workers` are those of `session`.

        Raises `SourceError` if nothing of it can be used.
        """
        events: list[Event] = []
        readings: list[dict[str, Any]] = []
        with self.session(source, options, name=name, workers=workers) as session:
            origin = Origin.of(self.bundle, session.name, options or SourceOptions())
            for hop in session:
                events += hop.events
                readings += table_rows(origin, hop, session.results_end_us)
        last = session.ended
        schema = table_schema(origin.labels).with_metadata(origin.metadata)
        return Result(
            events=tuple(events),
            readings=pa.Table.from_pylist(readings, schema),
            complete=bool(last is None or last.complete),
            detail=None if last is None else last.detail,
        )

    def explain(
        self,
        source: str | Path,
        at: float | str,
        options: SourceOptions | None = None,
        *,
        track: int | None = None,
        explained: str | None = None,
        detail: Detail | None = None,
    ) -> Explanation:
        """Why the result at the time `at` is as it is; `Explanation.write` writes pictures and a page.

        `at` is in seconds, or a text such as ``"01:23.5"``. The recording `source` is scored from its start
        up to there, with the same `options` as in `score`. `track` is the person, 0 for the recording
        itself; by default the first with a result. `explained` is a label or another number that the bundle
        predicts; by default the label with the highest score. `detail` says how finely the input is hidden.
        Raises `OptionError` where there is nothing to explain, and `SourceError` as `score`.
        """
        from affectstream.stream.explain.explanation import explain

        at_us = parse_time(at) if isinstance(at, str) else round(at * 1e6)
        return explain(
            self, source, at_us, options, track=track, explained=explained, detail=detail
        )

    def explain_clip(
        self,
        source: str | Path,
        start: float | str,
        end: float | str,
        options: SourceOptions | None = None,
        *,
        track: int | None = None,
        explained: str | None = None,
        patches: int = 9,
    ) -> ClipExplanation:
        """Explain every hop of one person between two times; `ClipExplanation.write` writes a video.

        The arguments are those of `explain`; `patches` are hidden down and across the face. Without
        `explained` each hop explains its own best label. Takes as long as explaining each hop. Raises
        `OptionError` for a stretch that is empty or longer than two minutes.
        """
        from affectstream.stream.explain.clip import explain_clip

        start_us, end_us = (
            parse_time(t) if isinstance(t, str) else round(t * 1e6) for t in (start, end)
        )
        return explain_clip(
            self,
            source,
            start_us,
            end_us,
            options,
            track=track,
            explained=explained,
            per_side=patches,
        )

    def score_many(
        self,
        sources: str | Path | Iterable[str | Path],
        output: str | Path,
        options: SourceOptions | None = None,
        *,
        formats: Sequence[str] | None = None,
        workers: int | None = None,
        shard: str | None = None,
        cluster: str | None = None,
        overwrite: bool = False,
        retry_failed: bool = False,
        progress: bool = True,
    ) -> BatchResult:
        """Score many recordings into folders in `output` (a folder, or an address such as
        ``s3://bucket/results``), several at once, as ``affectstream score`` does.

        `sources` are recordings, folders, patterns (``day*/*.mp4``) and tables (``.csv``). `options` are
        for every recording; a table may give others. `formats` are the files to write, as in ``--format``,
        and `workers` the number of processes: by default as many as cores and memory allow. Where there are
        fewer recordings, they share the pictures of long ones. `shard` is a part of the recordings, such as
        ``2/8``. `cluster` is a Ray cluster: ``local``, ``auto``, or such as
        ``ray://host:10001``.

        What an earlier call has finished in `output` is not scored again. A recording that cannot be scored
        stops no other: it is in `BatchResult.failures` and in ``failures.csv``. With `progress`, messages go
        to standard error. Raises `OptionError` for sources that stand for nothing, and for results that were
        made in another way, unless `overwrite` lets them be scored again.
        """
        from affectstream.stream.batch.api import score_many

        return score_many(
            self,
            sources,
            output,
            options or SourceOptions(),
            formats=formats,
            workers=workers,
            shard=shard,
            cluster=cluster,
            overwrite=overwrite,
            retry_failed=retry_failed,
            progress=progress,
        )
