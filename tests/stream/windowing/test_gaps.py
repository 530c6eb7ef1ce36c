"""Gaps in a recording are reported as `gap` events, other pauses are not."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from affectstream.stream import Recognizer, SourceOptions, parse_event
from affectstream.stream.media.types import SAMPLE_RATE, Bound, MediaKind, Samples
from affectstream.stream.windowing.gaps import GAP_US, HOLE_US, Gap, GapFinder
from affectstream.stream.windowing.windows import Windower, WindowShape
from tests.support.media import (
    Sound,
    numbered,
    tone,
    write_sound,
    write_video,
)
from tests.support.scoring import events_of, run

STEADY = [i / 25 for i in range(100)]
PAUSED = [*(i / 25 for i in range(50)), *(6 + i / 25 for i in range(50))]
"""Times of pictures: four seconds in one piece, and with a pause from 2 to 6 s."""


@pytest.fixture(scope="module")
def recognizer():
    with Recognizer.open(threads=2) as opened:
        yield opened


def film(path, times, sound=()):
    return write_video(path, [numbered(i) for i in range(len(times))], times_s=times, sound=sound)


def gaps(result):
    return [
        (e.modalities, e.t_start, e.t_end) for e in events_of(result, "stream") if e.what == "gap"
    ]


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv"])
def test_pictures_that_pause_while_sound_goes_on(tmp_path, recognizer, name):
    path = film(tmp_path / name, PAUSED, Sound(tone(8, 16_000), 16_000))
    result = recognizer.score(path)
    ((modalities, start, end),) = gaps(result)
    assert modalities == ("video",)
    assert (start, end) == pytest.approx((2.0, 6.0), abs=0.125)  # known to a point of the grid
    assert result.events[-1].counts["gaps"] == 1
    assert result.complete


def test_sound_that_pauses_while_pictures_go_on(tmp_path, recognizer):
    sound = Sound(tone(6, 16_000), 16_000, holes=[(2, 4)])
    result = recognizer.score(film(tmp_path / "a.mkv", [i / 25 for i in range(150)], sound))
    ((modalities, start, end),) = gaps(result)
    assert modalities == ("voice",)
    assert (start, end) == pytest.approx((2.0, 4.0), abs=0.07)  # an encoder frame is 64 ms


def test_a_recorder_that_was_paused_leaves_one_gap_of_each(tmp_path, recognizer):
    sound = Sound(tone(8, 16_000), 16_000, holes=[(2, 6)])
    found = gaps(recognizer.score(film(tmp_path / "a.mkv", PAUSED, sound)))
    assert {modalities for modalities, _, _ in found} == {("video",), ("voice",)}
    assert len(found) == 2


def test_a_gap_is_reported_with_the_hop_in_which_it_ends(tmp_path, recognizer):
    """Not earlier, though the file holds all its sound before the pictures of the same time."""
    sound = Sound(tone(8, 16_000), 16_000, holes=[(2.1, 4.4)])
    path = film(tmp_path / "a.mkv", PAUSED, sound)
    events = recognizer.score(path).events
    places = [i for i, e in enumerate(events) if e.type == "stream" and e.what == "gap"]
    assert len(places) == 2
    for place in places:
        hop = next(e for e in events[place:] if e.type == "emotion")
        assert hop.t_start <= events[place].t_end < hop.t_end


def test_neither_batches_nor_parts_move_a_gap(tmp_path):
    path = film(tmp_path / "a.mkv", PAUSED, Sound(tone(8, 16_000), 16_000))
    found = []
    for threads in (1, 3):
        with Recognizer.open(threads=threads) as recognizer:
            whole = recognizer.score(path)
            part = recognizer.score(path, SourceOptions(start_us=1_000_000, end_us=7_000_000))
            inside = recognizer.score(path, SourceOptions(start_us=3_000_000, end_us=5_000_000))
        found.append(whole.events)
        assert gaps(part) == gaps(whole)
        assert gaps(inside) == []  # nothing of the pictures comes before or after
    assert found[0] == found[1]


@pytest.mark.parametrize(
    ("times", "seconds"),
    [(STEADY, 4), (STEADY, 8), ([4 + t for t in STEADY], 8), ([0, 0.9, 1.8, 2.7, 3.6], 4)],
)
def test_other_pauses_are_not_gaps(tmp_path, recognizer, times, seconds):
    """Pictures that end early, begin late, or are few."""
    path = film(tmp_path / "a.mkv", times, Sound(tone(seconds, 16_000), 16_000))
    assert gaps(recognizer.score(path)) == []


def test_the_command_line_reports_the_number_of_gaps(tmp_path):
    sound = tone(8, 16_000)
    path = write_sound(tmp_path / "a.mka", sound, 16_000, "pcm_s16le", holes=[(1, 3), (5, 7)])
    done = run("score", path)
    assert done.returncode == 0
    assert "a.mka: 2 gaps" in done.stderr
    told = [parse_event(line) for line in done.stdout.splitlines()]
    assert [e.what for e in told if e.type == "stream"] == ["started", "gap", "gap", "ended"]


def hops(result):
    return result.readings["hop"].to_pylist()


@pytest.mark.parametrize("hole_s", [3_600, 31_536_000])
def test_a_hole_in_the_pictures_has_no_hops(tmp_path, recognizer, hole_s):
    """All windows of a hole were built at once: 1 GB for an hour, and a year never ended."""
    times = [*range(3), *(hole_s + t for t in range(3))]
    path = write_video(
        tmp_path / "a.mkv", 6, rate=1, times_s=times, codec="mjpeg", pix_fmt="yuvj420p"
    )
    result = recognizer.score(path)
    ((_, start, end),) = [gap for gap in gaps(result) if gap[2] > 3]
    assert (start, end) == pytest.approx((2, hole_s), abs=0.3)
    found = hops(result)
    assert len(found) <= 12
    assert not any(5 < hop < 2 * hole_s for hop in found)
    assert result.complete


def test_a_hole_in_the_sound_has_no_hops_and_no_segments(tmp_path, recognizer):
    """A hole of more than 300 s raised BufferError."""
    path = tmp_path / "a.mka"
    write_sound(path, tone(412, 8_000), 8_000, "pcm_s16le", holes=[(5, 405)])
    result = recognizer.score(path)
    assert gaps(result) == [(("voice",), pytest.approx(5, abs=0.2), pytest.approx(405, abs=0.2))]
    assert not any(11 <= hop < 809 for hop in hops(result))
    assert all(e.t_end < 6 or e.t_start > 400 for e in events_of(result, "segment"))


def test_a_hole_of_less_than_a_minute_has_hops(tmp_path, recognizer):
    path = write_sound(tmp_path / "a.mka", tone(60, 8_000), 8_000, "pcm_s16le", holes=[(5, 55)])
    assert hops(recognizer.score(path)) == list(range(120))


def test_windows_are_built_one_by_one():
    windower = Windower(WindowShape(3_000_000, 500_000, 8))
    list(windower.push_bound(Bound(MediaKind.AUDIO, 10**15)))
    assert next(windower.push_bound(Bound(MediaKind.VIDEO, 10**15))).hop == 0


SPANS = st.lists(
    st.tuples(st.sampled_from([0, 500_000, 40_000_000, 70_000_000]), st.integers(1, 2_000_000)),
    min_size=1,
    max_size=6,
)


@given(SPANS, st.lists(st.integers(1, 30), max_size=20))
def test_holes_do_not_depend_on_the_order_of_bounds(spans, steps):
    """Sound in `spans` of (pause, length); the bounds of the pictures run ahead of it or behind."""

    def found(steps):
        windower = Windower(WindowShape(3_000_000, 500_000, 8), holes="wait")
        out, at_us, ahead_us = [], 0, 0
        for number, (pause_us, length_us) in enumerate(spans):
            at_us += pause_us
            start = at_us * SAMPLE_RATE // 1_000_000
            data = np.zeros((length_us * SAMPLE_RATE // 1_000_000, 1), np.float32)
            windower.push_media(MediaKind.AUDIO, at_us, at_us + length_us)
            out += windower.push_sound(Samples(start, data))
            at_us += length_us
            ahead_us += 10_000_000 * (steps[number] if number < len(steps) else 100)
            out += windower.push_bound(Bound(MediaKind.VIDEO, ahead_us))
        return [w.hop for w in [*out, *windower.flush(at_us)]], at_us

    result, end_us = found(steps)
    assert (result, end_us) == found([])
    at_us, holes = 0, []
    for pause_us, length_us in spans:
        if pause_us > HOLE_US:
            holes.append((at_us, at_us + pause_us))
        at_us += pause_us + length_us
    expected = [
        hop
        for hop in range(-(-end_us // 500_000))
        if not any(a <= hop * 500_000 and (hop + 1) * 500_000 <= b for a, b in holes)
    ]
    assert result == expected


@given(
    st.lists(
        st.tuples(st.integers(0, 3_000_000), st.integers(1, 2_000_000), st.sampled_from(MediaKind)),
        max_size=30,
    )
)
def test_each_long_hole_is_found_once(steps):
    """`steps` are (pause, length, kind), each kind on its own clock."""
    finder, reached = GapFinder(), dict.fromkeys(MediaKind)
    found, expected = [], []
    for pause, length, kind in steps:
        before = reached[kind]
        start = pause if before is None else before + pause
        if before is not None and pause > GAP_US:
            expected.append(Gap(kind, before, start))
        found += finder.push(kind, start, start + length)
        reached[kind] = start + length
    assert found == expected
