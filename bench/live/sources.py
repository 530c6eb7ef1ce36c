"""Latency of live sources of each kind, and the offset between their sound and pictures.

Another process sends the same clip to each source (640x360, 30 frames a second, H.264 without reordering
delay, AAC): a face in front of a wall that flashes once a second, with a beep. For each source:

    opens_s     from the start of opening to the first frame; if the source waits for a publisher, from the
                start of the publisher; in a browser, from the press on Start
    events_s    events a second
    way_ms      from a flash at the sender to its decoded frame (median)
    age_ms      from the arrival of the newest frame that was used to the event (see `docs/guides/live.md`)
    latency_ms  from the completion of the window to the event
    skew_ms     from the beep to the flash, on the session's clock (median)
    lost        frames that were dropped or late
    cpu         cores, decoding included: of this process; for a browser, of the server

Not covered: the delay of real cameras and microphones. A source that cannot be measured is listed with the
reason.

    affectstream bench live --seconds 20
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Protocol

import av

from affectstream.bench.live.browser import BROWSER_TRANSPORTS, measure_browser
from affectstream.bench.live.flash_clip import write_flashes
from affectstream.bench.live.flash_probe import FlashProbe
from affectstream.bench.live.microphone import Microphone
from affectstream.bench.live.network_sources import Sender, network_sources
from affectstream.bench.live.row import (
    Row,
    Skipped,
    Unmeasured,
    cells,
    header,
    name_cell,
    quantiles,
)
from affectstream.bench.machine import describe
from affectstream.stream.errors import AffectstreamError
from affectstream.stream.events import Attention, Emotion, Event
from affectstream.stream.live.callbacks import Callbacks
from affectstream.stream.live.source import LiveOptions, LiveSource
from affectstream.stream.recognizer import Recognizer

_OPEN_S = 40.0
_LISTENING_S = 1.0
"""Time for a source to listen before its publisher connects."""


class PlayedSource(Protocol):
    """A source that `LiveSource` can open, and that can be made to play the clip."""

    @property
    def name(self) -> str:
        """Its name in the table."""

    @property
    def live(self) -> LiveOptions:
        """How it is opened."""

    def playing(self, clip: Path) -> AbstractContextManager[Sender | None]:
        """Play the clip to it. Raises `Unmeasured` if that is not possible here."""


def main(seconds: float, bundle: str, *, only: str = "") -> None:
    """Measure each source whose name contains `only`, and print the table."""
    rows: list[Row | Skipped] = []
    load = round(os.getloadavg()[0], 2)
    print(header(), flush=True)
    with TemporaryDirectory() as scratch, Recognizer.open(bundle, device="cpu") as recognizer:
        for name, measure in _measurements(recognizer, bundle, Path(scratch), seconds):
            if only.lower() not in name.lower():
                continue
            print(name_cell(name), end="", flush=True)
            rows.append(measure_or_skip(name, measure))
            print(cells(rows[-1]), flush=True)
    print(
        json.dumps(
            {
                "bench": "live",
                "seconds": seconds,
                "bundle": bundle,
                "load_before": load,
                "sources": [row.document() for row in rows],
                "machine": describe(),
            }
        )
    )


def measure_or_skip(name: str, measure: Callable[[], Row]) -> Row | Skipped:
    """The row of a source, or why there is none: a source that fails must not stop the others."""
    try:
        return measure()
    except (AffectstreamError, av.FFmpegError, OSError) as error:
        return Skipped(name, " ".join(str(error).split()))


def _measurements(
    recognizer: Recognizer, bundle: str, scratch: Path, seconds: float
) -> list[tuple[str, Callable[[], Row]]]:
    """The name of each source, and the function that measures it."""
    clip = write_flashes(scratch / "flashes.mp4")
    sources: list[PlayedSource] = [*network_sources(clip, scratch), Microphone(seconds + _OPEN_S)]
    measures: list[tuple[str, Callable[[], Row]]] = [
        (source.name, partial(measure_source, recognizer, source, clip, seconds))
        for source in sources
    ]
    measures.append(("camera (Video4Linux)", _camera))
    measures += [
        (name, partial(measure_browser, name, transport, bundle, seconds, scratch))
        for name, transport in BROWSER_TRANSPORTS.items()
    ]
    return measures


def measure_source(recognizer: Recognizer, source: PlayedSource, clip: Path, seconds: float) -> Row:
    """One row of the table. Raises `Unmeasured`, or `SourceError` if the source does not open."""
    events: list[Event] = []
    probe = FlashProbe()

    def live_source() -> LiveSource:
        return LiveSource(recognizer, source.live, Callbacks(event=events.append), tap=probe)

    with ExitStack() as stack:
        if source.live.listen:
            # The source has to wait before the publisher starts; that wait is not part of opening.
            live = stack.enter_context(live_source())
            sender = _open_published(live, source, clip, stack)
            requested_s = None if sender is None else sender.began_s
        else:
            sender = stack.enter_context(source.playing(clip))
            live, requested_s = stack.enter_context(live_source()), time.monotonic()
            live.open()
        started_s, cpu_s = time.monotonic(), time.process_time()
        while time.monotonic() - started_s < seconds and not live.wait(0.1):
            pass
        watched_s, cpu_s = time.monotonic() - started_s, time.process_time() - cpu_s
        ended = live.close()
        sent_s = None if sender is None else sender.began_s
    assert ended is not None  # it was open
    if requested_s is None or probe.first_s is None:
        raise Unmeasured("nothing could be decoded")
    timed = [event for event in events if isinstance(event, Emotion | Attention)]
    return Row(
        source=source.name,
        opens_s=round(probe.first_s - requested_s, 2),
        events_s=round(len(timed) / watched_s, 1),
        way_ms=None if sent_s is None else probe.transit_ms(sent_s),
        age_ms=quantiles(event.age_ms for event in timed),
        latency_ms=quantiles(event.latency_ms for event in timed),
        skew_ms=None if probe.meter.skew_ms is None else round(probe.meter.skew_ms, 1) + 0.0,
        lost=ended.counts["dropped"] + ended.counts["late"],
        cpu=round(cpu_s / watched_s, 2),
        pairs=len(probe.meter.pairs_us),
    )


def _open_published(
    live: LiveSource, source: PlayedSource, clip: Path, stack: ExitStack
) -> Sender | None:
    """Open a source that waits for a publisher, and start its publisher; return the latter."""
    errors: list[BaseException] = []
    stop = threading.Event()

    def open_source() -> None:
        try:
            live.open(stop)
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=open_source, daemon=True)
    thread.start()
    time.sleep(_LISTENING_S)
    sender = stack.enter_context(source.playing(clip))
    thread.join(_OPEN_S)
    if errors:
        raise errors[0]
    if thread.is_alive():
        stop.set()
        raise Unmeasured(f"no publisher connected within {_OPEN_S:g} s")
    return sender


def _camera() -> Row:
    """Raises `Unmeasured`: playing a clip as a camera takes a kernel module on Linux."""
    raise Unmeasured(
        "a recording can be played as a camera only with the kernel module v4l2loopback; "
        "run affectstream live --source 0"
    )
