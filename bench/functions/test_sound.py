"""One second of sound, from the decoder to the gate."""

import av
import numpy as np

from affectstream.stream.demo import babble
from affectstream.stream.media.resample import SoundResampler
from affectstream.stream.windowing.sound_timeline import SoundTimeline


def test_resample_a_second_of_48_khz_stereo(benchmark):
    sound = np.repeat(babble(3)[None, :48_000], 2, axis=0).astype(np.float32)
    frames = []
    for at in range(0, 48_000, 960):
        frame = av.AudioFrame.from_ndarray(
            np.ascontiguousarray(sound[:, at : at + 960]), format="fltp", layout="stereo"
        )
        frame.sample_rate = 48_000
        frames.append(frame)

    def resample():
        resampler = SoundResampler()
        runs = [run for i, frame in enumerate(frames) for run in resampler.push(frame, i * 20_000)]
        return runs + resampler.flush()

    assert benchmark(resample)[-1].end == 16_000


def test_keep_a_second_and_take_a_window(benchmark, second):
    def window():
        timeline = SoundTimeline()
        for run in second:
            timeline.push(run)
        return timeline.window(0, 16_000)

    assert benchmark(window).shape == (16_000, 1)
