"""A recording with a face that moves, and ranges that are perceived without starting processes."""

import threading
from multiprocessing import Pipe

import cv2
import numpy as np
import pytest

from affectstream.stream import Recognizer
from affectstream.stream.demo import SAMPLE_RATE, babble, portrait
from affectstream.stream.offline.session import Session
from affectstream.stream.options import SourceOptions
from affectstream.stream.ranges import pool
from affectstream.stream.ranges.opening import RangeOptions
from affectstream.stream.ranges.perceive import perceive_range
from tests.support.media import Sound

SECONDS, RATE = 10, 12
RANGES = RangeOptions(processes=2, device="cpu", least_us=2_000_000, most_us=2_000_000)


@pytest.fixture(scope="session")
def pictures():
    """A face that moves across the picture, and is away from 6 s to 7.5 s."""
    pytest.importorskip("skimage", reason="the portrait comes with the 'demo' extra")
    face = cv2.resize(portrait(), None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    height, width = face.shape[:2]
    found = []
    for index in range(SECONDS * RATE):
        picture = np.full((192, 320, 3), 90, np.uint8)
        if not 6 <= index / RATE < 7.5:
            left, top = index % (320 - width), 10 + index % 20
            picture[top : top + height, left : left + width] = face[: 192 - top]
        found.append(picture)
    return found


@pytest.fixture(scope="session")
def speech():
    return Sound(babble(SECONDS).astype(np.float32)[:, None], SAMPLE_RATE)


@pytest.fixture(scope="module")
def recognizer():
    with Recognizer.open(device="cpu", threads=2) as opened:
        yield opened


class ThreadProcess:
    """Perceives ranges in a thread of the test."""

    bundle = None
    jobs = None
    perceive = staticmethod(perceive_range)

    def __init__(self, settings):
        self.connection, self._theirs = Pipe()
        self._settings, self.job = settings, None
        threading.Thread(target=self._run, daemon=True).start()

    def send(self, job):
        self.jobs.append(job)
        self.connection.send(job)

    def end(self):
        return 0

    def _run(self):
        try:
            while True:
                job = self._theirs.recv()
                try:
                    for message in self.perceive(self.bundle, self._settings, job):
                        self._theirs.send((job.number, job.attempt, message))
                except OSError:
                    raise
                except Exception as error:
                    self._theirs.send((job.number, job.attempt, error))
        except (EOFError, OSError):
            self._theirs.close()


@pytest.fixture
def jobs(recognizer, monkeypatch):
    """Every range that was given out, in order."""
    given = []
    monkeypatch.setattr(ThreadProcess, "bundle", recognizer.bundle)
    monkeypatch.setattr(ThreadProcess, "jobs", given)
    monkeypatch.setattr(pool, "_Process", ThreadProcess)
    return given


@pytest.fixture
def both(recognizer, jobs):
    """Score a recording in one process and in ranges; the events of both."""

    def score(path, ranges=RANGES, **options):
        found = []
        for chosen in (None, ranges):
            given = SourceOptions(**options)
            with Session(recognizer.bundle, path, given, 2, ranges=chosen) as session:
                found.append([event for hop in session for event in hop.events])
        return found

    return score
