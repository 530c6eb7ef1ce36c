"""What happens to ranges whose process dies, or that begin with other pictures than expected."""

from bisect import bisect_right
from dataclasses import replace
from functools import partial

import psutil
import pytest

from affectstream.stream.batch.workers import recording
from affectstream.stream.errors import OptionError, ProcessDied
from affectstream.stream.media.types import FOREVER_US
from affectstream.stream.offline import to_stream
from affectstream.stream.offline.failure import failure_of
from affectstream.stream.offline.session import Session
from affectstream.stream.options import SourceOptions
from affectstream.stream.ranges.messages import Observed, RangeBegun, RangeSettings
from affectstream.stream.ranges.opening import RangeOptions
from affectstream.stream.ranges.pool import RangePool
from tests.stream.ranges import conftest
from tests.stream.ranges.conftest import RANGES, RATE
from tests.support.command import run_command
from tests.support.media import Muxing, write_video


@pytest.fixture(scope="session")
def clip(tmp_path_factory, pictures):
    muxing = Muxing(video_options={"g": "12", "preset": "veryfast"})
    path = tmp_path_factory.mktemp("ranges") / "clip.mp4"
    return write_video(path, pictures[: 8 * RATE], rate=RATE, muxing=muxing)


def dying(monkeypatch, dies):
    """A process ends in the middle of the ranges for which `dies` is true."""

    def perceive(bundle, settings, job):
        for count, message in enumerate(conftest.perceive_range(bundle, settings, job)):
            if count == 3 and dies(job):
                raise OSError("it is dead")
            yield message

    monkeypatch.setattr(conftest.ThreadProcess, "perceive", staticmethod(perceive))


@pytest.mark.parametrize("number", [1, pytest.param(0, marks=pytest.mark.slow)])
def test_a_range_whose_process_dies_is_perceived_again(clip, both, jobs, monkeypatch, number):
    dying(monkeypatch, lambda job: job.number == number and job.attempt == 0)
    one, several = both(clip)
    assert one == several
    assert [job.attempt for job in jobs if job.number == number] == [0, 1]


def test_a_process_that_dies_again_is_an_error(clip, both, jobs, monkeypatch):
    dying(monkeypatch, lambda job: job.number == 1)
    with pytest.raises(ProcessDied, match=r"clip\.mp4: .* died 2 times .*fewer --workers") as error:
        both(clip)
    assert failure_of(clip, error.value).kind == "crash"


def test_a_range_that_begins_with_other_pictures_decodes_more(clip, both, jobs, monkeypatch):
    """In the end everything before it, as one process does."""

    def perceive(bundle, settings, job):
        for message in conftest.perceive_range(bundle, settings, job):
            if isinstance(message, RangeBegun) and job.number and job.decode_from_us is not None:
                message = replace(message, seam=((0, 0),))
            yield message

    monkeypatch.setattr(conftest.ThreadProcess, "perceive", staticmethod(perceive))
    one, several = both(clip)
    assert one == several
    last = {job.number: job for job in jobs}
    assert {job.decode_from_us for job in last.values()} == {None}
    assert max(job.attempt for job in jobs) == 1


def test_ranges_run_only_a_little_ahead(clip, jobs):
    """Memory holds no more than their observations."""
    cuts = (12, 24, 36, 48)
    ranges = RangePool(RangeSettings(clip, "cpu", clip, None, None, 10**8), cuts, 8, 2)
    for item in ranges.until(FOREVER_US):
        if isinstance(item, Observed):
            taken = bisect_right(cuts, item.observations[0][0].start)
            assert max(job.number for job in jobs) <= taken + 2
    ranges.close()
    assert taken == 4


def test_score_cuts_a_long_recording_where_cores_are_left(clip, tmp_path, monkeypatch):
    started = []
    short = partial(RangeOptions, least_us=2_000_000, most_us=2_000_000)
    monkeypatch.setattr(recording, "RangeOptions", short)
    start = RangePool._start
    monkeypatch.setattr(RangePool, "_start", lambda self: (started.append(self), start(self)))
    for workers in (1, 2):
        assert run_command("score", clip, "-o", tmp_path / str(workers), "--workers", workers) == 0
    assert len(started) == 2
    for name in ("events.jsonl", "readings.parquet", "segments.vtt"):
        one, two = (tmp_path / number / "clip.mp4" / name for number in "12")
        assert one.read_bytes() == two.read_bytes()


def test_score_without_output_cuts_too(clip, jobs, monkeypatch, capsysbinary):
    short = partial(RangeOptions, least_us=2_000_000, most_us=2_000_000)
    monkeypatch.setattr(to_stream, "RangeOptions", short)
    found = []
    for workers in (1, 2):
        assert run_command("score", clip, "--workers", workers) == 0
        found.append(capsysbinary.readouterr().out)
    assert found[0] == found[1] and len({job.number for job in jobs}) > 1
    assert run_command("score", clip, "--workers", 2, "--trace", clip.with_suffix(".json")) == 2
    assert b"--trace follows one process, and --workers 2" in capsysbinary.readouterr().err


def test_score_from_python_cuts_too(recognizer, clip, jobs, monkeypatch):
    short = partial(RangeOptions, least_us=2_000_000, most_us=2_000_000)
    monkeypatch.setattr("affectstream.stream.recognizer.RangeOptions", short)
    one, two = (recognizer.score(clip, workers=workers) for workers in (1, 2))
    assert one.events == two.events and one.readings == two.readings
    assert len({job.number for job in jobs}) > 1
    with pytest.raises(OptionError, match="workers=0: expected 1 or more"):
        recognizer.score(clip, workers=0)


@pytest.mark.slow
def test_a_real_process_that_is_killed(recognizer, clip):
    found = []
    for ranges in (None, RANGES):
        with Session(recognizer.bundle, clip, SourceOptions(), 2, ranges=ranges) as session:
            found.append([])
            for hop in session:
                if ranges is not None and hop.readings and len(found[1]) < 3:
                    psutil.Process().children()[0].kill()
                found[-1] += hop.events
    assert found[0] == found[1]
