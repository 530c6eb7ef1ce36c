"""Sound that comes after its deadline, as the worker takes it from the queue."""

import threading

import av
import numpy as np

from affectstream.stream.live.queue.buffers import AudioItem
from affectstream.stream.live.queue.live_queue import LiveQueue
from affectstream.stream.live.queue.tolerance import Deadline
from affectstream.stream.media.types import MediaKind
from tests.support.live_media import ManualClock, until

HOP_US, BLOCK_US = 500_000, 20_000


def sound():
    samples = np.zeros((1, BLOCK_US * 16_000 // 1_000_000), np.int16)
    frame = av.AudioFrame.from_ndarray(samples, format="s16", layout="mono")
    frame.sample_rate = 16_000
    return frame


class Drained:
    """A queue for sound, and what a worker took from it."""

    def __init__(self):
        self.clock = ManualClock(0.0)
        self.queue = LiveQueue(
            (MediaKind.AUDIO,), frame_hz=8, hop_us=HOP_US, rate_hz=8, clock=self.clock
        )
        self.items = []
        self.thread = threading.Thread(target=self.drain, daemon=True)
        self.thread.start()

    def drain(self):
        while (item := self.queue.next()) is not None:
            self.items.append(item)

    def push(self, times_us, late_s=0.0):
        for t_us in times_us:
            self.queue.push_audio(sound(), t_us, (t_us + BLOCK_US) / 1e6 + late_s)

    def take_at(self, now_s, count):
        """What the worker has taken at `now_s`, once it has `count` items and waits for more."""
        self.clock.s = now_s
        assert until(lambda: len(self.items) >= count and self.queue.is_idle)
        return self.items

    def close(self):
        self.queue.close()
        self.thread.join(10)
        assert not self.thread.is_alive()


def test_sound_in_time_is_not_late():
    drained = Drained()
    drained.push(range(0, 2_000_000, BLOCK_US))
    assert all(isinstance(item, AudioItem) for item in drained.take_at(2.02, 100))
    drained.close()
    assert len(drained.items) == 100
    assert drained.queue.stats().sounds_late == 0


def test_sound_that_comes_after_its_deadline_is_counted():
    drained = Drained()
    drained.push(range(0, 400_000, BLOCK_US))
    assert isinstance(drained.take_at(0.7, 21)[-1], Deadline)
    drained.push(range(400_000, 600_000, BLOCK_US), late_s=0.4)
    assert drained.queue.stats().sounds_late == 5  # from 400 to 500 ms
    drained.close()
