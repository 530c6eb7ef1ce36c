"""Which live frames are analyzed."""

import av
import pytest

from affectstream.stream.live.queue.grid import LiveGrid, newest_offset_us, possible_rates
from affectstream.stream.media.types import Frame

HOP_US = 500_000


def frame(t_us):
    return Frame(t_us, av.VideoFrame(16, 16, "rgb24"))


def test_rates_divide_the_points_of_a_hop():
    assert possible_rates(8, HOP_US) == (8, 4, 2)
    assert possible_rates(4, HOP_US) == (4, 2)


@pytest.mark.parametrize("rate_hz", [8, 4, 2])
def test_at_a_lower_rate_fewer_frames_are_analyzed_and_no_point_is_lost(rate_hz):
    grid = LiveGrid(8, 0)
    grid.rate_hz = rate_hz
    items = [item for n in range(91) for item in grid.push(frame(round(n * 1e6 / 30)), n / 30)]
    points = [point for item in items for point in item.points]
    assert points == list(range(len(points)))
    assert sum(item.frame is not None for item in items if item.points.start < 24) == 3 * rate_hz
    for item in items:
        if item.frame is not None:
            assert item.points.start * 125_000 - item.frame.pts_us < 1e6 / 30 + 1


def test_live_frames_are_looked_at_late_in_each_step():
    """The last one of a hop is at most 20 ms and one frame older than the end of the hop."""
    offset_us = newest_offset_us(8)
    grid = LiveGrid(8, 0, offset_us=offset_us)
    items = [item for n in range(91) for item in grid.push(frame(round(n * 1e6 / 30)), n / 30)]
    points = [point for item in items for point in item.points]
    assert points == list(range(len(points))) and len(points) == 24
    for item in items:
        ago_us = item.points.start * 125_000 + offset_us - item.frame.pts_us
        assert len(item.points) == 1 and 0 <= ago_us < 1e6 / 30 + 1
    assert grid.late == 0
    assert [p for item in grid.flush(3_250_000, 0.0) for p in item.points] == [24, 25]


def test_a_missed_deadline_decides_all_points_of_the_hop():
    grid = LiveGrid(8, 0, offset_us=newest_offset_us(8))
    items = [item for n in range(10) for item in grid.push(frame(round(n * 1e6 / 30)), n / 30)]
    items += grid.advance(HOP_US, 0.58)
    assert [point for item in items for point in item.points] == [0, 1, 2, 3]
    assert grid.complete_us == HOP_US
    assert items[-1].frame is None, "the newest frame is older than a step"
    grid.push(frame(380_000), 0.6)
    assert grid.late == 1


def test_the_rate_can_change_at_any_point():
    grid = LiveGrid(8, 0)
    points = []
    for n in range(300):
        grid.rate_hz = (8, 2, 4, 8, 4)[n // 13 % 5]
        points += [p for item in grid.push(frame(round(n * 1e6 / 25)), 0.0) for p in item.points]
    assert points == list(range(len(points)))


def test_frames_that_go_back_are_counted_and_left_out():
    grid = LiveGrid(8, 0)
    for t_us in (0, 40_000, 40_000, 20_000, 80_000):
        grid.push(frame(t_us), 0.0)
    assert grid.backwards == 2
