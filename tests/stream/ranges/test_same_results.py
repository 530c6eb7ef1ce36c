"""A recording in ranges gives the events of one process, whatever codec, times and damage it has."""

import random

import av
import numpy as np
import pytest

from tests.stream.ranges.conftest import RATE
from tests.support.media import Muxing, write_sound, write_video

FAST = {"preset": "ultrafast"}
X265 = "log-level=none:pools=1:keyint=18:min-keyint=18:scenecut=0:bframes=3:open-gop="
CODECS = {
    "b-frames.mp4": ("libx264", {"g": "18", "bf": "3", "preset": "veryfast"}),
    "hevc-open-gop.mp4": ("libx265", {"x265-params": X265 + "1"} | FAST),
    "hevc-closed.mkv": ("libx265", {"x265-params": X265 + "0"} | FAST),
    "open-gop.mp4": ("libx264", {"x264-params": "keyint=18:open-gop=1:bframes=3:scenecut=0"}),
    "stream.ts": ("libx264", {"g": "18", "bf": "2", "preset": "veryfast"}),
    "vp9.mkv": ("libvpx-vp9", {"g": "18", "deadline": "realtime", "cpu-used": "8"}),
    "intra-refresh.mp4": ("libx264", {"x264-params": "keyint=18:intra-refresh=1:bframes=0"} | FAST),
}
OFTEN = ("b-frames.mp4", "hevc-open-gop.mp4")


@pytest.mark.parametrize(
    "name",
    [name if name in OFTEN else pytest.param(name, marks=pytest.mark.slow) for name in CODECS],
)
def test_every_codec(name, tmp_path, pictures, speech, both, jobs):
    codec, options = CODECS[name]
    muxing = Muxing(video_options=options)
    clip = write_video(
        tmp_path / name, pictures, rate=RATE, codec=codec, sound=speech, muxing=muxing
    )
    one, several = both(clip)
    assert one == several
    assert len({job.number for job in jobs}) >= 3
    assert {event.state for event in one if event.type == "attention"} >= {"absent"}
    assert any(faces_across(one, cut_s) for cut_s in cuts_of(jobs))


def faces_across(events, cut_s):
    """The people in view both in the second before a cut and in the second after it."""

    def in_view(from_s, to_s):
        return {
            event.track
            for event in events
            if event.type == "attention" and event.state != "absent"
            if from_s <= event.t_start < to_s
        }

    return in_view(cut_s - 1, cut_s) & in_view(cut_s, cut_s + 1)


def cuts_of(jobs):
    return [job.first / 8 for job in jobs if job.attempt == 0 and job.number]


def h264(path, pictures, **more):
    options = {"g": "12", "bf": "2", "preset": "veryfast"}
    more = {"rate": RATE, "muxing": Muxing(video_options=options)} | more
    return write_video(path, pictures, **more)


def test_a_part_of_a_recording_that_does_not_start_at_zero(tmp_path, pictures, speech, both, jobs):
    times = [3.3 + i / RATE for i in range(len(pictures))]
    clip = h264(tmp_path / "late.mkv", pictures, times_s=times, sound=speech)
    one, several = both(clip, start_us=1_130_000, end_us=11_700_000)
    assert one == several and len(cuts_of(jobs)) >= 2


def test_variable_frame_rate(tmp_path, pictures, both, jobs):
    steps = np.random.default_rng(1).choice([0.04, 0.1, 0.11, 0.3, 0.9], len(pictures))
    times = [round(float(t), 3) for t in np.cumsum(steps)]
    clip = h264(tmp_path / "vfr.mp4", pictures, times_s=times)
    one, several = both(clip)
    assert one == several and len(cuts_of(jobs)) >= 3


def test_a_recording_that_lies_on_its_side_is_turned_in_every_range(
    tmp_path, pictures, speech, both, jobs
):
    turned = [np.ascontiguousarray(np.rot90(picture)) for picture in pictures]
    one, several = both(h264(tmp_path / "side.mp4", turned, sound=speech))
    assert one == several
    assert any("turned by" in (getattr(event, "detail", None) or "") for event in one)
    assert {job.turn.quarters for job in jobs} == {None, 3}


def test_pictures_without_sound(tmp_path, pictures, both, jobs):
    one, several = both(h264(tmp_path / "silent.mp4", pictures))
    assert one == several and jobs


def test_sound_alone_is_scored_by_one_process(tmp_path, speech, both, jobs):
    one, several = both(write_sound(tmp_path / "talk.wav", speech.data, speech.rate, "pcm_s16le"))
    assert one == several and not jobs


def damaged(clip, first_s, last_s):
    """Overwrite the pictures of a stretch, as a bad disk does."""
    data = bytearray(clip.read_bytes())
    noise = np.random.default_rng(0)
    with av.open(str(clip)) as container:
        for packet in container.demux(video=0):
            if packet.size and first_s <= packet.pts * packet.time_base < last_s:
                size = max(0, packet.size - 8)
                data[packet.pos + 8 : packet.pos + 8 + size] = noise.bytes(size)
    clip.write_bytes(data)
    return clip


@pytest.mark.parametrize(
    ("first_s", "last_s"),
    [
        (2.9, 5.2),
        pytest.param(3.2, 3.6, marks=pytest.mark.slow),
        pytest.param(0.0, 2.0, marks=pytest.mark.slow),
    ],
)
def test_damage(tmp_path, pictures, speech, both, jobs, first_s, last_s):
    clip = damaged(h264(tmp_path / "damaged.mp4", pictures, sound=speech), first_s, last_s)
    one, several = both(clip)
    assert one == several and len(cuts_of(jobs)) >= 2
    assert one[-1].counts["bad_video_packets"] > 0
    if last_s > 5:  # over several key frames
        assert any(job.attempt for job in jobs)


def test_a_recording_that_is_cut_off(tmp_path, pictures, speech, both, jobs):
    clip = h264(tmp_path / "cut.mkv", pictures, sound=speech)
    clip.write_bytes(clip.read_bytes()[: clip.stat().st_size * 3 // 4])
    one, several = both(clip)
    assert one == several and one[-1].detail and cuts_of(jobs)


def test_sound_that_outlasts_the_pictures(tmp_path, pictures, speech, both, jobs):
    """The last picture serves a grid point after its own end, where the sound reaches farther."""
    times = [0.05 + i / RATE for i in range(106)]  # the last at 8.8 s
    clip = h264(tmp_path / "sound.mp4", pictures[:106], rate=25, times_s=times, sound=speech)
    one, several = both(clip)
    assert one == several and len(cuts_of(jobs)) >= 2


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_bytes_that_are_wrong_or_missing(tmp_path, pictures, speech, both, seed):
    clip = h264(tmp_path / "clip.ts", pictures, sound=speech)
    data, chance = bytearray(clip.read_bytes()), random.Random(seed)
    if seed % 2:
        at = chance.randrange(len(data) // 3, len(data) // 2)
        del data[at : at + len(data) // 8]
    for _ in range(30 * seed):
        at = chance.randrange(4096, len(data) - 200)
        data[at : at + 200] = chance.randbytes(200)
    clip.write_bytes(data)
    one, several = both(clip)
    assert one == several
