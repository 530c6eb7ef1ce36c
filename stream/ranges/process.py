"""The process that perceives ranges of one recording; see `child_process`."""

from __future__ import annotations

import gc
import os
import signal
import traceback

import cv2

from affectstream.engines.bundle.bundle import Bundle
from affectstream.stream.child_process import Caller, CallerGone
from affectstream.stream.ranges.messages import RangeJob, RangeSettings
from affectstream.stream.ranges.perceive import perceive_range


def main() -> None:
    """Perceive the ranges that come over the connection until it is closed.

    Each message goes out with the number and the attempt of its range.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # the caller decides, and it ends with the caller
    caller: Caller[RangeJob] = Caller()
    settings: RangeSettings = caller.settings
    cv2.setNumThreads(1)
    bundle = Bundle.open(settings.bundle, device=settings.device)  # as the caller did before
    while True:
        job = caller.next()
        try:
            for message in perceive_range(bundle, settings, job):
                caller.send((job.number, job.attempt, message))
        except CallerGone:
            raise
        except Exception as error:
            error.add_note("".join(traceback.format_exception(error)))
            caller.send((job.number, job.attempt, error))
        # A picture whose side data was read refers to itself (PyAV), and keeps the buffers of its decoder.
        gc.collect()


def run() -> None:
    """Be the process."""
    try:
        main()
    except CallerGone:
        os._exit(1)
