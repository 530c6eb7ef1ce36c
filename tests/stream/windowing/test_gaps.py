"""Gaps in a recording are reported as `gap` events, other pauses are not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from affectstream.stream import Recognizer, SourceOptions, parse_event
from affectstream.stream.media.types import MediaKind
from affectstream.stream.windowing.gaps import GAP_US, Gap, GapFinder
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
