"""The bounded buffers: what is dropped, and that no point is lost."""

import av
from hypothesis import given
from hypothesis import strategies as st

from affectstream.stream.live.queue.buffers import AudioBuffer, AudioItem, VideoBuffer, VideoItem
from affectstream.stream.live.queue.tolerance import Deadline
from affectstream.stream.media.types import SAMPLE_RATE, Frame, MediaKind


def frame(t_us):
    return Frame(t_us, av.VideoFrame(16, 16, "rgb24"))


def sound(milliseconds):
    made = av.AudioFrame("flt", "mono", SAMPLE_RATE * milliseconds // 1000)
    made.sample_rate = SAMPLE_RATE
    return made


@given(st.lists(st.booleans(), min_size=1, max_size=60), st.integers(1, 4))
def test_a_video_buffer_keeps_every_point_in_order_and_the_newest_frames(has_frame, most):
    buffer = VideoBuffer(most)
    for point, has in enumerate(has_frame):
        buffer.push(VideoItem(range(point, point + 1), frame(point) if has else None, float(point)))
        assert len(buffer) <= most
    points, pictures = [], []
    while (item := buffer.pop()) is not None:
        points += item.points
        if item.frame is not None:
            pictures.append(item.points.start)
            assert item.frame.pts_us == item.points.start
    assert points == list(range(len(has_frame)))
    newest = [point for point, has in enumerate(has_frame) if has][-most:]
    assert pictures == newest
    assert buffer.dropped == sum(has_frame) - len(newest)


def test_points_without_a_frame_do_not_pile_up():
    buffer = VideoBuffer(2)
    for point in range(10_000):
        buffer.push(VideoItem(range(point, point + 1), frame(point), 0.0))
    items = []
    while (item := buffer.pop()) is not None:
        items.append(item)
    assert [len(item.points) for item in items] == [9998, 1, 1]


def test_an_audio_buffer_drops_the_oldest_and_counts_it():
    buffer = AudioBuffer(100_000)
    for number in range(8):
        buffer.push(AudioItem(sound(20), number * 20_000, 0.0))
    buffer.push(Deadline(MediaKind.AUDIO, 160_000, 0.0))
    assert (len(buffer), buffer.dropped) == (6, 3)
    assert buffer.pop().t_us == 60_000
