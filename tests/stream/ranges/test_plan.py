"""Where recordings are cut, and which are not."""

import numpy as np
import pytest

from affectstream.stream.ranges.plan import plan_ranges
from tests.support.media import Muxing, Sound, write_sound, write_video

KEYS = Muxing(video_options={"g": "10", "preset": "ultrafast"})
SILENCE = Sound(np.zeros((16_000 * 20, 1), np.float32), 16_000)


def plan(path, **options):
    given = {"frame_hz": 8, "range_us": 4_000_000, "max_pixels": 10**8} | options
    return plan_ranges(path, **given)


def test_cuts_lie_on_the_grid_a_little_after_a_key_frame(tmp_path):
    clip = write_video(tmp_path / "a.mp4", 200, rate=10, sound=SILENCE, muxing=KEYS)
    cuts = plan(clip)
    assert cuts == (36, 68, 100, 132)
    assert not any(cut % 4 for cut in cuts)
    assert plan(clip, start_us=7_000_000, end_us=15_000_000) == (92,)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("one key frame", {"muxing": Muxing(video_options={"g": "1000", "sc_threshold": "0"})}),
        ("sound far before the pictures", {"muxing": Muxing(sound_first=True), "sound": SILENCE}),
        (
            "a long stretch without pictures",
            {"times_s": [i / 10 if i < 100 else i / 10 + 6 for i in range(200)], "muxing": KEYS},
        ),
    ],
)
def test_recordings_that_one_process_scores(tmp_path, name, options):
    clip = write_video(tmp_path / "clip.mkv", 200, **({"rate": 10} | options))
    assert plan(clip) == ()


def test_what_cannot_be_read_or_has_no_pictures_is_not_cut(tmp_path):
    assert plan(tmp_path / "missing.mp4") == ()
    sound = write_sound(tmp_path / "a.wav", SILENCE.data, 16_000, "pcm_s16le")
    assert plan(sound) == ()
