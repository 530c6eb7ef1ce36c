"""What comes into a live session when its time is over."""

import av
import numpy as np

from affectstream.stream.live.queue.intake import Intake
from affectstream.stream.live.queue.mailbox import Heard, Silence
from affectstream.stream.media.types import MediaKind

HOP_US, BLOCK_US = 500_000, 20_000


def sound(t_us):
    samples = np.zeros((1, BLOCK_US * 16_000 // 1_000_000), np.int16)
    frame = av.AudioFrame.from_ndarray(samples, format="s16", layout="mono")
    frame.sample_rate = 16_000
    return frame


def intake():
    return Intake((MediaKind.AUDIO,), frame_hz=8, hop_us=HOP_US, start_us=0, rate_hz=8)


def hear(into, times_us, late_s=0.0):
    for t_us in times_us:
        into.hear(sound(t_us), t_us, (t_us + BLOCK_US) / 1e6 + late_s)


def taken(into):
    found = []
    while (item := into.take()) is not None:
        found.append(item)
    return found


def test_sound_in_time_is_not_late():
    into = intake()
    hear(into, range(0, 2_000_000, BLOCK_US))
    into.give_up(2.02)
    assert into.counts.sounds_late == 0
    assert all(isinstance(item, Heard) for item in taken(into))


def test_sound_that_comes_after_its_hop_was_given_up_is_counted():
    into = intake()
    hear(into, range(0, 400_000, BLOCK_US))
    into.give_up(0.7)
    assert isinstance(taken(into)[-1], Silence)
    hear(into, range(400_000, 600_000, BLOCK_US), late_s=0.4)
    assert into.counts.sounds_late == 5  # from 400 to 500 ms
