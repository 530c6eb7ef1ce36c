"""The process that scores recordings one after the other.

It ends when the caller is gone, however that ended; see `child_process`.
"""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import cv2

from affectstream.engines.bundle.bundle import Bundle
from affectstream.engines.devices.choose import Choice
from affectstream.stream.batch.output.outcome import Outcome
from affectstream.stream.batch.output.storage import storage_at
from affectstream.stream.batch.plan.task import Task
from affectstream.stream.batch.workers.recording import score_recording
from affectstream.stream.child_process import Caller, CallerGone
from affectstream.stream.loaded import LoadedBundle
from affectstream.stream.sinks import Format

ADVANCE_S = 2.0
"""Media between two messages about progress."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What a worker needs before its first recording."""

    bundle: Path
    choice: Choice
    threads: int
    ranges: int
    """Processes that perceive ranges of a long recording; 1: none."""
    output: str
    """A folder, or the address of an object store."""
    formats: tuple[Format, ...]
    inputs: tuple[Path, ...]
    """Files that no result may replace."""


@dataclass(frozen=True, slots=True)
class Ready:
    """The engines are open; a worker waits for a recording."""


@dataclass(frozen=True, slots=True)
class Advanced:
    """So much of the present recording is done."""

    media_s: float


@dataclass(frozen=True, slots=True)
class Warned:
    """Something that the user should know."""

    message: str


Message = Ready | Advanced | Warned | Outcome | Exception
"""What a worker sends; an exception means that the engines cannot be opened."""


class _Reporter:
    """Sends how far the present recording is."""

    def __init__(self, caller: Caller[Task]) -> None:
        self._caller, self._sent_s = caller, 0.0

    def advance(self, media_s: float) -> None:
        if media_s - self._sent_s >= ADVANCE_S:
            self._sent_s = media_s
            self._caller.send(Advanced(media_s))

    def warn(self, message: str) -> None:
        self._caller.send(Warned(message))


def main() -> None:
    """Score what comes over the connection until it is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the caller decides
    signal.signal(signal.SIGTERM, _stop)
    caller: Caller[Task] = Caller()
    settings: Settings = caller.settings
    try:
        cv2.setNumThreads(1)
        bundle = Bundle.open(settings.bundle, device=settings.choice.device)
    except Exception as error:
        caller.send(error)
        return
    with LoadedBundle(bundle, settings.choice, settings.threads) as recognizer:
        storage = storage_at(settings.output)
        caller.send(Ready())
        while True:
            task = caller.next()
            outcome = score_recording(
                recognizer,
                task,
                storage,
                settings.formats,
                _Reporter(caller),
                inputs=settings.inputs,
                ranges=settings.ranges,
            )
            caller.send(outcome)


def _stop(number: int, frame: FrameType | None) -> None:
    """Handle the first SIGTERM: keep the results so far."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise KeyboardInterrupt


def run() -> None:
    """Be the process."""
    try:
        main()
    except KeyboardInterrupt:
        os._exit(130)
    except CallerGone:
        os._exit(1)
