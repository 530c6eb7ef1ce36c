"""How quickly live sources of each kind become events, and how far sound and pictures are apart.

A clip (640x360, 30 frames a second, H.264 without delay, AAC) is played to every kind of source: a face
before a wall that flashes once a second, with a beep. Senders are processes of their own. For each source:

    opens_s     from the start of opening (of the publisher, where one is waited for; from a press on Start in
                a browser) to the first picture that is used
    way_ms      from a flash at the sender to its picture decoded here (median)
    age_ms      from the arrival of the newest picture that was used to the event (see `docs/guides/live.md`)
    latency_ms  from the completion of the window to the event
    skew_ms     how much later the flash is than the beep, on the session's clock (median)
    cpu         cores, decoding included: of this process; for a browser, of the server

Not covered: the own delays of real cameras and microphones. What cannot be measured is named, with the
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
from affectstream.bench.live.flashes import FlashProbe, write_flashes
from affectstream.bench.live.microphone import Microphone
from affectstream.bench.live.network_sources import Sender, network_sources
from affectstream.bench.live.row import Row, Skipped, Unmeasured, begun, head, line, quantiles
from affectstream.bench.machine import describe
from affectstream.stream.errors import AffectstreamError
from affectstream.stream.events import Attention, Emotion, Event
from affectstream.stream.live.callbacks import Callbacks
from affectstream.stream.live.source import LiveOptions, LiveSource
from affectstream.stream.recognizer import Recognizer

_OPEN_S = 40.0
_LISTENING_S = 1.0
"""What a listener needs before a publisher may come."""


class PlayedSource(Protocol):
    """One kind of source that `LiveSource` opens: how, and what plays the clip to it."""

    @property
    def name(self) -> str:
        """What the table calls it."""

    @property
    def live(self) -> LiveOptions:
        """How it is opened."""

    def playing(self, clip: Path) -> AbstractContextManager[Sender | None]:
        """Play the clip to it. Raises `Unmeasured` where that cannot be."""


def main(seconds: float, bundle: str, *, only: str = "") -> None:
    """Measure each kind whose name holds `only`, and print the table."""
    rows: list[Row | Skipped] = []
    load = round(os.getloadavg()[0], 2)
    print(head(), flush=True)
    with TemporaryDirectory() as scratch, Recognizer.open(bundle, device="cpu") as recognizer:
        for name, measure in _measurements(recognizer, bundle, Path(scratch), seconds):
            if only.lower() not in name.lower():
                continue
            print(begun(name), end="", flush=True)
            rows.append(measure_or_skip(name, measure))
            print(line(rows[-1]), flush=True)
    print(
        json.dumps(
            {
                "bench": "live",
                "seconds": seconds,
                "bundle": bundle,
                "load_before": load,
                "sources": [row.figures() for row in rows],
                "machine": describe(),
            }
        )
    )


def measure_or_skip(name: str, measure: Callable[[], Row]) -> Row | Skipped:
    """A row, or why there is none: one source that fails must not cost the others."""
    try:
        return measure()
    except (AffectstreamError, av.FFmpegError, OSError) as error:
        return Skipped(name, " ".join(str(error).split()))


def _measurements(
    recognizer: Recognizer, bundle: str, scratch: Path, seconds: float
) -> list[tuple[str, Callable[[], Row]]]:
    """Every kind by its name, and how it is measured."""
    clip = write_flashes(scratch / "flashes.mp4")
    kinds: list[PlayedSource] = [*network_sources(clip, scratch), Microphone(seconds + _OPEN_S)]
    measures: list[tuple[str, Callable[[], Row]]] = [
        (kind.name, partial(measure_source, recognizer, kind, clip, seconds)) for kind in kinds
    ]
    measures.append(("camera (Video4Linux)", _camera))
    measures += [
        (name, partial(measure_browser, name, way, bundle, seconds, scratch))
        for name, way in BROWSER_TRANSPORTS.items()
    ]
    return measures


def measure_source(recognizer: Recognizer, kind: PlayedSource, clip: Path, seconds: float) -> Row:
    """One row of the table. Raises `Unmeasured`, or the `SourceError` that opening ended with."""
    events: list[Event] = []
    tap = FlashProbe()

    def source() -> LiveSource:
        return LiveSource(recognizer, kind.live, Callbacks(event=events.append), tap=tap)

    with ExitStack() as stack:
        if kind.live.listen:
            # The publisher comes when someone waits for it: the wait is not part of opening.
            live = stack.enter_context(source())
            sender = _published(live, kind, clip, stack)
            asked_s = None if sender is None else sender.began_s
        else:
            sender = stack.enter_context(kind.playing(clip))
            live, asked_s = stack.enter_context(source()), time.monotonic()
            live.open()
        started_s, cpu_s = time.monotonic(), time.process_time()
        while time.monotonic() - started_s < seconds and not live.wait(0.1):
            pass
        used_s, cpu_s = time.monotonic() - started_s, time.process_time() - cpu_s
        ended = live.close()
        sent_s = None if sender is None else sender.began_s
    assert ended is not None  # it was open
    if asked_s is None or tap.first_s is None:
        raise Unmeasured("nothing of it could be decoded")
    timed = [event for event in events if isinstance(event, Emotion | Attention)]
    return Row(
        source=kind.name,
        opens_s=round(tap.first_s - asked_s, 2),
        events_s=round(len(timed) / used_s, 1),
        way_ms=None if sent_s is None else tap.way_ms(sent_s),
        age_ms=quantiles(event.age_ms for event in timed),
        latency_ms=quantiles(event.latency_ms for event in timed),
        skew_ms=None if tap.meter.skew_ms is None else round(tap.meter.skew_ms, 1) + 0.0,
        lost=ended.counts["dropped"] + ended.counts["late"],
        cpu=round(cpu_s / used_s, 2),
        pairs=len(tap.meter.pairs_us),
    )


def _published(live: LiveSource, kind: PlayedSource, clip: Path, stack: ExitStack) -> Sender | None:
    """Wait for a publisher and start it; returns when the source is open."""
    failed: list[BaseException] = []
    leave = threading.Event()

    def opening() -> None:
        try:
            live.open(leave)
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=opening, daemon=True)
    thread.start()
    time.sleep(_LISTENING_S)
    sender = stack.enter_context(kind.playing(clip))
    thread.join(_OPEN_S)
    if failed:
        raise failed[0]
    if thread.is_alive():
        leave.set()
        raise Unmeasured(f"no publisher came within {_OPEN_S:g} s")
    return sender


def _camera() -> Row:
    """A camera cannot be given a clip: Linux would need a module of the kernel for it."""
    raise Unmeasured(
        "a recording cannot be played into a camera of the system without v4l2loopback; "
        "run affectstream live --source 0"
    )
